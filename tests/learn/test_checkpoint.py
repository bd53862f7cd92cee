"""A checkpoint is there whole or not at all, and a spoilt one is passed over."""

import errno
import json
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from stream_mtl import failpoints
from stream_mtl.errors import StateCorrupt, Unavailable
from stream_mtl.learn.checkpoint import read_checkpoint, write_checkpoint

ARRAYS = {
    "a": np.arange(6, dtype=np.int64).reshape(2, 3),
    "b": np.array(1.5),
    "empty": np.zeros((0, 4), np.float32),
    "flags": np.array([True, False]),
    "turned": np.arange(6.0).reshape(2, 3).T,
    "small": np.array([-1, 2], np.int8),
}


def test_what_is_written_is_read(tmp_path: Path) -> None:
    write_checkpoint(tmp_path, 3, ARRAYS, {"position": [1, 2], "name": "é"})
    found = read_checkpoint(tmp_path)
    assert found is not None
    assert (found.number, found.facts, found.passed_over) == (3, {"position": [1, 2], "name": "é"}, ())
    assert found.arrays.keys() == ARRAYS.keys()
    for name, array in ARRAYS.items():
        np.testing.assert_array_equal(found.arrays[name], array)
        assert found.arrays[name].dtype == array.dtype
        assert found.arrays[name].shape == array.shape


def test_the_newest_is_read_and_only_some_are_kept(tmp_path: Path) -> None:
    for number in (8, 9, 10, 11):
        write_checkpoint(tmp_path, number, {"n": np.array(number)}, {}, keep=3)
    found = read_checkpoint(tmp_path)
    assert found is not None
    assert int(found.arrays["n"]) == 11
    assert len(list(tmp_path.iterdir())) == 3


def test_one_of_the_same_number_is_replaced(tmp_path: Path) -> None:
    for value in (1, 2):
        write_checkpoint(tmp_path, 5, {"n": np.array(value)}, {})
    found = read_checkpoint(tmp_path)
    assert found is not None
    assert int(found.arrays["n"]) == 2


@pytest.mark.parametrize("point", ["checkpoint.tensors", "checkpoint.manifest", "checkpoint.renamed"])
def test_a_crash_while_the_only_one_is_replaced_leaves_it_or_the_new_one(tmp_path: Path, point: str) -> None:
    write_checkpoint(tmp_path, 4, {"a": np.zeros(1)}, {"which": "old"})
    for which in ("new", "newer"):
        failpoints.arm({"STREAM_MTL_FAILPOINT": f"{point}:1:raise"}, True)
        with pytest.raises(failpoints.FailpointReached):
            write_checkpoint(tmp_path, 4, {"a": np.ones(1)}, {"which": which})
        failpoints.arm({}, True)
        found = read_checkpoint(tmp_path)
        assert found is not None
        assert found.facts["which"] == (which if point == "checkpoint.renamed" else "old")
    write_checkpoint(tmp_path, 4, {"a": np.ones(1)}, {"which": "last"})
    assert [path.name for path in tmp_path.iterdir()] == ["ckpt-000000000004"]


def test_no_checkpoint_at_all_is_none(tmp_path: Path) -> None:
    assert read_checkpoint(tmp_path) is None
    assert read_checkpoint(tmp_path / "nothing") is None


def flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) * 3 // 4] ^= 1
    path.write_bytes(bytes(data))


def zero_tail(path: Path) -> None:
    data = path.read_bytes()
    path.write_bytes(data[:-4] + bytes(4))


SPOIL: dict[str, Callable[[Path], object]] = {
    "cut short": lambda path: path.write_bytes(path.read_bytes()[:-1]),
    "longer": lambda path: path.write_bytes(path.read_bytes() + b"x"),
    "a bit flipped": flip,
    "zeros at the end": zero_tail,
    "empty": lambda path: path.write_bytes(b""),
    "gone": lambda path: path.unlink(),
    "a list": lambda path: path.write_bytes(b"[1]"),
}


@pytest.mark.parametrize("file", ["tensors.safetensors", "manifest.json"])
@pytest.mark.parametrize("how", SPOIL)
def test_a_spoilt_one_is_passed_over_and_named(tmp_path: Path, file: str, how: str) -> None:
    write_checkpoint(tmp_path, 1, {"n": np.arange(9)}, {"of": 1})
    newest = write_checkpoint(tmp_path, 2, {"n": np.arange(9) - 99}, {"of": 2})
    SPOIL[how](newest / file)
    found = read_checkpoint(tmp_path)
    assert found is not None
    assert found.number == 1
    assert len(found.passed_over) == 1
    assert newest.name in found.passed_over[0]


def test_facts_that_were_changed_do_not_verify(tmp_path: Path) -> None:
    folder = write_checkpoint(tmp_path, 2, ARRAYS, {"position": 7})
    manifest = json.loads((folder / "manifest.json").read_text())
    manifest["facts"]["position"] = 8
    (folder / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(StateCorrupt, match="manifest"):
        read_checkpoint(tmp_path)


def test_a_folder_under_another_number_does_not_verify(tmp_path: Path) -> None:
    folder = write_checkpoint(tmp_path, 2, ARRAYS, {})
    folder.rename(folder.with_name("ckpt-000000000009"))
    with pytest.raises(StateCorrupt):
        read_checkpoint(tmp_path)


def test_if_none_verifies_it_is_refused_with_the_way_out(tmp_path: Path) -> None:
    for number in (1, 2):
        flip(write_checkpoint(tmp_path, number, ARRAYS, {}) / "tensors.safetensors")
    with pytest.raises(StateCorrupt, match="restore one from a copy"):
        read_checkpoint(tmp_path)


@pytest.mark.parametrize("call", ["fsync", "rename"])
def test_a_disk_that_refuses_leaves_the_one_before(
    tmp_path: Path, call: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    write_checkpoint(tmp_path, 1, ARRAYS, {})
    with monkeypatch.context() as patch:
        patch.setattr(*((os, "fsync", full) if call == "fsync" else (Path, "rename", full)))
        with pytest.raises(Unavailable, match="No space left"):
            write_checkpoint(tmp_path, 2, ARRAYS, {})
    found = read_checkpoint(tmp_path)
    assert found is not None
    assert found.number == 1
    assert len(list(tmp_path.iterdir())) == 1


def test_what_a_crash_left_beside_is_ignored_and_swept(tmp_path: Path) -> None:
    torn = tmp_path / "ckpt-000000000007.tmp"
    torn.mkdir()
    (torn / "tensors.safetensors").write_bytes(b"half")
    assert read_checkpoint(tmp_path) is None
    write_checkpoint(tmp_path, 8, ARRAYS, {})
    assert not torn.exists()

"""Every snapshot store gives what was put, whole or not at all, and never changes what a version names."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from stream_mtl.errors import StateCorrupt, StateError
from stream_mtl.publish.snapshot import Learned, Manifest, Position, Snapshot
from stream_mtl.publish.store import MemorySnapshots, SnapshotFolder, SnapshotStore, unsealed

Open = Callable[[], SnapshotStore]


@pytest.fixture(params=["memory", "folder"])
def opened(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Open]:
    if request.param == "memory":
        store = MemorySnapshots()
        yield lambda: store
    else:
        yield lambda: SnapshotFolder(tmp_path / "snapshots")


def snapshot(version: int, weight: float = 1.0, **made: Any) -> Snapshot:
    weights = {"b": np.full((2, 3), weight, np.float32), "a": np.arange(4)}
    learned = Learned(7, 70, {"ctr": 60}, 1_000, (), (Position(0, version, 3),))
    manifest = Manifest(
        version=version,
        parent=version - 1 if version else None,
        weights=unsealed(),
        recipe={"model": "m"},
        chain="c",
        learned=learned,
        metrics={"life": {"ctr": {"auc": 0.5, "log_loss": None}}},
        made=made,
    )
    return Snapshot(manifest, weights)


def test_there_is_nothing_at_first(opened: Open) -> None:
    assert (opened().latest(), opened().versions()) == (None, [])
    with pytest.raises(StateError, match="no snapshot 3"):
        opened().open(3)


def test_what_is_opened_is_what_was_put(opened: Open) -> None:
    opened().put(snapshot(0))
    opened().put(snapshot(1, 2.0))
    found = opened().open(1)
    assert opened().latest() == 1
    assert found.manifest.learned.positions == (Position(0, 1, 3),)
    assert found.manifest.metrics == {"life": {"ctr": {"auc": 0.5, "log_loss": None}}}
    assert found.weights["b"].tolist() == [[2.0] * 3] * 2
    assert found.weights["a"].dtype == np.int64


def test_the_same_snapshot_again_changes_nothing(opened: Open) -> None:
    opened().put(snapshot(0, host="one"))
    opened().put(snapshot(0, host="two"))
    assert opened().open(0).manifest.made == {"host": "one"}


def test_a_version_is_never_given_other_weights(opened: Open) -> None:
    opened().put(snapshot(0))
    with pytest.raises(StateError, match="with other weights"):
        opened().put(snapshot(0, 2.0))
    assert opened().open(0).weights["b"][0, 0] == 1


def test_weights_that_are_not_finite_are_not_published(opened: Open) -> None:
    opened().put(snapshot(0))
    with pytest.raises(StateError, match="b hold numbers that are not finite"):
        opened().put(snapshot(1, np.nan))
    assert (opened().latest(), opened().versions()) == (0, [0])


def test_the_newest_are_kept_and_the_latest_always(opened: Open) -> None:
    for version in range(5):
        opened().put(snapshot(version))
    opened().put(snapshot(1))  # a way back: the latest is an old one
    opened().prune(2)
    assert opened().versions() == [1, 3, 4]


def test_equal_weights_are_equal_bytes_whatever_the_order(tmp_path: Path) -> None:
    one, two = SnapshotFolder(tmp_path / "one"), SnapshotFolder(tmp_path / "two")
    made = snapshot(0)
    one.put(made)
    two.put(Snapshot(made.manifest, dict(reversed(made.weights.items()))))
    file = "000000/weights.safetensors"
    assert (tmp_path / "one" / file).read_bytes() == (tmp_path / "two" / file).read_bytes()


def damaged(data: bytes, how: str) -> bytes:
    return {
        "truncated": data[:-1],
        "longer": data + b"\0",
        "empty": b"",
        "flipped": data[:-2] + bytes([data[-2] ^ 1]) + data[-1:],
        "zeros": bytes(len(data)),
    }[how]


@pytest.mark.parametrize("how", ["truncated", "longer", "empty", "flipped", "zeros"])
@pytest.mark.parametrize("file", ["weights.safetensors", "manifest.json"])
def test_a_damaged_file_is_found(tmp_path: Path, file: str, how: str) -> None:
    store = SnapshotFolder(tmp_path)
    store.put(snapshot(0))
    path = tmp_path / "000000" / file
    path.write_bytes(damaged(path.read_bytes(), how))
    with pytest.raises(StateCorrupt):
        store.open(0)


def test_what_a_crash_left_beside_is_not_seen_and_does_not_hinder(tmp_path: Path) -> None:
    store = SnapshotFolder(tmp_path)
    (tmp_path / "000000.tmp").mkdir()
    (tmp_path / "000000.tmp" / "weights.safetensors").write_bytes(b"half")
    assert (store.latest(), store.versions()) == (None, [])
    store.put(snapshot(0))
    assert store.open(0).manifest.version == 0
    assert not (tmp_path / "000000.tmp").exists()


def test_without_its_pointer_the_newest_is_the_latest(tmp_path: Path) -> None:
    store = SnapshotFolder(tmp_path)
    store.put(snapshot(0))
    store.put(snapshot(1))
    (tmp_path / "LATEST").unlink()
    assert store.latest() == 1

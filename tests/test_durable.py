"""A file is there whole or not at all, and a claimed folder has one owner, whose death ends the claim."""

import subprocess
import sys
import threading
from pathlib import Path

import pytest

from stream_mtl.durable import BESIDE, claimed, replace_file
from stream_mtl.errors import Fenced

_OWNER = """
import sys
from pathlib import Path
from stream_mtl.durable import claimed
with claimed(Path(sys.argv[1])):
    print("mine", flush=True)
    sys.stdin.read()
"""


def owner(folder: Path) -> "subprocess.Popen[str]":
    """Start a process that owns the folder until it is ended."""
    process = subprocess.Popen(
        [sys.executable, "-c", _OWNER, str(folder)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None and process.stdout.readline() == "mine\n"
    return process


def test_a_second_process_is_refused_until_the_first_is_dead(tmp_path: Path) -> None:
    folder = tmp_path / "not" / "there yet"
    with owner(folder) as process:
        with pytest.raises(Fenced, match="another process works there"), claimed(folder):
            pass
        process.kill()
        process.wait()
    with claimed(folder):
        pass


def test_a_claim_ends_with_its_block_even_by_an_exception(tmp_path: Path) -> None:
    with pytest.raises(ValueError), claimed(tmp_path):
        raise ValueError
    with claimed(tmp_path), pytest.raises(Fenced), claimed(tmp_path):
        pass
    with claimed(tmp_path):
        pass


def test_a_reader_sees_the_old_or_the_new(tmp_path: Path) -> None:
    path, seen, done = tmp_path / "file", set(), threading.Event()
    contents = [bytes([65 + i]) * 100_000 for i in range(4)]
    replace_file(path, contents[0], sync=False)

    def read() -> None:
        while not done.is_set():
            seen.add(path.read_bytes())

    reader = threading.Thread(target=read)
    reader.start()
    for i in range(300):
        replace_file(path, contents[i % 4], sync=False)
    done.set()
    reader.join()
    assert seen <= set(contents)


def test_what_a_dead_writer_left_beside_changes_nothing(tmp_path: Path) -> None:
    path = tmp_path / "file"
    replace_file(path, b"old")
    path.with_name(path.name + BESIDE).write_bytes(b"half of what was to be n")
    assert path.read_bytes() == b"old"
    replace_file(path, b"new")
    assert path.read_bytes() == b"new"
    assert [one.name for one in tmp_path.iterdir()] == ["file"]

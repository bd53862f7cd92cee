"""What the clock asked for is noted whole or not at all."""

import os
from pathlib import Path

import pytest

from stream_mtl import failpoints
from stream_mtl.errors import Unavailable
from stream_mtl.learn.notes import Notes

THREE = '{"rows": 3, "did": "flush"}\n'


def test_what_is_noted_is_read_again_in_its_order(tmp_path: Path) -> None:
    notes = Notes(tmp_path / "notes.jsonl")
    notes.note(3, "flush")
    notes.note(9, "cut")
    notes.note(9, "flush")
    again = Notes(tmp_path / "notes.jsonl")
    assert (again.after(3), again.after(9), again.after(4)) == (["flush"], ["cut", "flush"], [])
    assert (again.between(0, 9), again.between(3, 9), again.between(3, 10)) == (3, None, 9)


def test_a_torn_last_line_was_not_acted_on(tmp_path: Path) -> None:
    path = tmp_path / "notes.jsonl"
    path.write_text(THREE + '{"ro')
    assert Notes(path).after(3) == ["flush"]
    assert path.read_text() == THREE


def test_a_note_that_fails_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "notes.jsonl"
    notes = Notes(path)
    notes.note(3, "flush")

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as changed:
        changed.setattr(os, "fsync", full)
        with pytest.raises(Unavailable, match="No space left"):
            notes.note(5, "cut")
    assert notes.after(5) == []
    assert path.read_text() == THREE
    notes.note(5, "cut")
    assert Notes(path).after(5) == ["cut"]


def test_a_note_that_cannot_even_be_written_leaves_nothing(tmp_path: Path) -> None:
    path = tmp_path / "notes.jsonl"
    notes = Notes(path)
    notes.note(3, "flush")
    orders = {"STREAM_MTL_FAILPOINT": "notes.unsynced:1:enospc"}
    failpoints.arm(orders, True)
    try:
        with pytest.raises(Unavailable, match="No space left"):
            notes.note(5, "cut")
    finally:
        failpoints.arm({}, True)
    assert path.read_text() == THREE


def test_a_note_follows_a_torn_one(tmp_path: Path) -> None:
    path = tmp_path / "notes.jsonl"
    notes = Notes(path)
    notes.note(3, "flush")
    with path.open("a") as file:  # of a note that failed, on a disk that did not even let it be taken back
        file.write('{"ro')
    notes.note(7, "cut")
    assert path.read_text() == THREE + '{"rows": 7, "did": "cut"}\n'

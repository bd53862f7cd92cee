"""A folder of lines is bounded in bytes and in time."""

import os
from pathlib import Path

import pytest

from stream_mtl.clock import DAY, HOUR
from stream_mtl.connectors.base import DeadLetter
from stream_mtl.connectors.kept import KeptLines, prune
from stream_mtl.connectors.letters import DeadLetters, read_letters
from stream_mtl.testing import ManualClock


def lines(folder: Path) -> list[bytes]:
    paths = sorted(folder.glob("[0-9]*.jsonl")) + sorted(folder.glob(".[0-9]*.jsonl.tmp"))
    return [line for path in paths for line in path.read_bytes().splitlines()]


def test_the_oldest_are_dropped_beyond_the_bytes_that_are_kept(tmp_path: Path) -> None:
    sink = KeptLines(tmp_path, 1_000, DAY, ManualClock())
    for number in range(200):
        sink.add(b'{"number": %04d}' % number)
        sink.flush()
    assert sum(path.stat().st_size for path in tmp_path.iterdir()) <= 1_000
    kept = lines(tmp_path)
    assert len(kept) > 30 and kept[-1] == b'{"number": 0199}'
    assert kept == sorted(kept)
    sink.close()


def test_what_is_old_is_dropped_though_there_is_room(tmp_path: Path) -> None:
    clock = ManualClock(10 * DAY)
    sink = KeptLines(tmp_path, 1 << 30, DAY, clock)
    for number in range(30):
        sink.add(b"%d" % number)
        sink.flush()
        for path in tmp_path.iterdir():  # the disk has another clock than the test
            if path.stat().st_mtime > 1_000_000_000:
                os.utime(path, (clock.now / 1_000, clock.now / 1_000))
        clock.advance(3 * HOUR)
    kept = [int(line) for line in lines(tmp_path)]
    assert kept[-1] == 29
    assert 29 - 24 // 3 - 3 <= kept[0] <= 29 - 24 // 3
    sink.close()


def test_the_newest_file_stays_however_large_and_old_it_is(tmp_path: Path) -> None:
    (tmp_path / "00000000.jsonl").write_text("old\n")
    (tmp_path / "00000001.jsonl").write_text("new\n")
    assert prune(tmp_path, 1, 1, 1 << 60) == 1
    assert lines(tmp_path) == [b"new"]


def test_what_is_no_file_of_lines_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "replayed.jsonl").write_text("x" * 100)
    (tmp_path / "0").mkdir()
    KeptLines(tmp_path, 10, 1, ManualClock()).close()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["0", "replayed.jsonl"]


@pytest.mark.parametrize("several", [False, True])
def test_letters_of_one_and_of_several_joiners_are_read_back(tmp_path: Path, several: bool) -> None:
    for number in range(2):
        folder = tmp_path / str(number) if several else tmp_path
        letters = DeadLetters(KeptLines(folder, 1 << 20, DAY, ManualClock()))
        letters.add(DeadLetter("files:x", number, 7, "not_json", b"?"))
        letters.close()
    assert [letter.partition for letter in read_letters(tmp_path)] == [0, 1]

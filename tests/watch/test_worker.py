"""The watcher: wherever it dies, each row is in the sums exactly once, and no series jumps."""

import os
import random
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from stream_mtl.clock import HOUR, MINUTE
from stream_mtl.errors import FingerprintMismatch, PositionOutOfRange
from stream_mtl.join.feed import Feed
from stream_mtl.join.log import MemoryLog
from stream_mtl.testing import ManualClock
from stream_mtl.watch.board import Board, BoardOptions
from stream_mtl.watch.history import History, HistoryLine, line_of, read_history, read_latest
from stream_mtl.watch.outcomes import outcomes
from stream_mtl.watch.readings import Readings
from stream_mtl.watch.worker import WatchOptions, WatchWorker
from tests.label.world import CHAIN

from .served import PLAN, log_of, world

BOARD = BoardOptions(windows=(30 * MINUTE, 3 * HOUR), slices=("scored.country",), min_examples=5)
OPTIONS = WatchOptions(every=1, checkpoint_every=3, blocks=2)
LOG = log_of(world(120, seed=21), every=15)
ROWS = sum(len(transitions) for _, transitions in LOG.blocks)


class Crash(Exception):
    """Stands for kill -9: what was not done yet is not done."""


@contextmanager
def crash_after(effects: int) -> Iterator[None]:
    """Die at the n-th effect on the disk."""
    left = effects
    fsync, rename = os.fsync, Path.rename

    def count() -> None:
        nonlocal left
        left -= 1
        if left < 0:
            raise Crash

    def counted_fsync(handle: int) -> None:
        count()
        fsync(handle)

    def counted_rename(path: Path, target: Path) -> Path:
        count()
        return rename(path, target)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", counted_fsync)
        patch.setattr(Path, "rename", counted_rename)
        yield


def worker(
    folder: Path, clock: ManualClock, log: MemoryLog = LOG, board: BoardOptions = BOARD
) -> WatchWorker:
    return WatchWorker(PLAN, CHAIN, Feed({0: log}), folder, clock, board, OPTIONS)


def run(folder: Path, clock: ManualClock) -> WatchWorker:
    one = worker(folder, clock)
    one.recover()
    while one.step():
        clock.advance(1)
    one.close()
    return one


def time_of(readings: Readings) -> int:
    assert readings.told_before is not None
    return readings.told_before


def readings_at(rows: int) -> Readings:
    """Return what a board says that took so many rows, which end a block."""
    board = Board(PLAN, CHAIN, BOARD)
    for header, transitions in LOG.blocks:
        if rows > 0:
            board.update(outcomes(PLAN, transitions, BOARD.slices), header.told_before)
        rows -= len(transitions)
    return board.readings()


@pytest.mark.parametrize("seed", range(12))
def test_wherever_it_dies_each_row_is_in_the_sums_exactly_once(seed: int, tmp_path: Path) -> None:
    rng, clock, deaths = random.Random(seed), ManualClock(), 0
    while True:
        shown = read_latest(tmp_path)
        try:
            with crash_after(rng.randrange(1, 20)):
                done = run(tmp_path, clock)
            break
        except Crash:
            deaths += 1
        after = read_latest(tmp_path)
        assert shown is None or (after is not None and time_of(after) >= time_of(shown))
    assert deaths > 0
    assert done.board.readings() == readings_at(ROWS) == read_latest(tmp_path)
    assert done.rows == ROWS
    lines = read_history(tmp_path)
    assert [line.rows for line in lines] == sorted({line.rows for line in lines})
    assert lines == [line_of(line.rows, readings_at(line.rows), "30m") for line in lines]
    assert lines[-1].rows == ROWS


def test_a_restart_writes_the_line_that_a_crash_left_out(tmp_path: Path) -> None:
    clock = ManualClock()
    run(tmp_path, clock)
    whole = read_history(tmp_path)
    path = tmp_path / "history.jsonl"
    path.write_bytes(path.read_bytes()[:-7])
    assert read_history(tmp_path) == whole[:-1]
    worker(tmp_path, clock).recover()
    assert read_history(tmp_path) == whole


def test_it_follows_a_log_that_grows(tmp_path: Path) -> None:
    log, clock = MemoryLog(), ManualClock()
    one = worker(tmp_path, clock, log)
    one.recover()
    assert not one.step()
    for block in LOG.blocks:
        log.blocks.append(block)
        before = one.rows
        assert one.step()
        assert one.rows - before == len(block[1])
    assert one.board.readings() == readings_at(ROWS)


def test_readings_are_written_when_it_is_time(tmp_path: Path) -> None:
    clock = ManualClock()
    one = worker(tmp_path, clock)
    one.recover()
    one.step()
    assert read_latest(tmp_path) is None
    clock.advance(1)
    one.step()
    assert read_latest(tmp_path) == one.board.readings()
    assert read_history(tmp_path) == []
    clock.advance(2)
    one.step()
    assert [line.rows for line in read_history(tmp_path)] == [one.rows]


def test_sums_of_other_slices_are_refused_by_name(tmp_path: Path) -> None:
    run(tmp_path, ManualClock())
    with pytest.raises(FingerprintMismatch, match="max_slices was 50, is 3"):
        worker(tmp_path, ManualClock(), board=replace(BOARD, max_slices=3)).recover()


def test_what_is_only_shown_may_change(tmp_path: Path) -> None:
    run(tmp_path, ManualClock())
    worker(tmp_path, ManualClock(), board=replace(BOARD, bins=3, min_examples=1)).recover()


def test_a_log_that_does_not_have_the_block_is_refused(tmp_path: Path) -> None:
    run(tmp_path, ManualClock())
    with pytest.raises(PositionOutOfRange, match="holds blocks 0 to -1"):
        worker(tmp_path, ManualClock(), MemoryLog()).recover()


def test_blocks_of_another_chain_are_refused(tmp_path: Path) -> None:
    log = MemoryLog()
    (header, transitions), (_, more) = LOG.blocks[0], LOG.blocks[1]
    log.append(header, transitions)
    log.append(type(header)(0, 0, 1, header.told_before, 0, (), (), {}, "another"), more)
    one = worker(tmp_path, ManualClock(), log)
    one.recover()
    with pytest.raises(FingerprintMismatch, match=r"\(1, 0\).* was told under another chain"):
        one.step()


def test_the_history_is_bounded_and_its_lines_stay_in_order(tmp_path: Path) -> None:
    history = History(tmp_path, limit=200)
    for block in range(20):
        history.append(HistoryLine(block, block, {}))
    assert (tmp_path / "history.jsonl").stat().st_size <= 200
    assert (tmp_path / "history.1.jsonl").stat().st_size <= 200
    rows = [line.rows for line in read_history(tmp_path)]
    assert rows == list(range(rows[0], 20))
    assert [line.rows for line in read_history(tmp_path, limit=2)] == [18, 19]

"""What a process says of itself: how it is, how fast it goes, and why it failed."""

from pathlib import Path

import pytest

from stream_mtl.clock import SECOND
from stream_mtl.processes.status import Status, StatusFile, read_status
from stream_mtl.testing import ManualClock


def said(folder: Path) -> Status:
    status = read_status(folder, "join")
    assert status is not None
    return status


def test_a_process_is_starting_then_running_then_ended(tmp_path: Path) -> None:
    assert read_status(tmp_path, "join") is None
    with StatusFile(tmp_path / "status", "join", ManualClock(7)) as file:
        assert (said(tmp_path / "status").state, said(tmp_path / "status").time) == ("starting", 7)
        file.say(lambda: {"events": 1})
        assert said(tmp_path / "status").state == "running"
        file.end({"events": 2})
    assert (said(tmp_path / "status").state, said(tmp_path / "status").facts) == ("ended", {"events": 2})


def test_counts_get_their_rate_since_the_last_time(tmp_path: Path) -> None:
    clock = ManualClock()
    with StatusFile(tmp_path, "join", clock) as file:
        file.say(lambda: {"events": 100, "waiting": 3})
        assert said(tmp_path).facts == {"events": 100, "waiting": 3}
        clock.advance(2 * SECOND)
        file.say(lambda: {"events": 150, "waiting": 9})
        assert said(tmp_path).facts == {"events": 150, "waiting": 9, "events_per_second": 25.0}
        clock.advance(SECOND)
        file.say(lambda: {"events": None, "waiting": 9})
        assert said(tmp_path).facts["events_per_second"] == 0.0


def test_it_is_said_once_a_second_and_not_worked_out_more_often(tmp_path: Path) -> None:
    clock, asked = ManualClock(), []
    with StatusFile(tmp_path, "join", clock) as file:
        for _ in range(20):
            file.say(lambda: asked.append(clock()) or {})  # type: ignore[func-returns-value]
            clock.advance(SECOND // 4)
    assert asked == [0, 1_000, 2_000, 3_000, 4_000]


def test_an_exception_leaves_its_reason(tmp_path: Path) -> None:
    with pytest.raises(ValueError), StatusFile(tmp_path, "join", ManualClock()):
        raise ValueError("the disk is full")
    assert (said(tmp_path).state, said(tmp_path).problem) == ("failed", "the disk is full")
    with pytest.raises(KeyError), StatusFile(tmp_path, "join", ManualClock()):
        raise KeyError
    assert said(tmp_path).problem == "KeyError"


def test_a_process_that_is_interrupted_did_not_fail(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt), StatusFile(tmp_path, "join", ManualClock()):
        raise KeyboardInterrupt
    assert said(tmp_path).state == "starting"


def test_a_file_that_is_no_status_says_nothing(tmp_path: Path) -> None:
    (tmp_path / "join.json").write_text('{"role": "jo')
    assert read_status(tmp_path, "join") is None

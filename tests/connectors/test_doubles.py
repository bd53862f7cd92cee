"""The doubles do what a script says, no more."""

import pytest

from stream_mtl.connectors.memory import MemorySource
from stream_mtl.errors import Unavailable
from stream_mtl.testing import (
    CRASH,
    END,
    PAUSE,
    Crash,
    FaultySource,
    ManualClock,
    ScriptedSource,
    drain,
    values,
)


def test_a_crash_comes_once_at_its_place_and_what_follows_can_be_read_after_it():
    source = ScriptedSource("s", [b"a", b"b", CRASH, b"c", END])
    assert values(source.poll(10)) == [b"a", b"b"]
    with pytest.raises(Crash):
        source.poll(10)
    source.seek({0: 1})
    assert values(source.poll(10)) == [b"b", b"c"]
    assert source.ended()


def test_a_crash_is_no_exception_that_a_handler_of_errors_could_keep():
    assert not issubclass(Crash, Exception)


def test_a_pause_ends_a_poll_and_then_is_an_empty_one():
    source = ScriptedSource("s", [PAUSE, b"a", PAUSE, b"b", END])
    polls = [values(source.poll(10)) for _ in range(4)]
    assert polls == [[], [b"a"], [], [b"b"]]


def test_a_script_without_end_is_a_live_log_that_is_quiet():
    source = ScriptedSource("s", [[b"a", END], [b"b"]])
    assert sorted(values(drain(source))) == [b"a", b"b"]
    assert not source.ended()


def test_marks_take_no_position():
    source = ScriptedSource("s", [b"a", PAUSE, b"b", END])
    positions = [batch.positions.tolist() for _ in range(4) for batch in source.poll(10)]
    assert positions == [[0], [1]]


def test_a_fault_is_raised_at_its_poll_and_takes_nothing():
    log = MemorySource("s")
    log.append([b"a", b"b"])
    source = FaultySource(log, {1: Unavailable("down")})
    assert values(source.poll(1)) == [b"a"]
    with pytest.raises(Unavailable, match="down"):
        source.poll(1)
    assert values(source.poll(1)) == [b"b"]


def test_time_moves_when_it_is_told_to():
    clock = ManualClock(5)
    assert (clock(), clock()) == (5, 5)
    clock.advance(3)
    assert clock() == 8

"""What is away is said for as long as it is waited for, and waited for longer and longer."""

from collections.abc import Callable, Iterator

import pytest

from stream_mtl.errors import Unavailable
from stream_mtl.processes.outage import Outage


def failing(times: int) -> Callable[[], str]:
    """Return what fails so often, and then works."""
    left = iter(range(times))

    def work() -> str:
        if next(left, None) is not None:
            raise Unavailable("the disk is full")
        return "done"

    return work


@pytest.fixture
def rests(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[float]]:
    slept: list[float] = []
    monkeypatch.setattr("stream_mtl.processes.outage.time.sleep", slept.append)
    yield slept


def test_what_is_away_is_said_while_it_is_waited_for(rests: list[float]) -> None:
    said: list[str] = []
    outage = Outage(says=said.append)
    assert outage.until_done(failing(4), lambda: False) == "done"
    assert set(said) == {"the disk is full"} and len(said) == len(rests)
    assert outage.problem is None


def test_it_is_waited_for_longer_and_longer_up_to_ten_seconds(rests: list[float]) -> None:
    outage, waited, work = Outage(), [], failing(9)
    for _ in range(9):
        outage.unless_away(work, lambda: False)
        waited.append(round(sum(rests), 1))
        rests.clear()
    assert waited[:3] == [0.3, 0.5, 1.0] and waited[-2:] == [10.0, 10.0]


def test_what_never_worked_is_borne_for_a_while_and_what_has_worked_for_ever(rests: list[float]) -> None:
    with pytest.raises(Unavailable):
        Outage(1_000).until_done(failing(99), lambda: False)
    outage = Outage(1_000)
    outage.over()
    assert outage.until_done(failing(99), lambda: False) == "done"


def test_whoever_is_told_to_stop_does_not_wait(rests: list[float]) -> None:
    assert Outage().until_done(failing(1), lambda: True) is None
    assert rests == []

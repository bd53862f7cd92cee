"""Joiners that share partitions come, go, die and freeze; what all of them have written is what one alone writes."""

import random
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.crash.bus import BusSite, empty, fill
from tests.crash.child import Child, until
from tests.crash.points import orders
from tests.services.plugin import needs

# The small broker that lets members take over says wrongly where logs end.
pytestmark = needs("takeover", "end-offsets")

OLD = ("crew.lose", "crew.lost", "crew.between")
NEW = ("crew.gain", "claims.after_claim", "recover.reading", "recover.end", "join.mirror")
DAILY = ("crew.lose:1", "claims.after_claim:1")


@pytest.fixture
def shared(bus: Callable[..., BusSite], topics: Any, events: Path) -> BusSite:
    """A site whose topics hold the first half of the market."""
    names = empty(topics)
    fill(topics, names, events, 0, 0.5)
    return bus(own=names)


def holds(child: Child, count: int) -> Callable[[], bool]:
    """Return whether a joiner has got so many partitions since its start, or has ended."""
    return lambda: child.said.count('"partition_gained"') >= count or child.ended()


def finish(site: BusSite, events: Path, *children: Child) -> None:
    """Let the second half of the market come, and joiners work until all is read; then end them, and tell all."""
    fill(site.topics, site.names, events, 0.5, 1)
    until(site.drained, "all to be read")
    for child in children:
        assert child.end() in (0, 5), child.said
    site.run("join")


@pytest.mark.parametrize("failing", orders(DAILY, OLD, (1,)))
def test_an_owner_that_dies_while_it_gives_a_partition_away(
    shared: BusSite, events: Path, bus_joined: Any, failing: str
) -> None:
    old = shared.joiner("old", failing)
    until(holds(old, 2), "an owner of both")
    until(lambda: shared.records() > 6 or old.ended(), "blocks")
    new = shared.joiner("new")
    assert old.wait() == -9, old.said
    assert shared.hits == [failing]
    until(holds(new, 2), "an heir")
    finish(shared, events, new)
    assert shared.joined() == bus_joined


@pytest.mark.parametrize("failing", orders(DAILY, NEW, (1,)))
def test_an_owner_that_dies_while_it_takes_a_partition_over(
    shared: BusSite, events: Path, bus_joined: Any, failing: str
) -> None:
    old = shared.joiner("old")
    until(holds(old, 2), "an owner of both")
    until(lambda: shared.records() > 6 or old.ended(), "blocks")
    new = shared.joiner("new", failing)
    assert new.wait() == -9, new.said
    assert shared.hits == [failing]
    finish(shared, events, old)
    assert shared.joined() == bus_joined


def test_an_owner_that_freezes_and_wakes_up_changes_nothing(
    shared: BusSite, events: Path, bus_joined: Any
) -> None:
    failing = "log.before_send:3:sleep(2000)"
    old = shared.joiner("old", failing)
    until(lambda: shared.hits or old.ended(), "a block to be written")
    old.send(signal.SIGSTOP)
    new = shared.joiner("new")
    until(holds(new, 2), "an heir of both")
    fill(shared.topics, shared.names, events, 0.5, 0.75)
    until(shared.drained, "all to be read")
    old.send(signal.SIGCONT)
    until(lambda: old.ended() or '"partition_lost"' in old.said, "the frozen one to see it")
    fill(shared.topics, shared.names, events, 0.75, 1)
    until(shared.drained, "all to be read")
    assert old.end() in (0, 5), old.said
    assert new.end() == 0, new.said
    shared.run("join")
    assert shared.joined() == bus_joined


@pytest.mark.whole_crash
@pytest.mark.parametrize("round", range(3))
def test_joiners_that_come_and_go_at_random(
    shared: BusSite, events: Path, bus_joined: Any, seed: int, round: int
) -> None:
    rng = random.Random(f"{seed} {round}")
    running = {0: shared.joiner("0")}
    frozen: dict[int, Child] = {}
    until(holds(running[0], 2), "a first owner")
    for step in range(1, 9):
        begin = 0.5 + step * 0.05
        fill(shared.topics, shared.names, events, begin - 0.05, begin)
        act = rng.choice(["come", "go", "die", "freeze", "wake"])
        print(step, act, sorted(running), sorted(frozen))
        if act == "come" and len(running) < 4:
            running[step] = shared.joiner(str(step))
        elif act == "wake" and frozen:
            number, child = frozen.popitem()
            child.send(signal.SIGCONT)
            running[number] = child
        elif act in ("go", "die", "freeze") and len(running) > 1:
            number = rng.choice(sorted(running))
            child = running.pop(number)
            if act == "freeze":
                child.send(signal.SIGSTOP)
                frozen[number] = child
            elif act == "die":
                child.kill()
            else:
                assert child.end() in (0, 5), child.said
        for number in [number for number, child in running.items() if child.ended()]:
            assert running.pop(number).code == 5
        if not running:
            running[100 + step] = shared.joiner(str(100 + step))
        until(shared.drained, "all to be read")
    for child in frozen.values():
        child.send(signal.SIGCONT)
    fill(shared.topics, shared.names, events, 0.9, 1)
    until(shared.drained, "all to be read")
    for child in [*running.values(), *frozen.values()]:
        assert child.end() in (0, 5), child.said
    shared.run("join")
    assert shared.joined() == bus_joined

"""Joiner and trainer on a bus, killed at every failpoint, leave what undisturbed ones leave."""

from collections.abc import Callable
from typing import Any

import pytest

from tests.crash.bus import BusSite, announced
from tests.crash.points import orders

AT_WORK = (
    "join.after_poll",
    "join.after_admit",
    "join.before_append",
    "log.before_send",
    "log.between_parts",
    "log.after_send",
    "join.after_append",
    "join.before_checkpoint",
    "state.before_manifest",
    "claims.after_claim",
    "crew.gain",
)
COMING_BACK = ("recover.begin", "recover.restored", "recover.reading", "claims.after_claim", "recover.end")
LEARNING = (
    "learn.after_step",
    "checkpoint.manifest",
    "checkpoint.renamed",
    "publish.before_announce",
    "publish.after_announce",
    "publish.after_put",
)
DAILY = (
    "log.before_send:2",
    "log.between_parts:2",
    "log.after_send:2",
    "join.before_append:2",
    "claims.after_claim:2",
    "recover.reading:1",
    "publish.before_announce:2",
    "publish.after_announce:2",
    "checkpoint.manifest:2",
)


def test_what_is_joined_and_learned_on_a_bus_is_what_is_on_files(
    bus_joined: Any, bus_learned: Any, wholly_joined: Any, wholly_learned: Any
) -> None:
    same = ("transitions", "rows", "accounts")
    assert {name: bus_joined[name] for name in same} == {name: wholly_joined[name] for name in same}
    assert len(bus_joined["letters"]) == len(wholly_joined["letters"]) > 5
    assert {name: bus_learned[name] for name in wholly_learned} == wholly_learned
    assert bus_learned["announced"] == bus_learned["snapshots"]


@pytest.mark.parametrize("failing", orders(DAILY, AT_WORK))
def test_a_joiner_that_was_killed_at_work(bus: Callable[..., BusSite], bus_joined: Any, failing: str) -> None:
    hurt = bus()
    hurt.die("join", failing)
    hurt.run("join")
    assert hurt.joined() == bus_joined


def test_a_joiner_that_was_killed_with_some_parts_of_a_block_on_the_bus(
    bus: Callable[..., BusSite], bus_joined: Any
) -> None:
    hurt = bus()
    before = hurt.records()
    failing = "log.between_parts:5:sleep(400),log.between_parts:5:kill"
    child = hurt.start("join", failing=failing)
    assert child.wait() == -9, child.said
    assert hurt.hits == failing.split(",") and hurt.records() > before
    hurt.run("join")
    assert hurt.joined() == bus_joined


@pytest.mark.parametrize("failing", orders(DAILY, COMING_BACK))
def test_a_joiner_that_was_killed_while_it_recovered_twice_in_a_row(
    bus: Callable[..., BusSite], bus_joined: Any, failing: str
) -> None:
    hurt = bus()
    hurt.die("join", "join.after_append:7:kill")
    hurt.die("join", failing)
    hurt.die("join", failing)
    hurt.run("join")
    assert hurt.joined() == bus_joined


@pytest.mark.parametrize("failing", orders((), ("join.after_append", "log.between_parts"), (5, 9)))
def test_a_joiner_that_never_kept_its_state(
    bus: Callable[..., BusSite], bus_joined: Any, failing: str
) -> None:
    hurt = bus()
    hurt.overrides = (*hurt.overrides, "join.checkpoint_every=10h")
    hurt.die("join", failing)
    hurt.run("join")
    assert hurt.joined() == bus_joined


@pytest.mark.parametrize("failing", orders(DAILY, LEARNING))
def test_a_trainer_that_was_killed_at_work(
    bus: Callable[..., BusSite], bus_whole: BusSite, bus_learned: Any, failing: str
) -> None:
    hurt = bus(bus_whole)
    hurt.die("train", failing)
    assert announced(hurt).items() <= hurt.published().items() <= bus_learned["snapshots"].items()
    hurt.run("train")
    said = announced(hurt)
    assert hurt.learned() | {"announced": bus_learned["announced"]} == bus_learned
    assert said.items() <= bus_learned["announced"].items() and max(said) == max(bus_learned["announced"])

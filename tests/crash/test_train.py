"""A trainer, killed at every failpoint, leaves the model, the measures and the snapshots of an undisturbed one."""

from collections.abc import Callable
from typing import Any

import pytest

from tests.crash.child import until
from tests.crash.points import orders
from tests.crash.site import Site

AT_WORK = (
    "learn.after_backward",
    "learn.after_step",
    "checkpoint.tensors",
    "checkpoint.manifest",
    "checkpoint.renamed",
    "publish.before_put",
    "publish.after_put",
    "snapshot.weights",
    "snapshot.manifest",
    "snapshot.renamed",
    "files.unsynced",
)
COMING_BACK = ("train.recover", "train.recovered")
DAILY = (
    "learn.after_backward:2",
    "checkpoint.tensors:2",
    "checkpoint.manifest:2",
    "checkpoint.renamed:2",
    "publish.after_put:2",
    "snapshot.weights:2",
    "snapshot.renamed:2",
    "train.recovered:1",
)


@pytest.mark.parametrize("failing", orders(DAILY, AT_WORK))
def test_a_trainer_that_was_killed_at_work(
    site: Callable[..., Site], whole: Site, wholly_learned: Any, failing: str
) -> None:
    hurt = site(whole)
    hurt.die("train", failing)
    assert hurt.published().items() <= wholly_learned["snapshots"].items()
    hurt.run("train")
    assert hurt.learned() == wholly_learned


@pytest.mark.whole_crash
@pytest.mark.parametrize("name", AT_WORK)
def test_a_trainer_that_was_killed_any_number_of_times_later(
    site: Callable[..., Site], whole: Site, wholly_learned: Any, name: str, seed: int
) -> None:
    hurt = site(whole)
    for part in range(3):
        child = hurt.start("train", failing=f"{name}:{2 + (seed >> 4 * part) % 16}:kill")
        if child.wait() == 0:
            break
        assert child.code == -9, child.said
    hurt.run("train")
    assert hurt.learned() == wholly_learned


@pytest.mark.parametrize("failing", orders(DAILY, COMING_BACK, (1,)))
def test_a_trainer_that_was_killed_while_it_recovered_twice_in_a_row(
    site: Callable[..., Site], whole: Site, wholly_learned: Any, failing: str
) -> None:
    hurt = site(whole)
    hurt.die("train", "learn.after_step:20:kill")
    hurt.die("train", failing)
    hurt.die("train", failing)
    hurt.run("train")
    assert hurt.learned() == wholly_learned


def test_a_trainer_that_was_killed_between_a_flush_and_its_note(
    site: Callable[..., Site], whole: Site, wholly_learned: Any
) -> None:
    hurt = site(whole)
    hurt.die("train", "learn.noted:1:kill")
    hurt.run("train")
    assert hurt.learned() == wholly_learned


def test_a_trainer_that_was_killed_while_it_ended(
    site: Callable[..., Site], whole: Site, wholly_learned: Any
) -> None:
    hurt = site(whole)
    child = hurt.start(
        "train",
        "--follow",
        failing="train.rest:1:kill",
        overrides=["learn.flush_after=10h", "learn.snapshot_after=10h"],
    )
    until(lambda: len(hurt.published()) > 1 or child.ended(), "two snapshots")
    assert child.end() == -9, child.said
    assert hurt.hits == ["train.rest:1:kill"]
    hurt.run("train")
    assert hurt.learned() == wholly_learned

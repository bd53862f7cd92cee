"""The suite sees orders of effects that are wrong: a test that cannot fail tests nothing."""

from collections.abc import Callable
from typing import Any

import pytest

from tests.crash.site import Site


@pytest.mark.parametrize(
    ("wrong", "failing"),
    [
        ("state_ahead_of_the_log", "join.before_append:4:kill"),
        ("letters_behind_the_block", "join.after_append:4:kill"),
    ],
)
def test_a_joiner_in_a_wrong_order_is_found(
    site: Callable[..., Site], wholly_joined: Any, wrong: str, failing: str
) -> None:
    hurt = site()
    hurt.die("join", failing, wrong=wrong)
    hurt.run("join")
    assert hurt.joined() != wholly_joined


def test_a_trainer_in_a_wrong_order_is_found(
    site: Callable[..., Site], whole: Site, wholly_learned: Any
) -> None:
    hurt = site(whole)
    hurt.die("train", "learn.after_step:20:kill", wrong="places_ahead_of_the_weights")
    hurt.run("train")
    assert hurt.learned() != wholly_learned


def test_a_store_in_a_wrong_order_is_found(site: Callable[..., Site], whole: Site) -> None:
    from stream_mtl.errors import StateError

    hurt = site(whole)
    hurt.die("train", "snapshot.weights:2:kill", wrong="latest_ahead_of_the_snapshot")
    with pytest.raises(StateError, match="there is no snapshot 1"):
        hurt.published()


def test_a_wrong_order_without_a_crash_is_not(site: Callable[..., Site], wholly_joined: Any) -> None:
    """What is compared sees effects, not code."""
    hurt = site()
    hurt.run("join", wrong="letters_behind_the_block", failing="files.unsynced:1:sleep(0)")
    assert hurt.joined() == wholly_joined

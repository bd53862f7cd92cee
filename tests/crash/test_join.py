"""A joiner on files, killed at every failpoint, writes the log, the accounts and the dead letters of an undisturbed one."""

from collections.abc import Callable
from typing import Any

import pytest

from tests.crash.points import orders
from tests.crash.site import Site

AT_WORK = (
    "join.after_poll",
    "join.after_admit",
    "join.before_append",
    "join.after_append",
    "join.before_checkpoint",
    "log.beside",
    "log.renamed",
    "state.after_table",
    "state.before_manifest",
    "state.after_manifest",
    "files.unsynced",
    "crew.gain",
)
COMING_BACK = ("recover.begin", "recover.restored", "recover.reading", "recover.end", "crew.gain")
DAILY = (
    "join.after_poll:2",
    "join.after_admit:2",
    "join.before_append:2",
    "join.after_append:2",
    "log.beside:2",
    "state.after_table:2",
    "state.before_manifest:2",
    "state.after_manifest:1",
    "recover.restored:1",
    "recover.reading:1",
)


@pytest.mark.parametrize("failing", orders(DAILY, AT_WORK))
def test_a_joiner_that_was_killed_at_work(
    site: Callable[..., Site], wholly_joined: Any, failing: str
) -> None:
    hurt = site()
    hurt.die("join", failing)
    hurt.run("join")
    assert hurt.joined() == wholly_joined


@pytest.mark.whole_crash
@pytest.mark.parametrize("name", AT_WORK)
def test_a_joiner_that_was_killed_any_number_of_times_later(
    site: Callable[..., Site], wholly_joined: Any, name: str, seed: int
) -> None:
    hurt = site()
    for part in range(3):
        child = hurt.start("join", failing=f"{name}:{2 + (seed >> 5 * part) % 32}:kill")
        if child.wait() == 0:
            break
        assert child.code == -9, child.said
    hurt.run("join")
    assert hurt.joined() == wholly_joined


@pytest.mark.parametrize("failing", orders(DAILY, COMING_BACK))
def test_a_joiner_that_was_killed_while_it_recovered_twice_in_a_row(
    site: Callable[..., Site], wholly_joined: Any, failing: str
) -> None:
    hurt = site()
    hurt.die("join", "join.after_append:7:kill")
    hurt.die("join", failing)
    hurt.die("join", failing)
    hurt.run("join")
    assert hurt.joined() == wholly_joined


@pytest.mark.parametrize(
    "failing",
    orders(("join.after_append:5",), ("join.after_append", "join.before_append", "log.beside"), (5, 9)),
)
def test_a_joiner_that_never_kept_its_state(
    site: Callable[..., Site], wholly_joined: Any, failing: str
) -> None:
    hurt = site()
    hurt.overrides = (*hurt.overrides, "join.checkpoint_every=10h")
    hurt.die("join", failing)
    hurt.run("join")
    assert hurt.joined() == wholly_joined


@pytest.mark.parametrize("failing", orders(("crew.rested:1",), ("crew.rest", "crew.rested")))
def test_a_joiner_that_was_killed_while_it_ended(
    site: Callable[..., Site], wholly_joined: Any, failing: str
) -> None:
    from tests.crash.child import until

    hurt = site()
    child = hurt.start("join", "--follow", failing=failing, overrides=["join.block_every=50ms"])
    until(lambda: len(list((hurt.folder / "log" / "1").glob("*.block"))) > 1 or child.ended(), "two blocks")
    assert child.end() == -9, child.said
    assert hurt.hits == [failing]
    hurt.run("join")
    assert hurt.joined() == wholly_joined

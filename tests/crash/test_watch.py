"""A watcher, killed at every failpoint, says in the end what an undisturbed one says."""

from collections.abc import Callable
from typing import Any

import pytest

from tests.crash.points import orders
from tests.crash.site import Site

AT_WORK = ("checkpoint.tensors", "checkpoint.manifest", "checkpoint.renamed", "watch.before_note")


@pytest.fixture(scope="session")
def wholly_watched(whole: Site) -> Any:
    readings, lines = whole.watched()
    assert readings["outputs"]["ctr"] and lines
    return readings, lines[-1]


@pytest.mark.parametrize("failing", orders(("watch.before_note:1",), AT_WORK, (1,)))
def test_a_watcher_that_was_killed_at_work(
    site: Callable[..., Site], whole: Site, wholly_watched: Any, failing: str
) -> None:
    hurt = site(whole)
    hurt.die("watch", failing)
    hurt.run("watch")
    readings, lines = hurt.watched()
    assert (readings, lines[-1]) == wholly_watched
    assert [line["rows"] for line in lines] == sorted({line["rows"] for line in lines})

"""A scorer, killed while it takes a snapshot, answers from the newest whole one when it is started again."""

import http.client
import json
from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit

import pytest

from stream_mtl.processes.everything import address_of
from tests.crash.child import Child, until
from tests.crash.points import orders
from tests.crash.site import Site

ROW = {"exposure_id": "a", "user_id": 7, "item_id": 3, "category": "category-1", "price": 12.5, "hour": 9}
LOADING = ("serve.before_load", "serve.loaded", "serve.swapped")
DAILY = ("serve.loaded:1", "serve.swapped:1")


def address(site: Site, child: Child) -> str:
    """Wait until a scorer answers."""
    status = site.folder / "status"
    until(lambda: child.ended() or address_of(status), "a scorer that listens")
    return address_of(status) or ""


def answer(where: str) -> dict[str, Any]:
    parts = urlsplit(where)
    connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=30)
    try:
        connection.request("POST", "/score", json.dumps({"candidates": [ROW]}))
        response = connection.getresponse()
        body: dict[str, Any] = json.loads(response.read())
        return body | {"status": response.status}
    finally:
        connection.close()


def answered(site: Site) -> dict[str, Any]:
    """Start a scorer, and return what it answers once it serves the newest snapshot."""
    (site.folder / "status" / "serve.json").unlink(missing_ok=True)
    child = site.start("serve", overrides=["serve.port=0", "serve.poll_every=50ms"])
    where = address(site, child)
    found: dict[str, Any] = {}

    def newest() -> bool:
        found.update(answer(where))
        return found["status"] == 200 and found.get("snapshot") == site.snapshots.latest()

    until(newest, "an answer")
    assert child.end() == 0, child.said
    return {name: found[name] for name in ("snapshot", "scores")}


@pytest.fixture(scope="session")
def undisturbed(whole: Site) -> dict[str, Any]:
    return answered(whole)


@pytest.mark.parametrize("failing", orders(DAILY, LOADING, (1,)))
def test_a_scorer_that_was_killed_while_it_took_its_first_snapshot(
    site: Callable[..., Site], whole: Site, undisturbed: dict[str, Any], failing: str
) -> None:
    hurt = site(whole)
    hurt.overrides = (*hurt.overrides, f"publish.path={whole.folder / 'snapshots'}")
    hurt.die("serve", failing, overrides=["serve.port=0"])
    (hurt.folder / "snapshots").symlink_to(whole.folder / "snapshots")
    assert answered(hurt) == undisturbed


@pytest.mark.parametrize("failing", orders(DAILY, LOADING, (2,)))
def test_a_scorer_that_was_killed_while_it_took_another_one(
    site: Callable[..., Site], whole: Site, undisturbed: dict[str, Any], failing: str
) -> None:
    hurt = site(whole)
    hurt.die("train", "publish.after_put:2:kill")
    child = hurt.start("serve", failing=failing, overrides=["serve.port=0", "serve.poll_every=50ms"])
    found = answer(address(hurt, child))
    assert (found["status"], found.get("snapshot")) in ((200, 1), (503, None))
    hurt.run("train")
    assert child.wait() == -9, child.said
    assert hurt.hits[-1] == failing
    assert answered(hurt) == undisturbed


def test_a_scorer_goes_on_when_a_snapshot_cannot_be_loaded(
    site: Callable[..., Site], whole: Site, undisturbed: dict[str, Any]
) -> None:
    hurt = site(whole)
    hurt.die("train", "publish.after_put:2:kill")
    child = hurt.start(
        "serve",
        failing="serve.loaded:2:enospc",
        overrides=["serve.port=0", "serve.poll_every=50ms"],
    )
    where = address(hurt, child)
    until(lambda: answer(where)["status"] == 200, "an answer")
    hurt.run("train")
    until(lambda: answer(where).get("snapshot") == undisturbed["snapshot"], "the newest snapshot")
    assert hurt.hits[-1] == "serve.loaded:2:enospc"
    assert answer(where)["scores"] == undisturbed["scores"]
    assert child.end() == 0

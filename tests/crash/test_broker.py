"""A broker that is stopped, killed, paused or wiped under joiner and trainer."""

import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from stream_mtl.processes.status import read_status
from tests.crash.bus import BusSite, announced, empty, fill
from tests.crash.child import Nursery, until
from tests.crash.site import OFTEN, Site, configuration
from tests.services.kafka import OwnBroker
from tests.services.plugin import needs
from tests.topics import Topics

STILL = ("learn.flush_after=10h", "learn.snapshot_after=10h", "join.block_every=200ms")


@pytest.fixture
def own(own_broker: Callable[..., OwnBroker]) -> Iterator[tuple[OwnBroker, Topics]]:
    """A broker of this test, and its topics."""
    broker = own_broker()
    topics = Topics(broker.bootstrap)
    yield broker, topics
    topics.close()


def working(site: BusSite) -> None:
    """Wait for a block, unless all is read."""
    before = site.records()
    until(lambda: site.records() > before or site.drained(), "a block")


@needs("durable")
def test_a_broker_that_is_paused_stopped_and_killed_costs_time_only(
    own: tuple[OwnBroker, Topics],
    children: Nursery,
    events: Path,
    tmp_path: Path,
    wholly_joined: Any,
    wholly_learned: Any,
) -> None:
    broker, topics = own
    names = empty(topics)
    site = BusSite(topics, names, children, tmp_path / "site", events)
    running = {role: site.start(role, "--follow", overrides=STILL) for role in ("join", "train")}

    def pause() -> None:
        broker.pause()
        time.sleep(8)
        broker.resume()

    def stop() -> None:
        broker.stop()
        broker.start()

    def kill() -> None:
        broker.kill()
        broker.start()

    for number, hurt in enumerate((pause, stop, kill)):
        fill(topics, names, events, number * 0.3, (number + 1) * 0.3)
        working(site)
        hurt()
    fill(topics, names, events, 0.9, 1)
    until(site.drained, "all to be read")
    for role, child in running.items():
        assert not child.ended(), f"{role}: {child.said}"
        assert child.end() == 0, child.said
    site.run("join")
    site.run("train")
    joined, learned = site.joined(), site.learned()
    assert {name: joined[name] for name in ("transitions", "rows", "accounts")} == {
        name: wholly_joined[name] for name in ("transitions", "rows", "accounts")
    }
    assert len(joined["letters"]) == len(wholly_joined["letters"])
    assert learned == wholly_learned
    assert announced(site)[max(learned["snapshots"])] == learned["snapshots"][max(learned["snapshots"])]


AWAY = """
[join]
path = "kafka:log"

[kafka]
bootstrap_servers = "127.0.0.1:1"
connect_timeout = "500ms"
startup_timeout = "5s"
"""


@pytest.mark.parametrize("role", ["join", "train", "watch"])
def test_whoever_starts_without_a_broker_says_so_and_gives_up_in_the_end(
    children: Nursery, events: Path, tmp_path: Path, role: str
) -> None:
    text = configuration(events, lambda kind: f"kafka:{kind}") + AWAY
    site = Site(children, tmp_path / "site", text, OFTEN)
    child = site.start(role, "--follow")

    def waits() -> bool:
        said = read_status(site.folder / "status", role)
        return said is not None and said.state == "running" and "is it running?" in (said.problem or "")

    until(lambda: waits() or child.ended(), "a process that says what is away")
    assert not child.ended(), child.said
    assert child.wait() == 6, child.said


@needs("durable")
def test_a_broker_that_was_wiped_is_refused(
    own: tuple[OwnBroker, Topics], children: Nursery, events: Path, tmp_path: Path
) -> None:
    broker, topics = own
    names = empty(topics)
    fill(topics, names, events)
    site = BusSite(topics, names, children, tmp_path / "site", events)
    site.run("join")
    site.run("train")
    published, learner = site.published(), sorted((site.folder / "learner").glob("ckpt-*"))
    broker.wipe()
    broker.start()
    admin = topics.kafka.admin()
    for name in (*names.values(), site.log, site.letters):
        admin.create(name, 2, configs={"retention.ms": "-1"})
    admin.create(site.announcements, 1, configs={"retention.ms": "-1"})
    admin.close()
    for role in ("join", "train"):
        assert ", asked for " in site.run(role, code=8)
    assert site.published() == published
    assert sorted((site.folder / "learner").glob("ckpt-*")) == learner
    shutil.rmtree(site.folder / "state")  # not even then: what it wrote is not what the bus holds
    assert site.records() <= 4  # claims, no block


@needs("durable")
def test_inputs_that_are_not_there_any_more_are_refused(
    own: tuple[OwnBroker, Topics], children: Nursery, events: Path, tmp_path: Path
) -> None:
    topics = own[1]
    names = empty(topics)
    fill(topics, names, events)
    site = BusSite(topics, names, children, tmp_path / "site", events)
    site.die("join", "join.after_append:9:kill")
    joined = site.joined()
    others = BusSite(topics, empty(topics), children, tmp_path / "others", events, site.log)
    shutil.copytree(site.folder / "state", others.folder / "state")
    assert "differ" in others.run("join", code=4)  # other topics are other sources
    for name in names.values():
        for partition in (0, 1):
            topics.forget(name, partition, topics.admin.end(name)[partition])
    assert "holds positions" in site.run("join", code=8)
    shutil.rmtree(site.folder / "state")
    assert "holds positions" in site.run("join", code=8)
    assert site.joined() == joined

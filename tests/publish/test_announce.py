"""One trainer leads: whoever comes second by mistake is refused, and whoever takes over fences the first."""

from collections.abc import Callable
from pathlib import Path

import pytest

from stream_mtl.clock import Millis
from stream_mtl.connectors.partition import MemoryPartitionLog
from stream_mtl.errors import Fenced, Unavailable
from stream_mtl.publish.announce import RENEW, SILENCE, Leader, announcement_of, owner_of
from stream_mtl.publish.publisher import Publisher
from stream_mtl.publish.snapshot import Manifest
from stream_mtl.publish.store import MemorySnapshots
from stream_mtl.testing import ManualClock
from tests.learn.test_worker import World, live


def nobody(millis: Millis) -> None:
    pytest.fail("there is nobody to wait for")


def manifests(tmp_path: Path) -> list[Manifest]:
    world = World(tmp_path)
    live(world, lambda _: None, frozenset())
    return [world.store.manifest(version) for version in world.store.versions()]


def test_the_first_leads_at_once_and_so_does_the_same_one_after_a_crash() -> None:
    log, clock = MemoryPartitionLog(), ManualClock()
    Leader(log, "a", clock).lead(nobody)
    again = Leader(log, "a", clock)
    again.lead(nobody)
    clock.advance(RENEW)
    again.renew()


def test_a_second_trainer_beside_a_living_one_is_refused_and_changes_nothing() -> None:
    log, clock = MemoryPartitionLog(), ManualClock()
    first = Leader(log, "a", clock)
    first.lead(nobody)

    def pass_by(millis: Millis) -> None:
        clock.advance(millis)
        first.renew()

    with pytest.raises(Fenced, match=r"another trainer leads \(a, epoch 1\); end it first"):
        Leader(log, "b", clock).lead(pass_by)
    first.renew()


def test_a_leader_that_fell_silent_is_followed_and_fenced_when_it_wakes(tmp_path: Path) -> None:
    log, clock = MemoryPartitionLog(), ManualClock()
    frozen, waited = Leader(log, "a", clock), []
    frozen.lead(nobody)
    new = Leader(log, "b", clock)
    new.lead(waited.append)
    assert sum(waited) >= SILENCE
    made = manifests(tmp_path)
    clock.advance(RENEW)
    with pytest.raises(Fenced):
        frozen.renew()
    with pytest.raises(Fenced):
        frozen.announce(made[0])
    new.announce(made[1])
    said = [found for entry in log.read(0) if (found := announcement_of(entry)) is not None]
    assert [one.version for one in said if one.epoch == 2] == [1]


def test_what_was_announced_is_known_after_a_crash_and_not_said_again(tmp_path: Path) -> None:
    log, clock, made = MemoryPartitionLog(), ManualClock(), manifests(tmp_path)
    first = Leader(log, "a", clock)
    first.lead(nobody)
    first.announce(made[3])
    again = Leader(log, "a", clock)
    again.lead(nobody)
    again.announce(made[3])
    assert again.announced == 3
    assert sum(announcement_of(entry) is not None for entry in log.read(0)) == 1


def away(manifest: Manifest) -> None:
    raise Unavailable("the broker is away")


def test_a_snapshot_that_could_not_be_announced_is_announced_later(tmp_path: Path) -> None:
    store, said = MemorySnapshots(), []
    announce: list[Callable[[Manifest], None]] = [away]
    publisher = Publisher(store, 100, dict, lambda manifest: announce[0](manifest))
    world = World(tmp_path)
    learner = world.learner()
    learner._publish = publisher.publish
    learner.recover()
    while world.grow():
        learner.step()
    assert publisher.problem == "the broker is away" and store.latest() is not None
    announce[0] = said.append
    publisher.retry()
    assert [manifest.version for manifest in said] == [store.latest()] and publisher.problem is None
    assert said[0] == store.manifest(said[0].version)
    Publisher(store, 100, dict, said.append).recover()
    assert said[1] == said[0]


def test_an_owner_is_named_once(tmp_path: Path) -> None:
    assert owner_of(tmp_path / "new") == owner_of(tmp_path / "new") != owner_of(tmp_path / "other")

"""A learner that dies anywhere and is started again ends with the bits, and the snapshots, of one that never stopped."""

from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stream_mtl.clock import HOUR
from stream_mtl.errors import FingerprintMismatch, PositionOutOfRange, Unavailable
from stream_mtl.join.block import Header
from stream_mtl.join.feed import Feed
from stream_mtl.join.log import MemoryLog
from stream_mtl.join.transitions import Transitions
from stream_mtl.learn import worker as module
from stream_mtl.learn.recipe import LearnOptions
from stream_mtl.learn.worker import Cut, TrainOptions, TrainWorker
from stream_mtl.publish.publisher import Publisher
from stream_mtl.publish.store import MemorySnapshots
from stream_mtl.testing import Crash, ManualClock
from tests.label.world import cut, lives, planned, tell
from tests.learn.small import fields, recipe

OPTIONS = TrainOptions(snapshot_every=HOUR, checkpoint_every=3, flush_after=5)
RECIPE = recipe(learn=LearnOptions(batch_size=16))
HISTORIES = lives(300, seed=4)


def whole() -> Transitions:
    table = fields(len(HISTORIES))
    columns = {name: table.column(name).combine_chunks() for name in table.column_names}
    return tell(planned(RECIPE.plan), HISTORIES, columns)


WHOLE = whole()
BLOCKS = cut(WHOLE, range(37, len(WHOLE), 37))


def header(block: int, fingerprint: str = "chain") -> Header:
    told = int(BLOCKS[block].rows.column("told")[-1].as_py())
    return Header(0, 0, block, told + 1, 0, (), (), {}, fingerprint)


class World:
    """A log that grows, a clock, and what survives a crash of the learner."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.log, self.clock = folder, MemoryLog(), ManualClock()
        self.store = MemorySnapshots()
        self.versions: list[int] = []

    def learner(
        self, hurt: Callable[[str], None] = lambda _: None, options: TrainOptions = OPTIONS
    ) -> TrainWorker:
        publisher = Publisher(self.store, keep=100, made=dict)

        def publish(made: Cut) -> None:
            hurt("before a put")
            publisher.publish(made)
            self.versions.append(made.version)
            hurt("after a put")

        return TrainWorker(RECIPE, Feed({0: self.log}), self.folder, publish, self.clock, options)

    def grow(self) -> bool:
        at = self.log.next()
        if at < len(BLOCKS):
            self.log.append(header(at), BLOCKS[at])
        return at < len(BLOCKS)


def digest(learner: TrainWorker) -> dict[str, bytes]:
    arrays, _ = learner.trainer.state()
    return {name: np.ascontiguousarray(array).tobytes() for name, array in arrays.items()}


def live(world: World, hurt: Callable[[str], None], slow: frozenset[int]) -> TrainWorker:
    """Let the log grow a block at a time, after some of which nothing comes for long; crashed learners are replaced."""
    learner = None
    grown = finished = False
    while not finished:
        try:
            if learner is None:
                learner = world.learner(hurt)
                learner.recover()
            while learner.step():
                hurt("between blocks")
            if grown:
                for _ in range(6 if world.log.next() in slow else 1):
                    world.clock.advance(1)
                    learner.step()
            grown = world.grow()
            if not grown:
                learner.finish()
                finished = True
        except Crash:
            learner = None
    assert learner is not None
    return learner


def undisturbed(slow: frozenset[int]) -> tuple[dict[str, bytes], World]:
    with TemporaryDirectory() as folder:
        world = World(Path(folder))
        return digest(live(world, lambda _: None, slow)), world


@settings(max_examples=12, deadline=None)
@given(
    st.sets(st.integers(1, len(BLOCKS)), max_size=4),
    st.sets(st.integers(0, 60), max_size=6),
)
def test_a_learner_may_die_anywhere(slow: set[int], deaths: set[int]) -> None:
    expected, calm = undisturbed(frozenset(slow))
    count = iter(range(10_000))

    def hurt(_: str) -> None:
        if next(count) in deaths:
            raise Crash

    with TemporaryDirectory() as folder:
        world = World(Path(folder))
        assert digest(live(world, hurt, frozenset(slow))) == expected
        assert world.store.versions() == calm.store.versions()
        for version in calm.store.versions():
            same = world.store.manifest(version), calm.store.manifest(version)
            assert same[0] == same[1]


def test_snapshots_are_cut_where_event_time_crosses_a_border_and_at_the_end(tmp_path: Path) -> None:
    world = World(tmp_path)
    live(world, lambda _: None, frozenset())
    manifests = [world.store.manifest(version) for version in world.store.versions()]
    assert world.versions == list(range(len(manifests)))
    hours = [manifest.learned.upto // HOUR for manifest in manifests[:-1]]
    assert len(hours) >= 4 and hours == sorted(set(hours))
    for before, after in pairwise(manifests):
        assert after.parent == before.version
        assert after.learned.since == before.learned.positions
        assert after.learned.examples > before.learned.examples
    life = sum(int(manifest.metrics["recent"]["ctr"]["examples"] or 0) for manifest in manifests)
    assert life == manifests[-1].metrics["life"]["ctr"]["examples"]


def test_a_minibatch_that_waits_too_long_is_learned_and_the_place_is_noted(tmp_path: Path) -> None:
    world = World(tmp_path)
    learner = world.learner()
    learner.recover()
    world.grow()
    learner.step()
    steps = learner.tally.steps
    world.clock.advance(4)
    learner.step()
    assert learner.tally.steps == steps
    world.clock.advance(1)
    learner.step()
    assert learner.tally.steps == steps + 1
    assert (tmp_path / "notes.jsonl").read_text() == '{"rows": 37, "did": "flush"}\n'
    world.clock.advance(100)
    learner.step()
    assert learner.tally.steps == steps + 1
    again = world.learner()
    again.recover()
    again.step()
    assert digest(again) == digest(learner)


def test_a_note_that_was_cut_short_was_not_acted_on(tmp_path: Path) -> None:
    first = '{"rows": 0, "did": "flush"}\n'
    (tmp_path / "notes.jsonl").write_text(first + '{"row')
    notes = module.Notes(tmp_path / "notes.jsonl")
    assert notes.after(0) == ["flush"]
    notes.note(7, "cut")
    assert (tmp_path / "notes.jsonl").read_text() == first + '{"rows": 7, "did": "cut"}\n'
    assert (notes.between(0, 8), notes.between(7, 9), notes.after(7)) == (7, None, ["cut"])


def test_rows_that_trickle_in_wait_no_longer_than_the_first_of_them(tmp_path: Path) -> None:
    world = World(tmp_path)
    world.log.append(header(0), cut(WHOLE, [2, 4, 6])[0])
    learner = world.learner()
    learner.recover()
    learner.step()
    for number, piece in enumerate(cut(WHOLE, range(2, 20, 2))[1:6], 1):
        world.clock.advance(1)
        world.log.append(header(number), piece)
        learner.step()
    assert "flush" in (tmp_path / "notes.jsonl").read_text()


def test_who_goes_the_same_way_again_and_slowly_publishes_the_same(tmp_path: Path) -> None:
    """Until it has passed the last snapshot, the clock has no say: else versions would come with other weights."""
    world = World(tmp_path)
    options = replace(OPTIONS, checkpoint_every=10**12)
    learner = world.learner(options=options)
    learner.recover()
    while world.grow():
        learner.step()
    published = list(world.versions)
    assert len(published) > 3
    again = world.learner(options=replace(options, snapshot_after=4))
    again.recover(world.store.latest())
    while again.step():
        world.clock.advance(100)
    assert world.versions[len(published) : 2 * len(published)] == published
    assert "flush" in (tmp_path / "notes.jsonl").read_text()  # behind it


def test_what_was_learned_is_cut_in_passing_when_the_clock_says_so(tmp_path: Path) -> None:
    world = World(tmp_path)
    options = replace(OPTIONS, snapshot_every=10**12, checkpoint_every=10**12, snapshot_after=4)
    learner = world.learner(options=options)
    learner.recover()
    for _ in range(4):
        world.grow()
        learner.step()
        world.clock.advance(1)
    assert world.versions == []
    learner.step()
    assert world.versions == [0] and world.store.manifest(0).passing
    world.clock.advance(100)
    learner.step()  # the minibatch that waited is learned, and that is cut too
    assert world.versions == [0, 1]
    world.clock.advance(100)
    learner.step()
    assert world.versions == [0, 1]
    again = world.learner(options=options)
    again.recover()
    while again.step():
        pass
    assert world.versions == [0, 1, 0, 1]
    assert digest(again) == digest(learner)


def test_snapshots_cut_in_passing_are_kept_for_a_short_time(tmp_path: Path) -> None:
    world = World(tmp_path)
    publisher = Publisher(world.store, keep=2, made=dict)
    options = replace(OPTIONS, snapshot_every=HOUR, snapshot_after=1)
    learner = TrainWorker(RECIPE, Feed({0: world.log}), tmp_path, publisher.publish, world.clock, options)
    learner.recover()
    while world.grow():
        learner.step()
        world.clock.advance(2)
        learner.step()
    kept = [world.store.manifest(version) for version in world.store.versions()]
    assert sum(not manifest.passing for manifest in kept) == 2
    assert 0 < sum(manifest.passing for manifest in kept) <= 4


def test_a_log_that_lacks_the_place_is_refused(tmp_path: Path) -> None:
    world = World(tmp_path)
    live(world, lambda _: None, frozenset())
    world.log = MemoryLog()
    with pytest.raises(PositionOutOfRange, match="goes on at block"):
        world.learner().recover()


def test_another_chain_is_refused(tmp_path: Path) -> None:
    world = World(tmp_path)
    world.log.append(header(0), BLOCKS[0])
    world.log.append(header(1, "other"), BLOCKS[1])
    learner = world.learner()
    learner.recover()
    learner.step()
    with pytest.raises(FingerprintMismatch, match="another chain"):
        learner.step()


def test_a_store_that_is_away_costs_snapshots_and_not_the_learner(tmp_path: Path) -> None:
    class Away(MemorySnapshots):
        away = True

        def put(self, snapshot: object) -> None:
            if self.away:
                raise Unavailable("the store is away")
            super().put(snapshot)  # type: ignore[arg-type]

    world, store = World(tmp_path), Away()
    publisher = Publisher(store, keep=100, made=dict)
    learner = TrainWorker(RECIPE, Feed({0: world.log}), tmp_path, publisher.publish, world.clock, OPTIONS)
    learner.recover()
    while world.grow():
        learner.step()
    assert store.versions() == [] and publisher.failures > 1
    assert publisher.problem == "the store is away"
    store.away = False
    publisher.retry()
    assert len(store.versions()) == 1 and publisher.problem is None
    assert store.latest() == publisher.published.version > 0  # type: ignore[union-attr]


def test_only_so_many_snapshots_are_kept(tmp_path: Path) -> None:
    world = World(tmp_path)
    publisher = Publisher(world.store, keep=2, made=dict)
    learner = TrainWorker(RECIPE, Feed({0: world.log}), tmp_path, publisher.publish, world.clock, OPTIONS)
    learner.recover()
    while world.grow():
        learner.step()
    assert len(world.store.versions()) == 2

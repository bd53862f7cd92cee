"""Silence: who is passed over, when, and that a joiner that died after a tick goes on as if it had not."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
import structlog.testing

from stream_mtl.clock import MINUTE, SECOND, Millis
from stream_mtl.connectors.base import Format
from stream_mtl.connectors.letters import DeadLetters
from stream_mtl.connectors.memory import MemorySink, MemorySource
from stream_mtl.events.codec import Codec
from stream_mtl.events.types import EventSpec, Limits
from stream_mtl.join.digest import TransitionDigest
from stream_mtl.join.log import FileLog
from stream_mtl.join.silence import Silence, SilenceOptions
from stream_mtl.join.spec import ChainSpec, KindSpec, TaskSpec
from stream_mtl.join.store import SegmentStore
from stream_mtl.join.worker import JoinWorker, WorkerOptions
from stream_mtl.testing import ManualClock

A0, A1, B0 = ("a", 0), ("a", 1), ("b", 0)
PLACES = (A0, A1, B0)
OPTIONS = SilenceOptions(idle_after=10, patience={"a": 100, "b": 100})


def silence(options: SilenceOptions = OPTIONS) -> Silence:
    return Silence(PLACES, options, now=0)


def test_a_partition_whose_siblings_move_is_passed_over_after_a_while() -> None:
    made, marks = silence(), {A0: 50, A1: 20, B0: 70}
    made.hear([A0, B0], 9)
    assert made.floors(marks, 9) == {}
    made.hear([A0, B0], 10)
    assert made.floors(marks, 10) == {A1: 50}
    assert made.silent == frozenset()


def test_a_partition_that_gave_nothing_ever_is_given_what_its_siblings_have() -> None:
    made = silence()
    made.hear([A0, B0], 10)
    assert made.floors({A0: 50, A1: None, B0: 70}, 10) == {A1: 50}


def test_siblings_without_a_watermark_give_none() -> None:
    made = silence()
    made.hear([A0, B0], 10)
    assert made.floors({A0: None, A1: 20, B0: 70}, 10) == {}


def test_a_watermark_is_never_lowered() -> None:
    made = silence()
    made.hear([A0, B0], 10)
    assert made.floors({A0: 50, A1: 60, B0: 70}, 10) == {}


def test_a_whole_silent_source_holds_for_its_patience_and_is_then_passed_over() -> None:
    made, marks = silence(), {A0: 50, A1: 60, B0: 20}
    made.hear([A0, A1], 99)
    assert made.floors(marks, 99) == {}
    assert made.silent == frozenset()
    made.hear([A0, A1], 100)
    assert made.floors(marks, 100) == {B0: 50}
    assert made.silent == {"b"}


def test_a_silent_source_is_given_the_least_of_all_that_move() -> None:
    made = silence()
    made.hear([A0, B0], 100)
    made.hear([A1], 95)
    assert made.floors({A0: 50, A1: 60, B0: 20}, 100) == {}
    other = Silence((*PLACES, ("c", 0)), SilenceOptions(10, {"a": 100, "b": 100, "c": 100}), 0)
    other.hear([A0, A1, B0], 100)
    assert other.floors({A0: 50, A1: 60, B0: 20, ("c", 0): None}, 100) == {("c", 0): 20}


def test_where_nothing_moves_time_stands_still_and_nobody_is_alarmed() -> None:
    made = silence()
    with structlog.testing.capture_logs() as said:
        assert made.floors({A0: 50, A1: 60, B0: 20}, 1_000_000) == {}
    assert said == [] and made.silent == frozenset()


def test_a_source_without_a_patience_is_waited_for() -> None:
    made = silence(SilenceOptions(10, {"a": 100}))
    made.hear([A0, A1], 10_000)
    assert made.floors({A0: 50, A1: 60, B0: 20}, 10_000) == {}


def test_who_is_heard_again_holds_again() -> None:
    made, marks = silence(), {A0: 50, A1: 60, B0: 20}
    made.hear([A0, A1], 100)
    assert made.floors(marks, 100) == {B0: 50}
    made.hear([A0, A1, B0], 101)
    assert made.floors({A0: 80, A1: 90, B0: 55}, 101) == {}
    assert made.silent == frozenset()


def test_the_alarm_is_raised_once_and_its_end_is_told_once() -> None:
    made, marks = silence(), {A0: 50, A1: 60, B0: 20}
    with structlog.testing.capture_logs() as said:
        for now in (100, 101, 102):
            made.hear([A0, A1], now)
            made.floors(marks, now)
        for now in (103, 104):
            made.hear(PLACES, now)
            made.floors(marks, now)
    assert [(one["event"], one["source"]) for one in said] == [
        ("source_silent", "b"),
        ("source_heard_again", "b"),
    ]


CHAIN = ChainSpec(
    key=("id",),
    kinds=(KindSpec("impression", id="id"), KindSpec("click", ("impression",), within=5 * MINUTE)),
    tasks=(TaskSpec("ctr", "click", waits=(MINUTE,)),),
    lateness=MINUTE,
    remember=MINUTE,
)
SPECS = [
    EventSpec("impression", "impressions", "ts", {"id": "string"}, required=("id",)),
    EventSpec("click", "clicks", "ts", {"id": "string"}, required=("id",)),
]
PATIENT = SilenceOptions(idle_after=3 * SECOND, patience={"impressions": 20 * SECOND, "clicks": 20 * SECOND})
QUIET = range(10, 45)  # seconds of the clock in which no click comes


class World:
    """Two live sources that grow as the clock goes, and what survives a crash of the joiner."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.clock = folder, ManualClock()
        self.impressions = MemorySource("impressions", Format("json"), 2)
        self.clicks = MemorySource("clicks", Format("json"))

    def worker(self, checkpoint_every: Millis, tell_rows: int = 7) -> JoinWorker:
        return JoinWorker(
            CHAIN,
            SPECS,
            [self.impressions, self.clicks],
            Codec(SPECS, Limits(), lambda: 10**12),
            FileLog(self.folder / "log", sync=False),
            SegmentStore(self.folder / "state", sync=False),
            DeadLetters(MemorySink()),
            self.clock,
            WorkerOptions(
                tell_rows=tell_rows,
                block_every=2 * SECOND,
                checkpoint_every=checkpoint_every,
                silence=PATIENT,
            ),
        )

    def second(self, number: int) -> None:
        """Let a second of the clock, which is half a minute of event time, pass."""
        self.clock.advance(SECOND)
        time = number * MINUTE // 2
        if number % 5 and not 50 <= number < 60:  # the second partition rests a while, too
            self.impressions.append([_line(f"e{number}", time)], number % 2 if number < 20 else 0)
        if number % 2 == 0 and number not in QUIET:
            self.clicks.append([_line(f"e{number - 1}", time)])

    def digest(self) -> tuple[str, int]:
        digest = TransitionDigest()
        for _, transitions in FileLog(self.folder / "log").read():
            digest.update(transitions)
        return digest.value(), digest.rows


def _line(name: str, time: Millis) -> bytes:
    return json.dumps({"id": name, "ts": time}).encode()


def live(folder: Path, deaths: frozenset[int], checkpoint_every: Millis = 5 * SECOND) -> World:
    """Run for eighty seconds, with deaths after some of them, each without a farewell."""
    world = World(folder)
    worker = world.worker(checkpoint_every)
    worker.recover()
    for number in range(80):
        world.second(number)
        worker.step()
        if number in deaths:
            worker = world.worker(checkpoint_every)
            worker.recover()
    worker.commit()
    worker.finish()
    return world


@pytest.fixture(scope="module")
def calm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    yield live(tmp_path_factory.mktemp("calm"), frozenset())


def test_ticks_are_written_into_the_blocks_that_they_acted_on(calm: World) -> None:
    headers = list(FileLog(calm.folder / "log").headers())
    ticks = [tick for header in headers for tick in header.ticks]
    assert {(tick.source, tick.partition) for tick in ticks} >= {("clicks", 0), ("impressions", 1)}
    for header in headers:
        reached = {(p.source, p.partition): (p.first, p.next) for p in header.progress}
        for tick in header.ticks:
            first, stop = reached[tick.source, tick.partition]
            assert first <= tick.position <= stop


def test_time_goes_on_over_a_silent_source_only_after_its_patience(calm: World) -> None:
    headers = list(FileLog(calm.folder / "log").headers())
    first = next(header for header in headers if any(tick.source == "clicks" for tick in header.ticks))
    (tick,) = (tick for tick in first.ticks if tick.source == "clicks")
    last_click = 8 * MINUTE // 2
    assert tick.floor > last_click
    assert first.told_before > last_click
    before = [header for header in headers if header.block < first.block]
    assert before and all(header.told_before <= last_click for header in before)


@pytest.mark.parametrize("checkpoint_every", [SECOND, 5 * SECOND, 10**12])
@pytest.mark.parametrize(
    "deaths", [{29}, {31, 33, 36}, {44, 46}, {20, 30, 40, 50, 55, 60, 79}, set(range(0, 80, 3))]
)
def test_a_joiner_that_died_after_ticks_goes_on_from_its_blocks(
    tmp_path: Path, deaths: set[int], checkpoint_every: Millis
) -> None:
    """After a death the joiner must tell all that the blocks hold as an undisturbed reading of them does."""
    world = live(tmp_path, frozenset(deaths), checkpoint_every)
    headers = list(FileLog(tmp_path / "log").headers())
    assert [header.block for header in headers] == list(range(len(headers)))
    reached: dict[tuple[str, int], int] = {}
    for header in headers:
        for p in header.progress:
            assert p.first == reached.get((p.source, p.partition), 0)
            reached[p.source, p.partition] = p.next
    read = {"impression": 0, "click": 0}
    for (source, _), position in reached.items():
        read[source[:-1]] += position
    assert {kind: sum(counts.values()) for kind, counts in headers[-1].accounts.items()} == read
    assert world.digest() == replayed_from_ticks(tmp_path / "again", world)


def replayed_from_ticks(folder: Path, world: World) -> tuple[str, int]:
    """Return the digest of what the same records and the ticks of the blocks make, read by one joiner in one go."""
    other = World(folder)
    other.impressions, other.clicks = world.impressions, world.clicks
    worker = other.worker(10**12, tell_rows=10**9)
    worker.recover()
    target = list(FileLog(world.folder / "log").headers())[-1]
    ticks = [tick for header in FileLog(world.folder / "log").headers() for tick in header.ticks]
    worker._catch_up(
        {(p.source, p.partition): p.next for p in target.progress}, ticks, lambda transitions: None
    )
    digest = TransitionDigest()
    for transitions in worker.joiner.tell(target.told_before):
        digest.update(transitions)
    return digest.value(), digest.rows

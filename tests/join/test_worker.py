"""A joiner that dies anywhere and is started again writes the same log as one that never stopped."""

import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import count
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stream_mtl.clock import MINUTE, Millis
from stream_mtl.connectors.base import Format, Records
from stream_mtl.connectors.letters import DeadLetters, decode_letter, distinct
from stream_mtl.connectors.memory import MemorySink, MemorySource
from stream_mtl.errors import FingerprintMismatch, PositionOutOfRange
from stream_mtl.events.codec import Codec
from stream_mtl.events.types import EventSpec, Limits
from stream_mtl.join.digest import TransitionDigest
from stream_mtl.join.log import FileLog
from stream_mtl.join.spec import ChainSpec, KindSpec, TaskSpec
from stream_mtl.join.store import SegmentStore, State
from stream_mtl.join.worker import JoinWorker, WorkerOptions
from stream_mtl.testing import Crash

CHAIN = ChainSpec(
    key=("id",),
    kinds=(KindSpec("impression", id="id"), KindSpec("click", ("impression",), within=5 * MINUTE)),
    tasks=(TaskSpec("ctr", "click", waits=(MINUTE,)),),
    lateness=MINUTE,
    remember=MINUTE,
)
SPECS = [
    EventSpec("impression", "impressions", "ts", {"id": "string", "user": "long"}, required=("id",)),
    EventSpec("click", "clicks", "ts", {"id": "string"}, required=("id",)),
]
OPTIONS = WorkerOptions(poll_rows=4, tell_rows=6, block_rows=5, block_every=10**12, checkpoint_every=3)


def sources() -> list[MemorySource]:
    impressions, clicks = (MemorySource(name, Format("json")) for name in ("impressions", "clicks"))
    for i in range(120):
        time = i * 20_000 - (30_000 if i % 7 == 3 else 0)
        impressions.append([json.dumps({"id": f"e{i % 110}", "ts": time, "user": i % 110}).encode()])
        if i % 11 == 5:
            impressions.append([b"{nonsense", json.dumps({"id": f"e{i}", "ts": time, "user": -1}).encode()])
        if i % 5 == 0:
            clicks.append([json.dumps({"id": f"e{i}", "ts": time + 45_000}).encode()])
    impressions.end()
    clicks.end()
    return [impressions, clicks]


class Home:
    """What survives a crash: the folders of log and state, and the dead letters."""

    def __init__(self, folder: Path) -> None:
        self.log, self.state = folder / "log", folder / "state"
        self.letters = MemorySink()
        self.ticks = count()

    def worker(
        self,
        hurt: Callable[[str], None] = lambda _: None,
        chain: ChainSpec = CHAIN,
        read: list[MemorySource] | None = None,
        options: WorkerOptions = OPTIONS,
    ) -> JoinWorker:
        return JoinWorker(
            chain,
            SPECS,
            sources() if read is None else read,
            Codec(SPECS, Limits(), self.clock),
            HurtLog(self.log, hurt),
            HurtStore(self.state, hurt),
            DeadLetters(self.letters),
            self.clock,
            options,
        )

    def clock(self) -> Millis:
        return next(self.ticks)

    def digest(self) -> tuple[str, int]:
        digest = TransitionDigest()
        for _, transitions in FileLog(self.log).read():
            digest.update(transitions)
        return digest.value(), digest.rows


class HurtLog(FileLog):
    def __init__(self, folder: Path, hurt: Callable[[str], None]) -> None:
        self.hurt = hurt
        super().__init__(folder, sync=False)

    def append(self, header, transitions) -> None:  # type: ignore[no-untyped-def]
        self.hurt("before the block")
        super().append(header, transitions)
        self.hurt("after the block")


class HurtStore(SegmentStore):
    def __init__(self, folder: Path, hurt: Callable[[str], None]) -> None:
        self.hurt = hurt
        super().__init__(folder, sync=False)

    def save(self, state: State) -> None:
        self.hurt("before the checkpoint")
        super().save(state)
        self.hurt("after the checkpoint")

    def _write_table(self, name, table, sealed):  # type: ignore[no-untyped-def]
        self.hurt("before a file of the checkpoint")
        return super()._write_table(name, table, sealed)


def work(worker: JoinWorker, hurt: Callable[[str], None] = lambda _: None) -> None:
    worker.recover()
    while not worker.ended():
        worker.step()
        hurt("after a step")
    worker.finish()


@pytest.fixture(scope="module")
def undisturbed() -> Iterator[tuple[Home, JoinWorker]]:
    with TemporaryDirectory() as folder:
        home = Home(Path(folder))
        worker = home.worker()
        work(worker)
        yield home, worker


def test_the_accounts_add_up_at_every_block(undisturbed: tuple[Home, JoinWorker]) -> None:
    home, _ = undisturbed
    headers = list(FileLog(home.log).headers())
    assert len(headers) >= 20
    for header in headers:
        read = {p.source: p.next for p in header.progress}
        assert sum(header.accounts["impression"].values()) == read["impressions"]
        assert sum(header.accounts["click"].values()) == read["clicks"]


def test_blocks_begin_where_the_last_one_ended(undisturbed: tuple[Home, JoinWorker]) -> None:
    home, _ = undisturbed
    reached: dict[tuple[str, int], int] = {}
    for header in FileLog(home.log).headers():
        for p in header.progress:
            assert p.first == reached.get((p.source, p.partition), 0)
            reached[p.source, p.partition] = p.next


@given(st.data())
@settings(max_examples=60, deadline=None)
def test_a_joiner_may_die_anywhere(undisturbed: tuple[Home, JoinWorker], data: st.DataObject) -> None:
    reference, finished = undisturbed
    lives = data.draw(st.lists(st.integers(1, 60), min_size=1, max_size=4))
    with TemporaryDirectory() as folder:
        home = Home(Path(folder))
        for life in lives:
            left = iter(range(life))

            def hurt(where: str, left: Iterator[int] = left) -> None:
                if next(left, None) is None:
                    raise Crash(where)

            try:
                work(home.worker(hurt), hurt)
                break
            except Crash:
                continue
        worker = home.worker()
        work(worker)
        assert home.digest() == reference.digest()
        assert worker.joiner.accounts() == finished.joiner.accounts()
        assert letters(home) == letters(reference)


def letters(home: Home) -> list[tuple[str, int, str]]:
    found = distinct(decode_letter(value) for _, value in home.letters.records)
    return sorted((letter.source, letter.position, letter.reason) for letter in found)


def test_what_is_wrong_is_kept_aside_with_its_bytes(undisturbed: tuple[Home, JoinWorker]) -> None:
    reasons = [reason for _, _, reason in letters(undisturbed[0])]
    assert sorted(reasons) == ["conflict"] * 10 + ["not_json"] * 11  # the eleventh had an id of its own


def test_a_lost_state_is_rebuilt_from_the_log_and_the_input(
    tmp_path: Path, undisturbed: tuple[Home, JoinWorker]
) -> None:
    home = Home(tmp_path)
    worker = home.worker()
    worker.recover()
    for _ in range(6):
        worker.step()
    worker.commit()
    for path in home.state.iterdir():
        path.unlink()
    work(home.worker())
    assert home.digest() == undisturbed[0].digest()


def test_a_commit_tells_all_that_its_positions_know(
    tmp_path: Path, undisturbed: tuple[Home, JoinWorker]
) -> None:
    home = Home(tmp_path)
    worker = home.worker(options=replace(OPTIONS, tell_rows=10**9, block_rows=10**9))
    worker.recover()
    for _ in range(9):
        worker.step()
    assert home.digest()[1] == 0
    worker.commit()
    (header,) = FileLog(home.log).headers()
    assert header.told_before == worker.joiner.watermark()
    work(home.worker())
    assert home.digest() == undisturbed[0].digest()


def test_a_torn_last_block_is_put_aside_and_written_again(
    tmp_path: Path, undisturbed: tuple[Home, JoinWorker]
) -> None:
    home = Home(tmp_path)
    worker = home.worker()
    worker.recover()
    for _ in range(6):
        worker.step()
    last = sorted(home.log.glob("*.block"))[-1]
    last.write_bytes(last.read_bytes()[:-3])
    work(home.worker())
    assert home.digest() == undisturbed[0].digest()


def test_another_chain_is_refused_by_what_differs(tmp_path: Path) -> None:
    home = Home(tmp_path)
    work(home.worker())
    changed = replace(CHAIN, kinds=(CHAIN.kinds[0], replace(CHAIN.kinds[1], within=MINUTE)))
    with pytest.raises(FingerprintMismatch, match=r"chain\.kinds\.click\.within was 300000, is 60000"):
        home.worker(chain=changed).recover()


def test_input_that_is_gone_is_refused(tmp_path: Path) -> None:
    home = Home(tmp_path)
    work(home.worker())
    empty = [MemorySource(name, Format("json")) for name in ("impressions", "clicks")]
    with pytest.raises(PositionOutOfRange):
        home.worker(read=empty).recover()


class Hesitant(MemorySource):
    """A live source that gives nothing in most polls, although it has something."""

    polls = count()

    def poll(self, limit: int, paused: frozenset[int] = frozenset()) -> list[Records]:
        return super().poll(limit, paused) if next(self.polls) % 5 == 4 else []


def test_a_source_that_takes_its_time_is_waited_for(
    tmp_path: Path, undisturbed: tuple[Home, JoinWorker]
) -> None:
    home = Home(tmp_path)
    worker = home.worker()
    worker.recover()
    for _ in range(6):
        worker.step()
    worker.commit()
    for path in home.state.iterdir():
        path.unlink()
    slow = sources()
    for source in slow:
        source.__class__ = Hesitant
    work(home.worker(read=slow))
    assert home.digest() == undisturbed[0].digest()

"""The join's speed: a plain loop of fastavro and a dict, and ours from memory and with the segment store."""

import io
import json
import struct
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import fastavro
import numpy as np
import numpy.typing as npt

from stream_mtl.bench.measure import Compared, Run, by_turns, peak_megabytes, timed
from stream_mtl.bench.workload import Expected, Workload, expected, workload
from stream_mtl.clock import SECOND, system_clock
from stream_mtl.connectors.base import Positions, Records
from stream_mtl.connectors.letters import DeadLetters
from stream_mtl.connectors.memory import MemorySink
from stream_mtl.errors import StreamMtlError
from stream_mtl.events.codec import Codec
from stream_mtl.events.types import Arrivals, Limits
from stream_mtl.generate.fields import KINDS
from stream_mtl.join.block import Header
from stream_mtl.join.footprint import Footprint, footprint
from stream_mtl.join.log import FileLog, MemoryLog, TransitionLog
from stream_mtl.join.store import MemoryStore, SegmentStore, StateStore
from stream_mtl.join.transitions import Telling, Transitions
from stream_mtl.join.worker import JoinWorker, WorkerOptions

Labels = npt.NDArray[np.int8]  # (exposures, 2): clicked, converted

DEFAULT = WorkerOptions()
EACH_POLL = WorkerOptions(block_every=0)
"""What was read leaves at once: the least latency, and the most work."""


@dataclass(frozen=True, slots=True)
class JoinBench:
    """What was measured of one batch size."""

    compared: Compared
    state: Footprint  # when two thirds of the stream were read


def bench_joins(impressions: int, batch: int, windows: str, rounds: int, early: bool = True) -> JoinBench:
    """Run every way of joining in turn, so many rounds, each compared with the truth. Raises StreamMtlError."""
    work = workload(impressions, batch, windows, early)
    truth = expected(work.generated)
    ways: dict[str, Callable[[], Run[Labels | None]]] = {
        "dict and fastavro": lambda: _dict_join(work, truth),
        "decode alone": lambda: timed(lambda: _decode(work)),
        "a block each poll, decoded before": lambda: _memory(work, EACH_POLL, DecodedBefore(work)),
        "a block each poll, memory": lambda: _memory(work, EACH_POLL, _codec(work)),
        "a block each poll, segment store and fsync": lambda: _durable(work, EACH_POLL),
        "by default, memory": lambda: _memory(work, DEFAULT, _codec(work)),
        "by default, segment store and fsync": lambda: _durable(work, DEFAULT),
    }

    def check(name: str, labels: Labels | None) -> None:
        if labels is not None and not np.array_equal(labels, truth.labels):
            raise StreamMtlError(f"{name}: what came out differs from the truth; this is a bug")

    about = f"{work.events:,} events, batches of {batch:,}, windows {windows}"
    rates = by_turns(ways, work.events, rounds, check)
    return JoinBench(Compared(about, "events", rates, peak_megabytes()), _state(work))


class Tally(MemoryLog):
    """Takes transitions as a reader would, and keeps no more of them than the final labels by exposure number."""

    def __init__(self) -> None:
        super().__init__()
        self._parts: list[tuple[np.ndarray, np.ndarray, np.ndarray]] = []

    def append(self, header: Header, transitions: Transitions) -> None:
        """Take one block."""
        rows = transitions.rows
        final = (rows.column("kind").to_numpy() == Telling.FINAL).nonzero()[0]
        labels = (rows.column(name).fill_null(0).to_numpy()[final] for name in ("label.ctr", "label.cvr"))
        self._parts.append((rows.column("exposure").to_numpy()[final], *labels))

    def labels(self) -> Labels:
        """Return (exposures, 2): each exposure's labels as its last final row told them."""
        number, clicked, converted = (np.concatenate(part) for part in zip(*self._parts, strict=True))
        out = np.full((int(number.max(initial=-1)) + 1, 2), -1, np.int8)
        out[number, 0], out[number, 1] = clicked, converted
        return out


class Replay:
    """A source that gives its records as the batches have them: one poll, one batch's."""

    def __init__(self, kind: str, batches: list[list[Records]]) -> None:
        self.name = kind
        self._left = [[records for records in batch if records.source == kind] for batch in batches[::-1]]

    def partitions(self) -> tuple[int, ...]:
        """Return the only one."""
        return (0,)

    def begin(self) -> Positions:
        """Return the beginning."""
        return {0: 0}

    def seek(self, positions: Mapping[int, int]) -> None:
        """Stay at the beginning."""

    def poll(self, limit: int, paused: frozenset[int] = frozenset()) -> list[Records]:
        """Return the next batch's records, however many they are."""
        return [] if paused or not self._left else self._left.pop()

    def ended(self) -> bool:
        """Return whether all was given."""
        return not self._left

    def close(self) -> None:
        """Do nothing."""


class DecodedBefore(Codec):
    """Gives what was decoded beforehand."""

    def __init__(self, work: Workload) -> None:
        codec = _codec(work)
        self._arrivals = {id(records): codec.decode(records) for batch in work.batches for records in batch}

    def decode(self, records: Records) -> Arrivals:
        """Return the arrivals of these very records."""
        return self._arrivals[id(records)]


def _codec(work: Workload) -> Codec:
    return Codec(work.specs, Limits(), system_clock, schema_of=work.schemas.__getitem__)


def _decode(work: Workload) -> None:
    codec = _codec(work)
    for batch in work.batches:
        for records in batch:
            codec.decode(records)


def _memory(work: Workload, options: WorkerOptions, codec: Codec) -> Run[Labels | None]:
    tally = Tally()
    run = timed(lambda: _work(work, options, codec, tally, MemoryStore()))
    return Run(tally.labels(), run.cpu, run.wall)


def _durable(work: Workload, options: WorkerOptions) -> Run[Labels | None]:
    options = replace(options, checkpoint_every=SECOND)  # by default a minute: longer than these runs
    with TemporaryDirectory() as folder:
        log, store = FileLog(Path(folder) / "log"), SegmentStore(Path(folder) / "state")
        run = timed(lambda: _work(work, options, _codec(work), log, store))
        tally = Tally()
        for header, transitions in log.read():
            tally.append(header, transitions)
        return Run(tally.labels(), run.cpu, run.wall)


def _work(
    work: Workload, options: WorkerOptions, codec: Codec, log: TransitionLog, store: StateStore
) -> None:
    """Run a joiner as production does, until every window has closed."""
    worker = _started(work, options, codec, log, store)
    while not worker.ended():
        worker.step()
    worker.finish(worker.joiner.end() + sum(kind.within or 0 for kind in work.chain.kinds) + 1)


def _state(work: Workload) -> Footprint:
    """Measure what a joiner holds in the middle of its work."""
    worker = _started(work, DEFAULT, _codec(work), Tally(), MemoryStore())
    for _ in range(2 * len(work.batches) // 3):
        worker.step()
    worker.commit()
    return footprint(worker.joiner)


def _started(
    work: Workload, options: WorkerOptions, codec: Codec, log: TransitionLog, store: StateStore
) -> JoinWorker:
    sources = [Replay(kind, work.batches) for kind in KINDS]
    letters = DeadLetters(MemorySink())
    worker = JoinWorker(work.chain, work.specs, sources, codec, log, store, letters, system_clock, options)
    worker.recover()
    return worker


def _dict_join(work: Workload, truth: Expected) -> Run[Labels | None]:
    """One record after the other: fastavro, a dict of exposures, a queue of closings. Finals only."""
    schemas = {
        number: fastavro.parse_schema(plain_times(json.loads(text))) for number, text in work.schemas.items()
    }
    batches = [_messages(work, number) for number in range(len(work.batches))]
    out: dict[str, tuple[int, int]] = {}
    run = timed(lambda: out.update(_plain_loop(work, schemas, batches)))
    return Run(np.array([out.get(name, (-1, -1)) for name in truth.ids], np.int8), run.cpu, run.wall)


def plain_times(schema: dict[str, Any]) -> dict[str, Any]:
    """Read times as the numbers they are: as datetimes the plain loop would be a quarter slower."""
    for field in schema["fields"]:
        if isinstance(field["type"], dict) and "logicalType" in field["type"]:
            field["type"] = field["type"]["type"]
    return schema


def _messages(work: Workload, number: int) -> list[bytes]:
    """Return one batch as messages in order of arrival."""
    queues = {records.source: iter(_bodies(records)) for records in work.batches[number]}
    return [next(queues[KINDS[kind]]) for kind in work.order[number].tolist()]


def _bodies(records: Records) -> list[bytes]:
    data = records.data.tobytes()
    return [
        data[start:end] for start, end in zip(records.starts.tolist(), records.ends.tolist(), strict=True)
    ]


def _plain_loop(
    work: Workload, schemas: dict[int, Any], batches: list[list[bytes]]
) -> Iterator[tuple[str, tuple[int, int]]]:
    click_within, conversion_within = (kind.within or 0 for kind in work.chain.kinds[1:])
    life, lateness = click_within + conversion_within, work.chain.lateness
    read, unpack = fastavro.schemaless_reader, struct.Struct(">bI").unpack_from
    open_: dict[str, list[Any]] = {}  # exposure id -> [time, fields, click time, conversion time]
    early: dict[str, list[dict[str, Any]]] = {}
    greatest = 0
    for batch in batches:
        for message in batch:
            _, number = unpack(message)
            event: Any = read(io.BytesIO(message[5:]), schemas[number], None)
            name, time = event["exposure_id"], event["ts"]
            if time > greatest:
                greatest = time
            known = open_.get(name)
            if number == 0:
                if known is None:
                    open_[name] = known = [time, event, None, None]
                    for one in early.pop(name, ()):
                        note(known, one, click_within, conversion_within)
            elif known is None:
                early.setdefault(name, []).append(event)
            else:
                note(known, event, click_within, conversion_within)
        closed = greatest - lateness - life
        for name in list(_closing(open_, closed)):
            _, _, click, conversion = open_.pop(name)
            yield name, (int(click is not None), int(conversion is not None))
    for name, (_, _, click, conversion) in open_.items():
        yield name, (int(click is not None), int(conversion is not None))


def _closing(open_: dict[str, list[Any]], before: int) -> Iterator[str]:
    """Yield exposures from the oldest on whose windows have closed; a dict keeps the order of arrival."""
    for name, known in open_.items():
        if known[0] >= before:
            return
        yield name


def note(known: list[Any], event: dict[str, Any], click_within: int, conversion_within: int) -> None:
    """Add a click or a conversion to an exposure [time, fields, click time, conversion time]; the first one counts."""
    if "conversion_id" in event:
        if known[2] is not None and event["ts"] - known[2] <= conversion_within and known[3] is None:
            known[3] = event["ts"]
    elif known[2] is None and event["ts"] - known[0] <= click_within:
        known[2] = event["ts"]

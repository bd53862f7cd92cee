"""The join's speed: a plain loop of fastavro and a dict, and ours from memory and with the segment store."""

import io
import json
import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import fastavro
import numpy as np
import numpy.typing as npt

from stream_mtl.bench.measure import Rate, Run, peak_megabytes, timed
from stream_mtl.bench.workload import Expected, Workload, expected, workload
from stream_mtl.clock import system_clock
from stream_mtl.connectors.base import Records
from stream_mtl.errors import StreamMtlError
from stream_mtl.events.codec import Codec
from stream_mtl.events.types import Arrivals, Limits
from stream_mtl.generate.fields import KINDS
from stream_mtl.join.block import Header, Progress, merged
from stream_mtl.join.joiner import Joiner
from stream_mtl.join.log import FileLog
from stream_mtl.join.state import save
from stream_mtl.join.store import SegmentStore, StateStore
from stream_mtl.join.transitions import Telling, Transitions

Labels = npt.NDArray[np.int8]  # (exposures, 2): clicked, converted
_CHECKPOINT_BATCHES = 64  # between checkpoints of the state; every batch is a durable block


@dataclass(frozen=True, slots=True)
class JoinBench:
    """What was measured of one batch size: all rates are over the same rounds."""

    events: int
    batch: int
    windows: str
    rates: list[Rate]
    peak_megabytes: float


def bench_joins(impressions: int, batch: int, windows: str, rounds: int, early: bool = True) -> JoinBench:
    """Run every way of joining in turn, so many rounds, each compared with the truth. Raises StreamMtlError."""
    work = workload(impressions, batch, windows, early)
    truth = expected(work.generated)
    ways: dict[str, Callable[[], Run[Labels | None]]] = {
        "dict and fastavro": lambda: _dict_join(work, truth),
        "decode alone": lambda: timed(lambda: _decode(work)),
        "join, decoded before": lambda: _decoded_before(work),
        "join, memory": lambda: _join(work, Tally(), None),
        "join, segment store and fsync": lambda: _durable(work),
    }
    cpu: dict[str, list[float]] = {name: [] for name in ways}
    wall: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(rounds):
        for name, way in ways.items():
            run = way()
            if run.result is not None and not np.array_equal(run.result, truth.labels):
                raise StreamMtlError(f"{name}: what came out differs from the truth; this is a bug")
            cpu[name].append(run.cpu)
            wall[name].append(run.wall)
    rates = [Rate(name, work.events, tuple(cpu[name]), tuple(wall[name])) for name in ways]
    return JoinBench(work.events, batch, windows, rates, peak_megabytes())


class Tally:
    """Takes transitions as a reader would, and keeps the final labels by exposure number."""

    def __init__(self) -> None:
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


def _codec(work: Workload) -> Codec:
    return Codec(work.specs, Limits(), system_clock, schema_of=work.schemas.__getitem__)


def _decode(work: Workload) -> None:
    codec = _codec(work)
    for batch in work.batches:
        for records in batch:
            codec.decode(records)


def _decoded_before(work: Workload) -> Run[Labels | None]:
    codec, tally = _codec(work), Tally()
    arrivals = [[codec.decode(records) for records in batch] for batch in work.batches]
    run = timed(lambda: _run(work, iter(arrivals), tally.append, None))
    return Run(tally.labels(), run.cpu, run.wall)


def _durable(work: Workload) -> Run[Labels | None]:
    with TemporaryDirectory() as folder:
        log = FileLog(Path(folder) / "log")
        run = _join(work, log, SegmentStore(Path(folder) / "state"))
        tally = Tally()
        for header, transitions in log.read():
            tally.append(header, transitions)
        return Run(tally.labels(), run.cpu, run.wall)


def _join(work: Workload, log: FileLog | Tally, store: StateStore | None) -> Run[Labels | None]:
    """Decode, join and append a block a batch."""
    codec = _codec(work)
    decoded = ([codec.decode(records) for records in batch] for batch in work.batches)
    run = timed(lambda: _run(work, decoded, log.append, store))
    return Run(log.labels() if isinstance(log, Tally) else None, run.cpu, run.wall)


def _run(
    work: Workload,
    batches: Iterator[list[Arrivals]],
    append: Callable[[Header, Transitions], None],
    store: StateStore | None,
) -> None:
    joiner, last = _joiner(work), 0
    for number, batch in enumerate(batches):
        for arrivals in batch:
            joiner.admit(arrivals)
        _append(append, number, joiner, joiner.tell())
        if store is not None and number % _CHECKPOINT_BATCHES == _CHECKPOINT_BATCHES - 1:
            store.save(save(joiner))
        last = number + 1
    _append(append, last, joiner, joiner.tell(_closed(work, joiner)))


def _append(
    append: Callable[[Header, Transitions], None], number: int, joiner: Joiner, told: list[Transitions]
) -> None:
    progress = tuple(Progress(source, part, 0, next_) for (source, part), next_ in joiner.positions.items())
    opened = joiner.exposures.ring.next
    header = Header(0, 0, number, joiner.told_before, opened, progress, (), joiner.accounts(), "bench")
    append(header, merged(told) if told else joiner.ripener.nothing())


def _joiner(work: Workload) -> Joiner:
    return Joiner(work.chain, {spec.kind: spec.schema for spec in work.specs}, [(kind, 0) for kind in KINDS])


def _closed(work: Workload, joiner: Joiner) -> int:
    """Return a time by which every window has closed."""
    return joiner.end() + sum(kind.within or 0 for kind in work.chain.kinds) + 1


def _dict_join(work: Workload, truth: Expected) -> Run[Labels | None]:
    """One record after the other: fastavro, a dict of exposures, a queue of closings. Finals only."""
    schemas = {
        number: fastavro.parse_schema(_plain_times(json.loads(text))) for number, text in work.schemas.items()
    }
    batches = [_messages(work, number) for number in range(len(work.batches))]
    out: dict[str, tuple[int, int]] = {}
    run = timed(lambda: out.update(_plain_loop(work, schemas, batches)))
    return Run(np.array([out.get(name, (-1, -1)) for name in truth.ids], np.int8), run.cpu, run.wall)


def _plain_times(schema: dict[str, Any]) -> dict[str, Any]:
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
                        _note(known, one, click_within, conversion_within)
            elif known is None:
                early.setdefault(name, []).append(event)
            else:
                _note(known, event, click_within, conversion_within)
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


def _note(known: list[Any], event: dict[str, Any], click_within: int, conversion_within: int) -> None:
    if "conversion_id" in event:
        if known[2] is not None and event["ts"] - known[2] <= conversion_within and known[3] is None:
            known[3] = event["ts"]
    elif known[2] is None and event["ts"] - known[0] <= click_within:
        known[2] = event["ts"]

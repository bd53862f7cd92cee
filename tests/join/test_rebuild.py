"""A joiner whose state is lost becomes, from the log and a part of the input, what it was."""

import json
from dataclasses import replace

import pytest
from hypothesis import event, given, settings
from hypothesis import strategies as st

from stream_mtl.connectors.base import Format
from stream_mtl.connectors.letters import DeadLetters
from stream_mtl.connectors.memory import MemorySink, MemorySource
from stream_mtl.errors import PositionOutOfRange, StateError
from stream_mtl.events.codec import Codec
from stream_mtl.events.types import EventSpec, Limits
from stream_mtl.join.digest import TransitionDigest
from stream_mtl.join.log import MemoryLog
from stream_mtl.join.plain import PlainRecord
from stream_mtl.join.spec import ChainSpec
from stream_mtl.join.store import MemoryStore
from stream_mtl.join.worker import JoinWorker, WorkerOptions
from stream_mtl.testing import ManualClock

from .streams import FIELDS, SHAPES, Stream, arrive, chain_specs, fields_of, streams

BEGIN = 10**12


@st.composite
def long_streams(draw: st.DrawFn, spec: ChainSpec) -> Stream:
    """Draw a stream that goes on and on: one piece again and again, later, so that ids and keys come back."""
    piece = draw(streams(spec))
    records: list[PlainRecord] = []
    shift = BEGIN
    for _ in range(draw(st.integers(3, 14))):
        records += [replace(one, time=one.time + shift) for one in piece.records if draw(st.integers(0, 9))]
        shift += draw(st.integers(1, 60))
    return Stream(piece.partitions, arrive(records))


def sources(stream: Stream) -> list[MemorySource]:
    homes: list[tuple[str, int]] = sorted(stream.partitions)  # type: ignore[type-var]
    made = {
        name: MemorySource(name, Format("json"), sum(home[0] == name for home in homes)) for name, _ in homes
    }
    for record in stream.records:
        name, partition = record.source  # type: ignore[misc]
        value = {"kind": record.kind, "ts": record.time, **record.fields}
        made[name].append([json.dumps(value).encode()], partition)
    return list(made.values())


def specs(spec: ChainSpec, stream: Stream) -> list[EventSpec]:
    first = min(stream.partitions)[0]  # type: ignore[type-var,index]
    homes = {record.kind: record.source[0] for record in stream.records}  # type: ignore[index]
    out = []
    for kind in spec.every_kind:
        fields = {name: FIELDS[name] for name in fields_of(spec, kind.name)}
        out.append(EventSpec(kind.name, homes.get(kind.name, first), "ts", fields, where={"kind": kind.name}))
    return out


def worker_of(
    spec: ChainSpec, stream: Stream, log: MemoryLog, size: int, read: list[MemorySource] | None = None
) -> JoinWorker:
    """Return a joiner without state that writes a block a poll."""
    kinds = specs(spec, stream)
    clock = ManualClock(BEGIN + 10**9)
    return JoinWorker(
        spec,
        kinds,
        sources(stream) if read is None else read,
        Codec(kinds, Limits(), clock),
        log,
        MemoryStore(),
        DeadLetters(MemorySink()),
        clock,
        WorkerOptions(poll_rows=size, tell_rows=1, block_rows=1, block_every=0, ahead=10**15),
    )


def rest(worker: JoinWorker, log: MemoryLog) -> list[object]:
    """Return what a joiner tells of the rest of its input, and what it has counted in the end."""
    start = log.next()
    while worker.step():
        pass
    worker.finish()
    told = TransitionDigest(worker.joiner.chain.features_on_final)
    for _, transitions in log.read(start):
        told.update(transitions)
    return [told.value(), told.rows, worker.joiner.accounts(), worker.joiner.positions]


@given(st.data())
@settings(max_examples=60, deadline=None)
def test_a_lost_state_is_made_anew_from_what_can_still_matter(data: st.DataObject) -> None:
    spec = replace(data.draw(chain_specs()), features_on_final=True)
    stream = data.draw(long_streams(spec))
    log, size = MemoryLog(), data.draw(st.integers(1, 20))
    original = worker_of(spec, stream, log, size)
    original.recover()
    for _ in range(data.draw(st.integers(1, 1 + len(stream.records) // size))):
        original.step()
    original.commit()
    copy = MemoryLog()
    copy.blocks = list(log.blocks)
    again = worker_of(spec, stream, copy, data.draw(st.integers(1, 20)))
    event(f"reads again {_tenth(again.recover(), original)}0 %")
    assert again.joiner.accounts() == original.joiner.accounts()
    assert rest(again, copy) == rest(original, log)


def _tenth(again: int, worker: JoinWorker) -> int:
    return 10 * again // max(sum(worker.joiner.positions.values()), 1)


def quiet(records: int) -> Stream:
    """Exposures of one key, far apart, none of them clicked."""
    fields = [{"user": "b", "id": f"i{n}", "tags": None} for n in range(records)]
    made = [
        PlainRecord(("events", 0), "impression", 0, BEGIN + 1_000 * n, one) for n, one in enumerate(fields)
    ]
    return Stream((("events", 0),), arrive(made))


def finished(stream: Stream) -> MemoryLog:
    log = MemoryLog()
    worker = worker_of(SHAPES[0], stream, log, 1)
    worker.recover()
    rest(worker, log)
    return log


def test_only_a_part_of_a_long_input_is_read_again() -> None:
    stream = quiet(50)
    again = worker_of(SHAPES[0], stream, finished(stream), 1)
    assert again.recover() <= 2
    assert again.joiner.exposures.ring.next == 50


def test_an_input_that_was_cut_where_nothing_matters_any_more_is_enough() -> None:
    stream = quiet(50)
    (source,) = sources(stream)
    source.forget(45)
    again = worker_of(SHAPES[0], stream, finished(stream), 1, [source])
    again.recover()
    assert again.joiner.exposures.ring.next == 50


def test_a_log_that_was_cut_too_short_is_refused() -> None:
    stream = quiet(5)
    log = finished(stream)
    log.first = lambda: 4  # type: ignore[method-assign]
    with pytest.raises(PositionOutOfRange, match="does not reach back far enough"):
        worker_of(SHAPES[0], stream, log, 1).recover()


def test_an_input_that_is_not_what_the_log_was_written_from_is_refused() -> None:
    stream = quiet(9)
    log = finished(stream)
    other = arrive([replace(r, fields={**r.fields, "id": "i0"}) for r in stream.records])
    with pytest.raises(StateError, match="comes something else than the log holds"):
        worker_of(SHAPES[0], Stream(stream.partitions, other), log, 1).recover()

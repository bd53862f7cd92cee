"""Spans of Avro bytes to columns: the good rows, and for each bad one why it is bad."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from stream_mtl.events.gather import gather
from stream_mtl.events.schema import Plan
from stream_mtl.events.strict import REASONS, BadError, Unfit
from stream_mtl.events.types import FieldType
from stream_mtl.events.walk import Walk
from stream_mtl.varint import Bytes, Ints, View

Reasons: TypeAlias = dict[int, tuple[str, str]]
"""Row -> (one of strict.REASONS, detail for a person)."""

_ROWS: Final = 16_384  # at a time at most
_CACHED: Final = 1 << 20  # bytes at a time: what numpy makes of more of them does not stay in the cache
_FEWEST: Final = 64  # rows at a time, even of more bytes
_BYTES: Final = 64 << 20  # bytes at a time at most, but for one row: the offsets of texts have 32 bits
_SPARSE: Final = 4  # times the bytes of the rows
_NEAR: Final = 1 << 16  # bytes: so many may be copied along with rows
_WIDEST: Final = 1 << 30  # bytes of a row, whatever the limit is
_ROOM: Final = 64  # zeros behind those for the plan's reach, for words that begin there


@dataclass(frozen=True, slots=True)
class Decoded:
    """What spans (n,) turned out to be."""

    columns: pa.RecordBatch  # only the good rows, in order; schema = ARROW_TYPES of the fields
    good: npt.NDArray[np.bool_]  # (n,)
    reasons: Reasons  # of the bad spans


def decode(plan: Plan, data: Bytes, starts: Ints, ends: Ints) -> Decoded:
    """Return the columns of the spans data[starts[i]:ends[i]], which must lie in `data`; they may be in any order.

    A span that is not exactly one record by the rules of `strict` is bad, costs its neighbours nothing, and has its
    reason told. Only a bad row's own first fault is told: those that hide where its values are come before texts
    that are no UTF-8 and numbers that are not finite.
    """
    data = np.ascontiguousarray(data, np.uint8)
    starts, ends = np.asarray(starts, np.int64), np.asarray(ends, np.int64)
    if len(starts) and (starts.min() < 0 or ends.max() > len(data)):
        raise ValueError(f"spans reach from {starts.min()} to {ends.max()}, the buffer has {len(data)} bytes")
    good = np.ones(len(starts), bool)
    reasons = _unread(plan, ends - starts)
    rows = np.arange(len(starts))
    if reasons:
        good[list(reasons)] = False
        rows = np.flatnonzero(good)
        starts, ends = starts[rows], ends[rows]
    batches = []
    for part in _parts(ends - starts):
        batch, wrong = (_columns if plan.columnar else _singly)(plan, data, starts[part], ends[part])
        reasons.update({int(rows[part][row]): why for row, why in wrong.items()})
        batches.append(batch)
    if reasons:
        good[list(reasons)] = False
    return Decoded(_whole(plan, batches), good, reasons)


def _unread(plan: Plan, sizes: Ints) -> Reasons:
    """Return the rows (n,) that are bad before they are looked at."""
    most = min(plan.limits.max_record_bytes, _WIDEST)
    if len(sizes) and sizes.min() > 0 and sizes.max() <= most:
        return {}
    reasons: Reasons = dict.fromkeys(np.flatnonzero(sizes <= 0).tolist(), ("empty", REASONS["empty"]))
    for row in np.flatnonzero(sizes > most).tolist():
        reasons[row] = ("too_large", f"{sizes[row]} bytes, the limit is {most}")
    return reasons


def _parts(sizes: Ints) -> Iterator[slice]:
    """Cut rows (n,) into parts that are neither too many rows nor too many bytes."""
    totals = np.cumsum(sizes)
    begin = 0
    while begin < len(sizes):
        before = totals[begin - 1] if begin else 0
        cached, most = np.searchsorted(totals, [before + _CACHED, before + _BYTES], side="right").tolist()
        end = max(begin + 1, min(begin + _ROWS, max(cached, min(begin + _FEWEST, most))))
        yield slice(begin, end)
        begin = end


def _columns(plan: Plan, data: Bytes, starts: Ints, ends: Ints) -> tuple[pa.RecordBatch, Reasons]:
    """Decode rows at once; return the columns of the good ones."""
    assert plan.steps is not None
    view, starts, ends, sink = buffer(plan, data, starts, ends)
    walk = Walk(view, sink, starts, ends, plan.limits.max_items)
    walk.run(plan.steps)
    alive = walk.finish()
    columns = gather(view, walk.cells, list(plan.fields.values()), len(starts))
    reasons = _told(walk)
    for (name, kind), (_, unfit) in zip(plan.fields.items(), columns, strict=True):
        if unfit is not None:
            reason = _UNFIT[kind]
            detail = f"{name}: {REASONS[reason]}"
            reasons.update(dict.fromkeys(np.flatnonzero(unfit & alive).tolist(), (reason, detail)))
            alive &= ~unfit
    batch = _batch(plan, [column for column, _ in columns], len(starts))
    return (batch.filter(pa.array(alive)) if reasons else batch), reasons


def _told(walk: Walk) -> Reasons:
    """Return why rows of a walk are dead. In which field the bytes ended is not always known, and not told."""
    reasons: Reasons = {}
    for rows, reason, name in walk.failures:
        where = f"{name}: " if name and reason != "truncated" else ""
        reasons.update(dict.fromkeys(rows.tolist(), (reason, where + REASONS[reason])))
    return reasons


def buffer(plan: Plan, data: Bytes, starts: Ints, ends: Ints) -> tuple[View, Ints, Ints, int]:
    """Return spans (n,), n > 0, in order in a buffer as a walk needs it: (view, starts, ends, sink)."""
    sizes = ends - starts
    low, high, total = int(starts.min()), int(ends.max()), int(sizes.sum())
    if high - low <= _SPARSE * total + _NEAR and (starts[1:] >= ends[:-1]).all():
        return *_padded(plan, data[low:high], starts - low, ends - low), high - low
    spans = [data[start:end] for start, end in zip(starts.tolist(), ends.tolist(), strict=True)]
    ends = np.cumsum(sizes)
    return *_padded(plan, np.concatenate(spans), ends - sizes, ends), total


def _padded(plan: Plan, data: Bytes, starts: Ints, ends: Ints) -> tuple[View, Ints, Ints]:
    padded = np.empty(len(data) + plan.reach + _ROOM, np.uint8)
    padded[: len(data)] = data
    padded[len(data) :] = 0
    return View(padded), starts, ends


def _singly(plan: Plan, data: Bytes, starts: Ints, ends: Ints) -> tuple[pa.RecordBatch, Reasons]:
    """Decode rows one by one; return the columns of the good ones."""
    rows: list[list[Any]] = []
    reasons: Reasons = {}
    for number, (start, end) in enumerate(zip(starts.tolist(), ends.tolist(), strict=True)):
        cells: list[Any] = [None] * len(plan.fields)
        wrong = _row(plan, data[start:end].tobytes(), cells)
        if wrong is None:
            rows.append(cells)
        else:
            reasons[number] = wrong
    columns = zip(*rows, strict=True) if rows else [()] * len(plan.fields)
    arrays = [pa.array(values, field.type) for values, field in zip(columns, plan.columns, strict=True)]
    return _batch(plan, arrays, len(rows)), reasons


def _row(plan: Plan, raw: bytes, cells: list[Any]) -> tuple[str, str] | None:
    """Read one row into its cells; return what is wrong with it."""
    try:
        at = plan.row(raw, 0, len(raw), cells)
    except BadError as bad:
        return bad.reason, REASONS[bad.reason]
    if at != len(raw):
        return "trailing_bytes", REASONS["trailing_bytes"]
    for name, value in zip(plan.fields, cells, strict=True):
        if isinstance(value, Unfit):
            return value.reason, f"{name}: {REASONS[value.reason]}"
    return None


def _batch(plan: Plan, columns: list[pa.Array], rows: int) -> pa.RecordBatch:
    if columns:
        return pa.RecordBatch.from_arrays(columns, schema=plan.columns)
    return pa.RecordBatch.from_struct_array(pa.StructArray.from_buffers(pa.struct([]), rows, [None]))


def _whole(plan: Plan, batches: list[pa.RecordBatch]) -> pa.RecordBatch:
    if not batches:
        return _batch(plan, [pa.nulls(0, field.type) for field in plan.columns], 0)
    return batches[0] if len(batches) == 1 else pa.concat_batches(batches)


_UNFIT: Final[Mapping[FieldType, str]] = {
    "string": "not_utf8",
    "array<string>": "not_utf8",
    "double": "not_finite",
    "array<double>": "not_finite",
}

"""Raw records as single rows: where each one's bytes are, and what is wrong with some before they are read."""

from dataclasses import dataclass, field
from typing import TypeAlias

import numpy as np

from stream_mtl.connectors.base import Records
from stream_mtl.errors import DataError
from stream_mtl.events.columns import Bytes, Numbers
from stream_mtl.events.container import Broken, row_spans
from stream_mtl.events.schema import Plan

Reasons: TypeAlias = dict[int, tuple[str, str]]
"""Row -> (reason, detail)."""


@dataclass(frozen=True, slots=True)
class Rows:
    """Rows (n,) as spans of one buffer; `reasons` are of those that are bad already."""

    data: Bytes
    starts: Numbers
    ends: Numbers
    position: Numbers
    times: Numbers | None = None  # of the broker, ms; below zero where it has none
    reasons: Reasons = field(default_factory=dict)
    values: dict[int, bytes] = field(default_factory=dict)  # of rows that are no spans of `data`

    def value(self, row: int) -> bytes:
        """Return the bytes of a row."""
        known = self.values.get(row)
        return self.data[self.starts[row] : self.ends[row]].tobytes() if known is None else known


def single(records: Records, most: int) -> Rows:
    """Return records of one row each; those of no bytes, or more than `most`, are bad."""
    return _measured(Rows(records.data, records.starts, records.ends, records.positions, records.times), most)


def unpacked(records: Records, plan: Plan, most: int) -> Rows:
    """Return the rows of container blocks, but for those that were read before.

    Rows that cannot be found in a damaged block are bad, each by itself; the first of them keeps the block as its
    bytes. Raises SchemaError for a codec that is not read here, DataError for blocks without counts.
    """
    if records.counts is None:
        raise DataError(f"{records.source}: container blocks without the counts of their rows")
    spans = row_spans(plan, records.data, records.starts, records.ends, records.counts, records.format.codec)
    rows = Rows(spans.data, spans.starts, spans.ends, records.positions[spans.block] + spans.row)
    if spans.bad:
        rows = _with_lost(rows, records, spans.bad)
    return _measured(_without_first(rows, records), most)


def _measured(rows: Rows, most: int) -> Rows:
    size = rows.ends - rows.starts
    for row in np.flatnonzero((size == 0) | (size > most)).tolist():
        told = (
            ("too_large", f"{size[row]} bytes, the limit is {most}") if size[row] else ("empty", "no bytes")
        )
        rows.reasons.setdefault(row, told)
    return rows


def _with_lost(rows: Rows, records: Records, broken: list[Broken]) -> Rows:
    assert records.counts is not None
    lost = [records.positions[b.block] + np.arange(b.row, records.counts[b.block]) for b in broken]
    position = np.concatenate([rows.position, *lost])
    cause = np.repeat(np.arange(-1, len(broken)), [len(rows.position), *map(len, lost)])
    order = np.argsort(position)
    nowhere = np.zeros(len(position) - len(rows.position), np.int64)
    starts, ends = np.append(rows.starts, nowhere)[order], np.append(rows.ends, nowhere)[order]
    whole = Rows(rows.data, starts, ends, position[order])
    for row in np.flatnonzero(cause[order] >= 0).tolist():
        bad = broken[cause[order[row]]]
        first = int(records.positions[bad.block]) + bad.row
        whole.reasons[row] = (bad.reason, f"the block cannot be read from position {first} on")
        block = records.data[records.starts[bad.block] : records.ends[bad.block]]
        whole.values[row] = block.tobytes() if whole.position[row] == first else b""
    return whole


def _without_first(rows: Rows, records: Records) -> Rows:
    """Return the rows without those of the first block that were read before."""
    if not records.skip:
        return rows
    first = int(np.searchsorted(rows.position, records.positions[0] + records.skip))
    return Rows(
        rows.data,
        rows.starts[first:],
        rows.ends[first:],
        rows.position[first:],
        None,
        {row - first: why for row, why in rows.reasons.items() if row >= first},
        {row - first: value for row, value in rows.values.items() if row >= first},
    )

"""Transitions: what the join tells, as columns; neutral to method and model."""

from dataclasses import dataclass
from enum import IntEnum

import numpy as np
import pyarrow as pa

from stream_mtl.join.spec import ChainSpec


class Telling(IntEnum):
    """The kinds of transition, in the order in which they are told at one instant."""

    EXPOSED = 0
    LOOK = 1
    EVENT = 2
    FINAL = 3
    RETRACTED = 4  # the last event of a kind that stood was taken back


def rows_schema(chain: ChainSpec) -> pa.Schema:
    """Return the schema of `Transitions.rows`; every configured task has its columns, in order of declaration."""
    columns: list[tuple[str, pa.DataType]] = [
        ("told", pa.int64()),  # ms: the instant whose facts this row knows
        ("kind", pa.int8()),  # Telling
        ("exposure", pa.int64()),  # number, dense per joiner partition in order of telling
        ("time", pa.int64()),  # ms: the exposure's time
        ("wait", pa.int64()),  # ms: of a look, else null
        ("tasks", pa.int64()),  # bit i: this row is about task i
        ("row", pa.int32()),  # where this exposure's key, and fields if carried, stand in this batch
    ]
    for task in chain.tasks:
        columns.append((f"label.{task.name}", pa.int8()))
        columns.append((f"at.{task.name}", pa.int64()))
        if task.regression:
            columns.append((f"value.{task.name}", pa.float64()))
        if task.unsure:
            # Since when its event stands, or stood until just now; when first none stood any more.
            columns += [(f"came.{task.name}", pa.int64()), (f"gone.{task.name}", pa.int64())]
    return pa.schema(columns)


@dataclass(frozen=True, slots=True)
class Transitions:
    """A batch of tellings in their order.

    `rows.row[i]` is the place of row i's exposure in `keys`, and in `fields` where i's kind carries fields:
    then `row < fields.num_rows`. Several rows may share a place, so an exposure's fields are held once.
    """

    rows: pa.RecordBatch  # rows_schema(chain)
    keys: pa.Table  # the chain key's columns, and the served score's (`scored.*`) where a kind comes before
    fields: pa.Table  # the root event's columns, a prefix of the places in `keys`

    def __len__(self) -> int:
        return int(self.rows.num_rows)


def part(transitions: Transitions, start: int, stop: int) -> Transitions:
    """Return rows [start, stop), with the keys and fields of their exposures and no others."""
    rows = transitions.rows.slice(start, stop - start)
    place = rows.column("row").to_numpy()
    used = np.unique(place)
    rich = int(np.searchsorted(used, transitions.fields.num_rows))
    at = rows.schema.get_field_index("row")
    moved = pa.array(np.searchsorted(used, place).astype(np.int32))
    rows = rows.set_column(at, rows.schema.field(at), moved)
    return Transitions(rows, transitions.keys.take(used), transitions.fields.take(used[:rich]))

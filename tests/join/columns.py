"""Feeds the records of a random stream to the columnar joiner, and reads its transitions back as plain rows."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pyarrow as pa

from stream_mtl.events.types import ARROW_TYPES, Arrivals, Events, Malformed
from stream_mtl.join.chain import Row, State
from stream_mtl.join.joiner import Joiner
from stream_mtl.join.plain import PlainRecord
from stream_mtl.join.spec import ChainSpec
from stream_mtl.join.transitions import Telling, Transitions

from .streams import FIELDS, fields_of

NONE_MALFORMED = Malformed(np.zeros(0, np.int64), [], [], [], [])


def schemas_of(spec: ChainSpec) -> dict[str, pa.Schema]:
    """Return the schema of every kind's fields."""
    return {
        kind.name: pa.schema([(name, ARROW_TYPES[FIELDS[name]]) for name in fields_of(spec, kind.name)])
        for kind in spec.every_kind
    }


def arrivals(spec: ChainSpec, records: Sequence[PlainRecord]) -> list[Arrivals]:
    """Return one arrival per source partition that these records came from."""
    schemas = schemas_of(spec)
    out = []
    for home in sorted({record.source for record in records}):
        some = [record for record in records if record.source == home]
        events = tuple(
            _events(kind, [r for r in some if r.kind == kind], schema)
            for kind, schema in schemas.items()
            if any(r.kind == kind for r in some)
        )
        source, partition = home
        first, last = some[0].position, some[-1].position
        out.append(Arrivals(source, partition, first, last + 1, events, NONE_MALFORMED))
    return out


def _events(kind: str, records: Sequence[PlainRecord], schema: pa.Schema) -> Events:
    columns = [pa.array([r.fields.get(field.name) for r in records], field.type) for field in schema]
    fields = pa.RecordBatch.from_arrays(columns, schema=schema)
    return Events(kind, np.array([r.position for r in records]), np.array([r.time for r in records]), fields)


def run(
    spec: ChainSpec, partitions: Sequence[Any], polls: Iterable[Sequence[PlainRecord]], ended: bool = True
) -> tuple[list[Row], Joiner]:
    """Join polls and return all rows in the order told."""
    joiner = Joiner(spec, schemas_of(spec), list(partitions))
    rows: list[Row] = []
    for poll in polls:
        for one in arrivals(spec, poll):
            joiner.admit(one)
        rows += plain_rows(spec, joiner.tell())
    if ended:
        rows += plain_rows(spec, joiner.tell(joiner.end()))
    return rows, joiner


def plain_rows(spec: ChainSpec, told: Iterable[Transitions]) -> list[Row]:
    """Return transitions as the plain join's rows."""
    return [bare(row) for transitions in told for row in _plain(spec, transitions)]


def _plain(spec: ChainSpec, transitions: Transitions) -> list[Row]:
    keys, fields = transitions.keys.to_pylist(), transitions.fields.to_pylist()
    out = []
    for row in transitions.rows.to_pylist():
        place = row["row"]
        kind = Telling(row["kind"])
        carries = kind is not Telling.FINAL or spec.features_on_final
        states = tuple(_state(row, task.name) for task in spec.tasks)
        out.append(
            Row(
                row["told"],
                kind,
                row["exposure"],
                row["time"],
                row["wait"],
                row["tasks"],
                tuple(keys[place][name] for name in spec.key),
                states,
                fields[place] if carries else None,
            )
        )
    return out


def bare(row: Row) -> Row:
    """Leave out the null fields of a score: the columns have them where there is no score, too."""
    if row.fields is None:
        return row
    fields = {n: value for n, value in row.fields.items() if value is not None or not n.startswith("scored.")}
    return replace(row, fields=fields)


def _state(row: Mapping[str, Any], task: str) -> State:
    names = ("label", "at", "value", "came", "gone")
    return State(*(row.get(f"{name}.{task}") for name in names))

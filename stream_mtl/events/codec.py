"""Raw records to events: decoded once, told apart by kind, checked; what is no event is kept and says why."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TypeAlias

import numpy as np
import pyarrow as pa

from stream_mtl.clock import Clock
from stream_mtl.connectors.base import Records, Unreadable
from stream_mtl.errors import ConfigError
from stream_mtl.events.columns import Numbers
from stream_mtl.events.kinds import Fault, Found, Kind, type_of
from stream_mtl.events.readers import Readers, SchemaOf
from stream_mtl.events.rows import Rows
from stream_mtl.events.table import header_of
from stream_mtl.events.text import Wanted
from stream_mtl.events.types import Arrivals, Events, EventSpec, Limits, Malformed

_Pieces: TypeAlias = list[tuple[Numbers, Found]]
"""The events of one kind, part by part, with their row numbers among all records."""

_TIMES = ("time", "long", "double", "string")


class Codec:
    """Decodes the records of every source that some spec names.

    `schemas` are the writer schemas (Avro) or headers (CSV) of sources whose records come without and whose specs
    name no columns;
    `schema_of` gives the schema of an id to records that are framed with one. A record is an event of every
    kind that wants it. Raises ConfigError for specs that contradict one another, and for records that need a
    schema and have none.
    """

    def __init__(
        self,
        specs: Sequence[EventSpec],
        limits: Limits,
        clock: Clock,
        schemas: Mapping[str, str] | None = None,
        schema_of: SchemaOf | None = None,
    ) -> None:
        self._clock = clock
        self._sources: dict[str, _Source] = {}
        for source in {spec.source: None for spec in specs}:
            own = [spec for spec in specs if spec.source == source]
            types = _types(own)
            columns, trim = _csv(own)
            schema = header_of(columns) if columns else (schemas or {}).get(source)
            readers = Readers(source, types, limits, schema, schema_of, trim)
            self._sources[source] = _Source(readers, [Kind(spec, types, limits) for spec in own])

    def decode(self, records: Records) -> Arrivals:
        """Return all that a poll gave of one partition; `first` to `next` spans everything read.

        Rows of `malformed` are in order of position; a record that several kinds want may stand there for
        each. Raises SchemaError when the schema that the records bring cannot be used, Unavailable when the
        schema of an id cannot be asked for: then the same records may be given again.
        """
        return self._sources[records.source].decode(records, self._clock)


class _Source:
    """One source: its decoders, and the kinds that are looked for in it."""

    def __init__(self, readers: Readers, kinds: list[Kind]) -> None:
        self._readers, self._kinds = readers, kinds
        only = kinds[0].spec if len(kinds) == 1 else None
        self._only = only.kind if only is not None and not only.where else None

    def decode(self, records: Records, clock: Clock) -> Arrivals:
        if records.unreadable is not None:
            return _nothing_of(records, records.unreadable)
        rows = self._readers.rows(records)
        parts = self._readers.decode(rows, records.format)
        reference = _reference(rows, clock)
        faults = [Fault(row, self._only, reason, detail) for row, (reason, detail) in rows.reasons.items()]
        pieces: list[_Pieces] = [[] for _ in self._kinds]
        ignored = 0
        for part in parts:
            now = reference if isinstance(reference, int) else reference[part.rows]
            position = rows.position[part.rows]
            found = [kind.find(part.columns, now, position) for kind in self._kinds]
            ignored += _unwanted(found)
            for of_kind, one in zip(pieces, found, strict=True):
                of_kind.append((part.rows[one.rows], one))
                faults += [replace(fault, row=int(part.rows[fault.row])) for fault in one.faults]
        events = [_events(kind, rows, some) for kind, some in zip(self._kinds, pieces, strict=True) if some]
        return Arrivals(
            records.source,
            records.partition,
            int(records.positions[0]) + records.skip if len(records.positions) else records.next,
            records.next,
            tuple(one for one in events if len(one)),
            _malformed(rows, faults),
            ignored,
        )


def _nothing_of(records: Records, bad: Unreadable) -> Arrivals:
    """Return what comes of positions that the log cannot give: one malformed, for nobody knows how many there were."""
    malformed = Malformed(np.array([bad.begin], np.int64), ["unreadable"], [bad.reason], [bad.value], [None])
    return Arrivals(records.source, records.partition, bad.begin, records.next, (), malformed, 0)


def _types(specs: Sequence[EventSpec]) -> dict[str, Wanted]:
    """Return all fields that the kinds of one source want, with their types."""
    types: dict[str, Wanted] = {}
    for spec in specs:
        for name, kind in spec.fields.items():
            if types.setdefault(name, kind) != kind:
                raise ConfigError(
                    f"{spec.source}: {name} is declared as {types[name]} and, by {spec.kind}, as {kind}"
                )
        missing = [name for name in spec.required if name not in spec.fields]
        if missing:
            raise ConfigError(f"{spec.kind}: {missing[0]} is required, but is not among its fields")
    for spec in specs:
        for name in spec.where:
            types.setdefault(name, type_of(spec, name))
    for spec in specs:
        if spec.time is not None and types.setdefault(spec.time, "time") not in _TIMES:
            raise ConfigError(f"{spec.kind}: the time {spec.time} is declared as {types[spec.time]}")
    return types


def _csv(specs: Sequence[EventSpec]) -> tuple[tuple[str, ...], bool]:
    """Return the columns of one source's CSV values, and whether these are trimmed: for all kinds the same."""
    first = specs[0]
    for spec in specs:
        if (spec.columns, spec.trim) != (first.columns, first.trim):
            raise ConfigError(
                f"{spec.source}: {first.kind} and {spec.kind} differ in columns or trim; make them the same"
            )
    return first.columns, first.trim


def _reference(rows: Rows, clock: Clock) -> Numbers | int:
    """Return the time that each record is held against: its broker's, where it has one."""
    if rows.times is None:
        return clock()
    return rows.times if (rows.times >= 0).all() else np.where(rows.times >= 0, rows.times, clock())


def _unwanted(found: list[Found]) -> int:
    """Return how many records of a part no kind wants."""
    wanted = [one.wanted for one in found if one.wanted is not None]
    if len(wanted) < len(found):
        return 0
    return int((~np.logical_or.reduce(wanted)).sum())


def _events(kind: Kind, rows: Rows, pieces: _Pieces) -> Events:
    if len(pieces) == 1:
        numbers, one = pieces[0]
        return Events(kind.spec.kind, rows.position[numbers], one.time, one.fields)
    numbers = np.concatenate([numbers for numbers, _ in pieces])
    order = np.argsort(numbers)
    time = np.concatenate([one.time for _, one in pieces])
    fields = pa.concat_batches([one.fields for _, one in pieces])
    return Events(kind.spec.kind, rows.position[numbers[order]], time[order], fields.take(pa.array(order)))


def _malformed(rows: Rows, faults: list[Fault]) -> Malformed:
    faults = sorted(faults, key=lambda fault: fault.row)
    numbers = np.array([fault.row for fault in faults], np.int64)
    return Malformed(
        rows.position[numbers],
        [fault.reason for fault in faults],
        [fault.detail for fault in faults],
        [rows.value(fault.row) for fault in faults],
        [fault.kind for fault in faults],
    )

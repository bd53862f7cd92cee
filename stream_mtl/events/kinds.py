"""Which decoded records are events of one kind, and which of those may not be."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from stream_mtl.errors import ConfigError
from stream_mtl.events.columns import Mask, Numbers, mask_of, offsets_of, valid
from stream_mtl.events.text import Wanted
from stream_mtl.events.times import Times
from stream_mtl.events.types import ARROW_TYPES, EventSpec, FieldType, Limits

_OF_VALUE: Final[Mapping[type, FieldType]] = {bool: "boolean", int: "long", float: "double", str: "string"}


@dataclass(frozen=True, slots=True)
class Fault:
    """A record that would have been an event of a kind, were it not for this."""

    row: int
    kind: str | None
    reason: str
    detail: str


@dataclass(frozen=True, slots=True)
class Found:
    """The k events of one kind among n records: `rows` (k,) of the batch, times (k,), k rows of fields."""

    rows: Numbers
    time: Numbers
    fields: pa.RecordBatch
    faults: list[Fault]
    wanted: Mask | None  # (n,) the records that are of this kind, good or not; None: all


class Kind:
    """Finds the events of one spec. Raises ConfigError for a `where` or a time format that cannot be."""

    def __init__(self, spec: EventSpec, types: Mapping[str, Wanted], limits: Limits) -> None:
        self.spec = spec
        self._limits = limits
        self._times = Times(spec.time_unit, spec.time_format)
        self._where = {name: _choices(spec, name, value, types[name]) for name, value in spec.where.items()}
        self._schema = spec.schema
        self._doubles = [name for name, kind in spec.fields.items() if kind in ("double", "array<double>")]
        self._lists = [name for name, kind in spec.fields.items() if kind.startswith("array")]
        self._keys = [name for name in spec.required if types[name] == "string"]

    def find(self, batch: pa.RecordBatch, reference: Numbers | int, position: Numbers) -> Found:
        """Return the events among n decoded records at `position` (n,); `reference` is the time now, one or (n,)."""
        wanted = self._wanted(batch)
        rows = np.arange(batch.num_rows) if wanted is None else np.flatnonzero(wanted)
        if wanted is not None:
            batch = batch.filter(pa.array(wanted))
            reference = reference if isinstance(reference, int) else reference[rows]
        check = _Check(self.spec.kind, rows)
        time = position[rows]
        if self.spec.time is not None:
            time = self._read_times(check, batch.column(self.spec.time), reference)
        self._check_fields(check, batch)
        fields = self._fields(batch)
        if check.faults:
            keep = check.good
            rows, time, fields = rows[keep], time[keep], fields.filter(pa.array(keep))
        return Found(rows, time, fields, check.faults, wanted)

    def _wanted(self, batch: pa.RecordBatch) -> Mask | None:
        wanted: Mask | None = None
        for name, choices in self._where.items():
            found = mask_of(pc.is_in(batch.column(name), value_set=choices))
            wanted = found if wanted is None else wanted & found
        return wanted

    def _fields(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        if not self.spec.fields:
            return batch.select([])
        columns = [batch.column(name) for name in self.spec.fields]
        return pa.RecordBatch.from_arrays(columns, schema=self._schema)

    def _read_times(self, check: "_Check", column: pa.Array, reference: Numbers | int) -> Numbers:
        """Return the event times, having taken note of those that may not be."""
        name, limits = self.spec.time, self._limits
        time, known = self._times.read(column)
        if not len(time):
            return time
        if column.null_count:
            check.say(~valid(column), "time_missing", lambda i: f"{name} is null")
        if not known.all():
            check.say(~known, "time_unreadable", lambda i: f"{name}: {column[i].as_py()!r}")
        if time.min() < limits.oldest or time.max() > limits.newest:
            out = (time < limits.oldest) | (time > limits.newest)
            check.say(out, "time_out_of_range", lambda i: f"{name}: {column[i].as_py()!r} is {time[i]} ms")
        ahead, skew = time - reference, limits.max_future_skew
        if ahead.max() > skew:
            check.say(ahead > skew, "time_in_future", lambda i: f"{name} is {ahead[i]} ms ahead")
        return time

    def _check_fields(self, check: "_Check", batch: pa.RecordBatch) -> None:
        limits = self._limits
        for name in self.spec.required:
            if batch.column(name).null_count:
                check.say(~valid(batch.column(name)), "field_missing", _always(f"{name} is null"))
        for names, most, reason, what in (
            (self._keys, limits.max_key_bytes, "key_too_large", "bytes"),
            (self._lists, limits.max_items, "too_many_items", "items"),
        ):
            for name in names:
                offsets = offsets_of(batch.column(name))
                size = offsets[1:] - offsets[:-1]
                if size.max(initial=0) > most:
                    check.say(size > most, reason, _sized(name, size, what))
        for name in self._doubles:
            bad = _not_finite(batch.column(name))
            if bad is not None:
                check.say(bad, "not_finite", _always(f"{name} is infinite or no number"))


class _Check:
    """Gathers faults; of each record the first counts."""

    def __init__(self, kind: str, rows: Numbers) -> None:
        self.good = np.ones(len(rows), bool)
        self.faults: list[Fault] = []
        self._kind, self._rows = kind, rows

    def say(self, bad: Mask, reason: str, detail: Callable[[int], str]) -> None:
        """Take note of the rows that are bad."""
        for row in np.flatnonzero(bad & self.good).tolist():
            self.faults.append(Fault(int(self._rows[row]), self._kind, reason, detail(row)))
        self.good &= ~bad


def _sized(name: str, size: Numbers, what: str) -> Callable[[int], str]:
    return lambda i: f"{name} has {size[i]} {what}"


def _always(detail: str) -> Callable[[int], str]:
    return lambda i: detail


def _not_finite(column: pa.Array) -> Mask | None:
    """Return which doubles, or lists with a double that is, are infinite or no number; None for not one."""
    lists = pa.types.is_list(column.type)
    items = column.flatten() if lists else column
    finite = np.isfinite((items.fill_null(0.0) if items.null_count else items).to_numpy())
    if finite.all():
        return None
    if not lists:
        bad: Mask = ~finite
        return bad
    rows = np.zeros(len(column), bool)
    rows[pc.list_parent_indices(column).to_numpy()[~finite]] = True
    return rows


def type_of(spec: EventSpec, name: str) -> FieldType:
    """Return the type of a `where` field by its value, which is one value or a list of them."""
    values = _listed(spec.where[name])
    kinds = {_OF_VALUE.get(type(value)) for value in values if value is not None}
    if len(kinds) > 1 or None in kinds or not values:
        raise ConfigError(f"{spec.kind}: where {name} = {values!r}: texts, numbers or booleans, of one type")
    return next((kind for kind in kinds if kind is not None), "string")


def _choices(spec: EventSpec, name: str, value: Any, kind: Wanted) -> pa.Array:
    """Return what a `where` field may be."""
    if kind == "time" or kind.startswith("array"):
        raise ConfigError(f"{spec.kind}: where {name}: a field of type {kind} cannot tell kinds apart")
    values = _listed(value)
    for given in {_OF_VALUE[type(value)] for value in values if value is not None}:
        if given != kind and (given, kind) != ("long", "double"):
            raise ConfigError(f"{spec.kind}: where {name} = {values!r}: the field is a {kind}, not a {given}")
    return pa.array(values, ARROW_TYPES[kind])


def _listed(value: Any) -> Sequence[Any]:
    return value if isinstance(value, list | tuple) else [value]

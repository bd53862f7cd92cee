"""What a decoded batch looks like: columns of events, and the records that were none."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from stream_mtl.clock import DAY, HOUR, Millis

FieldType: TypeAlias = Literal[
    "long", "double", "boolean", "string", "array<long>", "array<double>", "array<string>"
]

ARROW_TYPES: Mapping[str, pa.DataType] = {
    "long": pa.int64(),
    "double": pa.float64(),
    "boolean": pa.bool_(),
    "string": pa.string(),
    "array<long>": pa.list_(pa.int64()),
    "array<double>": pa.list_(pa.float64()),
    "array<string>": pa.list_(pa.string()),
}


@dataclass(frozen=True, slots=True)
class EventSpec:
    """How events of one kind are found in a source's records.

    `fields` are the columns that are kept, in order, with their types; a field that the writer's schema
    lacks is null. `time` names the field that holds the event time, in `time_unit` (or, for texts,
    in the strptime format `time_format`, UTC); without it, an event's time is its position, as rows that no
    other event is joined to need none. `where` tells kinds apart that share a source. `required` fields (the
    chain key, the id) may not be null. `columns` are the names of CSV values that come without a header;
    with `trim`, blanks around CSV values are not part of them.
    """

    kind: str
    source: str
    time: str | None
    fields: Mapping[str, FieldType]
    time_unit: Literal["s", "ms", "us", "ns"] = "ms"
    time_format: str | None = None
    where: Mapping[str, Any] = field(default_factory=dict)
    required: tuple[str, ...] = ()
    columns: tuple[str, ...] = ()
    trim: bool = False

    @property
    def schema(self) -> pa.Schema:
        """The Arrow schema of `Events.fields`."""
        return pa.schema([(name, ARROW_TYPES[kind]) for name, kind in self.fields.items()])


@dataclass(frozen=True, slots=True)
class Limits:
    """What a record may be at most; beyond, it is malformed and the stream goes on."""

    max_record_bytes: int = 1 << 20
    max_items: int = 10_000  # of one array
    max_key_bytes: int = 1_024  # of one key or id field
    max_future_skew: Millis = HOUR  # beyond the record's broker time, else the clock
    oldest: Millis = 0  # event times before this are out of range
    newest: Millis = 200 * 365 * DAY  # and after this, whatever the clock says


@dataclass(frozen=True, slots=True)
class Events:
    """Events of one kind from one source partition, in log order."""

    kind: str
    position: npt.NDArray[np.int64]  # (n,)
    time: npt.NDArray[np.int64]  # (n,) event time, ms
    fields: pa.RecordBatch  # n rows, schema EventSpec.schema

    def __len__(self) -> int:
        return len(self.position)


@dataclass(frozen=True, slots=True)
class Malformed:
    """Records that are no events: where they stood, why, and their bytes."""

    position: npt.NDArray[np.int64]  # (n,)
    reason: list[str]  # short, from a closed set: a metric label
    detail: list[str]  # for a person
    value: list[bytes]
    kind: list[str | None]  # the kind it would have been, where that is known

    def __len__(self) -> int:
        return len(self.position)


@dataclass(frozen=True, slots=True)
class Arrivals:
    """All that one poll gave of one source partition: read from `first` up to, not including, `next`."""

    source: str
    partition: int
    first: int
    next: int
    events: tuple[Events, ...]  # at most one entry a kind
    malformed: Malformed
    ignored: int = 0  # records that no kind's `where` wanted

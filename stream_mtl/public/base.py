"""What a public log is: its columns, the kinds of event in a row, and the declarations that read them."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from stream_mtl.events.types import FieldType

Ints: TypeAlias = npt.NDArray[np.int64]  # (n,)
Bools: TypeAlias = npt.NDArray[np.bool_]  # (n,)

TIME = "ts"
"""The field of every event that holds its time, ms."""


class Faults:
    """Why rows of a log cannot be read: of each, the first reason that was found."""

    def __init__(self, rows: int) -> None:
        self._code = np.zeros(rows, np.int16)
        self._reasons = [""]

    def mark(self, rows: Bools, reason: str) -> None:
        """Say that these rows, (n,), cannot be read."""
        new = rows & (self._code == 0)
        if new.any():
            self._code[new] = len(self._reasons)
            self._reasons.append(reason)

    @property
    def sound(self) -> Bools:
        """The rows that can be read. (n,)"""
        sound: Bools = self._code == 0
        return sound

    def each(self) -> Iterator[tuple[int, str]]:
        """Give every row that cannot be read, and why."""
        for row in np.flatnonzero(self._code).tolist():
            yield row, self._reasons[self._code[row]]


@dataclass(frozen=True, slots=True)
class Parsed:
    """What some rows of a log say: events by kind, of the rows that can be read, and what is wrong with the others."""

    events: Mapping[str, pa.Table]  # `ts` and the fields of the kind
    faults: Faults
    notes: Mapping[str, int] = field(default_factory=dict)  # what was left out, and of how many rows


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind of event that a row may hold."""

    name: str
    fields: Mapping[str, FieldType]  # beside `ts`
    required: tuple[str, ...]  # the fields that are never null
    declared: Mapping[str, Any]  # its keys in a configuration: id, after, within

    @property
    def folder(self) -> str:
        """The folder of its files."""
        return f"{self.name}s"

    @property
    def schema(self) -> dict[str, Any]:
        """The Avro schema of its records."""
        time = {"name": TIME, "type": {"type": "long", "logicalType": "timestamp-millis"}}
        others = [
            {"name": n, "type": t if n in self.required else ["null", t]} for n, t in self.fields.items()
        ]
        return {
            "type": "record",
            "name": self.name.capitalize(),
            "namespace": "stream_mtl",
            "fields": [time, *others],
        }


@dataclass(frozen=True, slots=True)
class Log:
    """A log as it is published: tab-separated text, one row for each exposure with all that became of it."""

    name: str
    title: str
    columns: tuple[str, ...]
    header: bool  # whether the first line holds the columns' names, in any order
    parse: Callable[[pa.RecordBatch, Ints], Parsed]  # texts by column, and the rows' numbers
    kinds: tuple[Kind, ...]  # the root first
    key: str
    tasks: Mapping[str, Mapping[str, Any]]
    features: Mapping[str, Mapping[str, Any]]

    def declarations(self, folder: str) -> dict[str, Any]:
        """Return the sections chain, events, tasks and features of a configuration that reads such a folder."""
        events = {
            kind.name: {
                "source": f"files:{folder}/{kind.folder}/*.avro",
                "time": TIME,
                **kind.declared,
                "fields": dict(kind.fields),
            }
            for kind in self.kinds
        }
        return {
            "chain": {"key": self.key},
            "events": events,
            "tasks": dict(self.tasks),
            "features": dict(self.features),
        }

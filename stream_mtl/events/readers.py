"""How the records of one source become columns: which decoder for which format, schema by schema."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Final, Protocol, TypeAlias

import numpy as np
import pyarrow as pa

from stream_mtl.connectors.base import Encoding, Format, Records
from stream_mtl.errors import ConfigError, SchemaError
from stream_mtl.events import avro
from stream_mtl.events.avro import Decoded
from stream_mtl.events.columns import Bytes, Numbers
from stream_mtl.events.rows import Rows, single, unpacked
from stream_mtl.events.schema import Plan, compile_plan
from stream_mtl.events.table import CsvLines
from stream_mtl.events.text import DETAIL, JsonTexts, Wanted
from stream_mtl.events.tree import Node, parse
from stream_mtl.events.types import FieldType, Limits

SchemaOf: TypeAlias = Callable[[int], str]
"""The writer schema of an id. Raises LookupError for an id that is not known, SchemaError for one that is not Avro's,
Unavailable if it cannot ask."""

_TIMES: Final[Mapping[str, FieldType]] = {
    "string": "string",
    "bytes": "string",
    "enum": "string",
    "float": "double",
    "double": "double",
}
_FRAME: Final = 5  # bytes: a zero, then the schema id, big-endian


class Reader(Protocol):
    """Decodes spans of one schema."""

    def decode(self, data: Bytes, starts: Numbers, ends: Numbers) -> Decoded:
        """Return the columns of the good spans, and what is wrong with the others."""
        ...


@dataclass(frozen=True, slots=True)
class Part:
    """Rows (k,) that were decoded by one schema, with their k rows of columns."""

    rows: Numbers
    columns: pa.RecordBatch


class Readers:
    """The decoders of one source, each made when its schema or header is first met."""

    def __init__(
        self,
        source: str,
        fields: Mapping[str, Wanted],
        limits: Limits,
        schema: str | None,
        schema_of: SchemaOf | None,
        trim: bool = False,
    ) -> None:
        self._source, self._fields, self._limits = source, dict(fields), limits
        self._schema, self._schema_of, self._trim = schema, schema_of, trim
        self._known: dict[tuple[Encoding, bytes | None], Reader] = {}
        self._ids: dict[int, Reader | tuple[str, str]] = {}

    def rows(self, records: Records) -> Rows:
        """Return records as single rows: those of container blocks are unpacked. Raises SchemaError."""
        most = self._limits.max_record_bytes
        if records.format.encoding != "avro-container":
            return single(records, most)
        reader = self._reader(records.format)
        assert isinstance(reader, AvroRows)
        return unpacked(records, reader.plan, most)

    def decode(self, rows: Rows, format: Format) -> list[Part]:
        """Decode the rows that are not bad; what is wrong with the others goes into `rows.reasons`."""
        left = np.ones(len(rows.starts), bool)
        left[list(rows.reasons)] = False
        framed = format.encoding == "confluent-avro"
        numbers = np.flatnonzero(left)
        groups = self._framed(rows, numbers) if framed else [(self._reader(format), numbers)]
        parts = []
        for reader, some in groups:
            starts, ends = (
                (rows.starts, rows.ends) if len(some) == len(left) else (rows.starts[some], rows.ends[some])
            )
            decoded = reader.decode(rows.data, starts + _FRAME if framed else starts, ends)
            rows.reasons.update({int(some[row]): why for row, why in decoded.reasons.items()})
            parts.append(Part(some if decoded.good.all() else some[decoded.good], decoded.columns))
        return parts

    def _reader(self, format: Format) -> Reader:
        """Return the decoder of a format that brings its schema, or needs none. Raises SchemaError."""
        schema = format.schema or (self._schema.encode() if self._schema is not None else None)
        key = (format.encoding, None if format.encoding == "json" else schema)
        if key not in self._known:
            self._known[key] = self._made(format.encoding, schema)
        return self._known[key]

    def _made(self, encoding: Encoding, schema: bytes | None) -> Reader:
        if encoding == "json":
            return JsonTexts(self._fields)
        if schema is None:
            raise ConfigError(f"{self._source}: records are {encoding} and bring no schema; configure one")
        if encoding == "csv":
            return CsvLines(self._fields, schema, self._trim)
        return AvroRows(schema, self._fields, self._limits)

    def _framed(self, rows: Rows, numbers: Numbers) -> Iterator[tuple[Reader, Numbers]]:
        """Yield the rows of each schema id; a row without frame, or of an id that is not known, is bad."""
        starts, ends = rows.starts, rows.ends
        if len(numbers) < len(starts):
            starts, ends = starts[numbers], ends[numbers]
        framed = ends - starts >= _FRAME
        framed[framed] = rows.data[starts[framed]] == 0
        if not framed.all():
            for row in numbers[~framed].tolist():
                rows.reasons[row] = (
                    "not_framed",
                    f"begins with {rows.value(row)[:_FRAME].hex()}, not with 00 and a schema id",
                )
            numbers, starts = numbers[framed], starts[framed]
        if len(numbers):
            yield from self._of_each_id(rows, numbers, _numbers_at(rows.data, starts + 1))

    def _of_each_id(self, rows: Rows, numbers: Numbers, ids: Numbers) -> Iterator[tuple[Reader, Numbers]]:
        one = int(ids[0]) if ids.min() == ids.max() else None
        for number in np.unique(ids).tolist() if one is None else [one]:
            some = numbers[ids == number] if one is None else numbers
            found = self._by_id(number)
            if isinstance(found, tuple):
                rows.reasons.update(dict.fromkeys(some.tolist(), found))
            else:
                yield found, some

    def _by_id(self, number: int) -> Reader | tuple[str, str]:
        known = self._ids.get(number)
        if known is not None:
            return known
        if self._schema_of is None:
            raise ConfigError(
                f"{self._source}: records name schemas by id, and no schema registry is configured"
            )
        try:
            schema = self._schema_of(number)
        except LookupError as error:  # not kept: the registry may come to know it
            return "schema_unknown", f"schema {number}: {error}"[:DETAIL]
        except SchemaError as error:
            return self._ids.setdefault(number, _incompatible(number, error))
        try:
            self._ids[number] = AvroRows(schema.encode(), self._fields, self._limits)
        except SchemaError as error:
            self._ids[number] = _incompatible(number, error)
        return self._ids[number]


def _incompatible(number: int, error: SchemaError) -> tuple[str, str]:
    return "schema_incompatible", f"schema {number}: {error}"[:DETAIL]


def _numbers_at(data: Bytes, places: Numbers) -> Numbers:
    """Return the 32-bit numbers, high byte first, that begin at these places."""
    raw = np.ascontiguousarray(data)
    numbers: Numbers = np.ndarray((len(raw) - 3,), ">u4", raw.data, strides=(1,))[places]
    return numbers


class AvroRows:
    """Rows of one writer schema. Raises SchemaError for one that cannot be used."""

    def __init__(self, schema: bytes, fields: Mapping[str, Wanted], limits: Limits) -> None:
        self.plan: Plan = compile_plan(schema, _typed(schema, fields), limits)

    def decode(self, data: Bytes, starts: Numbers, ends: Numbers) -> Decoded:
        """Return the columns of the good rows, and what is wrong with the others."""
        return avro.decode(self.plan, data, starts, ends)


def _typed(schema: bytes, fields: Mapping[str, Wanted]) -> dict[str, FieldType]:
    """Return the fields with their types; a time is what its writer makes it, a number or a text."""
    root = parse(schema)
    return {name: _time_type(root, name) if kind == "time" else kind for name, kind in fields.items()}


def _time_type(root: Node, name: str) -> FieldType:
    node: Node | None = root
    for part in (name,) if name in dict(root.fields) else name.split("."):
        node = dict(_some(node).fields).get(part) if node is not None else None
    return _TIMES.get(_some(node).kind, "long") if node is not None else "long"


def _some(node: Node) -> Node:
    """Return what a node is unless it is null."""
    return next((branch for branch in node.branches if branch.kind != "null"), node)

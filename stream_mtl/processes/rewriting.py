"""Rows of event files, written as the records of a topic: as JSON, or as Avro with a schema.

A row that cannot be rewritten goes as it is: what is broken in the files is broken on the bus too.
"""

import csv
import io
import json
from collections.abc import Callable, Mapping
from typing import Any, Final, TypeAlias

import fastavro

from stream_mtl.connectors.base import Encoding, Format
from stream_mtl.errors import ConfigError
from stream_mtl.events.types import FieldType

Rewrite: TypeAlias = Callable[[bytes], bytes]
Fields: TypeAlias = Mapping[str, Any]

_FRAME: Final = b"\0"
_LISTS: Final = "|"  # between the items of an array in CSV
_BROKEN: Final = (
    ValueError,
    TypeError,
    KeyError,
    IndexError,
    EOFError,
    OverflowError,
    AttributeError,
    csv.Error,
)
"""What comes of bytes that are not what they should be."""


def rewriting(rows: Format, types: Mapping[str, FieldType], target: Encoding, schema: str | None) -> Rewrite:
    """Return how a row of files becomes a record's value, without its frame. Raises ConfigError.

    `types` are those of CSV values; others stay texts. `schema` is what Avro records of the topic are written by.
    """
    if target == "json":
        return _to_json(rows, types)
    if schema is None:
        raise ConfigError('Avro records need a schema; give the kind one: schema = "NAME.avsc"')
    if rows.encoding == "avro-container":
        return _same(rows, schema)
    return _to_avro(_reader(rows, types), json.loads(schema))


def framed(rewrite: Rewrite, schema_id: int) -> Rewrite:
    """Return the same with a registry's frame in front."""
    head = _FRAME + schema_id.to_bytes(4, "big")
    return lambda row: head + rewrite(row)


def _same(rows: Format, schema: str) -> Rewrite:
    if rows.schema is None or json.loads(rows.schema) != json.loads(schema):
        raise ConfigError(
            "the files are written by another Avro schema than the topic's; use theirs for the topic"
        )
    return lambda row: row


def _to_json(rows: Format, types: Mapping[str, FieldType]) -> Rewrite:
    if rows.encoding == "json":
        return lambda row: row
    read = _reader(rows, types)
    # A text of bytes that are no UTF-8 was read with stand-ins for them, which become these bytes again.
    return _unless_broken(
        lambda row: json.dumps(read(row), ensure_ascii=False, separators=(",", ":"), default=str).encode(
            "utf-8", "surrogateescape"
        )
    )


def _to_avro(read: Callable[[bytes], Fields], schema: Any) -> Rewrite:
    parsed = fastavro.parse_schema(_bare(schema))

    def write(row: bytes) -> bytes:
        out = io.BytesIO()
        fastavro.schemaless_writer(out, parsed, read(row))
        return out.getvalue()

    return _unless_broken(write)


def _unless_broken(rewrite: Rewrite) -> Rewrite:
    def attempt(row: bytes) -> bytes:
        try:
            return rewrite(row)
        except _BROKEN:
            return row

    return attempt


def _reader(rows: Format, types: Mapping[str, FieldType]) -> Callable[[bytes], Fields]:
    if rows.encoding == "json":
        return json.loads
    if rows.schema is None:
        raise ConfigError(
            f"files of {rows.encoding} that bring neither a schema nor a header cannot be rewritten"
        )
    if rows.encoding == "csv":
        return _csv(rows.schema.decode(), types)
    return _avro(json.loads(rows.schema))


def _avro(schema: Any) -> Callable[[bytes], Fields]:
    parsed = fastavro.parse_schema(_bare(schema))

    def read(row: bytes) -> Fields:
        data = io.BytesIO(row)
        found: Any = fastavro.schemaless_reader(data, parsed, None, handle_unicode_errors="surrogateescape")
        if data.tell() < len(row):
            raise ValueError("bytes behind the row")
        return _plain(found)  # type: ignore[no-any-return]

    return read


def _bare(schema: Any) -> Any:
    """Return a schema without logical types: numbers stay numbers."""
    if isinstance(schema, dict):
        return {key: _bare(value) for key, value in schema.items() if key != "logicalType"}
    return [_bare(one) for one in schema] if isinstance(schema, list) else schema


def _plain(value: Any) -> Any:
    """Return a value without bytes, which JSON has not."""
    if isinstance(value, bytes):
        return value.decode("utf-8", "surrogateescape")
    if isinstance(value, dict):
        return {key: _plain(inner) for key, inner in value.items()}
    return [_plain(inner) for inner in value] if isinstance(value, list) else value


def _csv(header: str, types: Mapping[str, FieldType]) -> Callable[[bytes], Fields]:
    names = next(csv.reader([header]))

    def read(row: bytes) -> Fields:
        values = next(csv.reader([row.decode()]))
        if len(values) != len(names):
            raise ValueError("another number of values than the header has")
        return {name: _typed(value, types.get(name)) for name, value in zip(names, values, strict=True)}

    return read


def _typed(text: str, kind: FieldType | None) -> Any:
    if kind is None or kind == "string":
        return text
    if not text:
        return None
    if kind.startswith("array<"):
        items: FieldType = kind[len("array<") : -1]  # type: ignore[assignment]
        return [_typed(item, items) for item in text.split(_LISTS)]
    return _PLAIN[kind](text)


_PLAIN: Final[Mapping[str, Callable[[str], Any]]] = {
    "long": int,
    "double": float,
    "boolean": lambda text: {"true": True, "false": False}[text.lower()],
}

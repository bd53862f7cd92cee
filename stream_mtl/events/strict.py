"""What a valid Avro record is, one record at a time and to the letter; and the reader for odd schemas."""

import struct
from collections.abc import Callable, Mapping, Sequence
from math import isfinite
from typing import Any, Final, TypeAlias

from stream_mtl.errors import SchemaError
from stream_mtl.events.tree import Node
from stream_mtl.events.types import FieldType

REASONS: Final[Mapping[str, str]] = {
    "empty": "there are no bytes",
    "too_large": "the record is larger than the limit",
    "truncated": "the bytes end before the record does",
    "trailing_bytes": "the record ends before its bytes do",
    "bad_varint": "a number has too many bytes or bits for its type",
    "bad_boolean": "a boolean is neither 0 nor 1",
    "bad_enum": "an enum has no symbol of that number",
    "bad_union": "a union has no branch of that number",
    "bad_length": "a length is below zero",
    "bad_block": "a block of items is not as long as it says",
    "bad_codec": "a block of rows cannot be unpacked",
    "too_many_items": "there are more items than the limit",
    "not_utf8": "the text is not valid UTF-8",
    "not_finite": "the number is infinite or none",
}
"""Why a record is bad: a closed set, fit for a metric's label, with what it means."""

Raw: TypeAlias = bytes | memoryview
Read: TypeAlias = Callable[[Raw, int, int], tuple[Any, int]]
"""(bytes, at, end) -> (value, where it ends). Raises BadError."""
Walk: TypeAlias = Callable[[Raw, int, int, list[Any]], int]
"""(bytes, at, end, cells of the row) -> where it ends. Raises BadError."""
Cells: TypeAlias = Mapping[tuple[str, ...], tuple[int, FieldType]]
"""The path of a wanted field -> its cell in the row, and the type it is wanted as."""


class BadError(Exception):
    """These bytes are no record; the first argument is the reason, one of REASONS."""

    @property
    def reason(self) -> str:
        """One of REASONS."""
        return str(self.args[0])


class Unfit:
    """Stands for a value that was read in full but may not be: a text that is no UTF-8, a number not finite."""

    def __init__(self, reason: str) -> None:
        self.reason = reason


def walker(record: Node, most: int, cells: Cells, path: tuple[str, ...] = ()) -> Walk:
    """Return what walks over a record and puts the wanted values into their cells, or Unfit.

    Raises SchemaError for a field that cannot become what it is wanted as.
    """
    steps = [_step(node, most, cells, (*path, name)) for name, node in record.fields]

    def walk(raw: Raw, at: int, end: int, row: list[Any]) -> int:
        for step in steps:
            at = step(raw, at, end, row)
        return at

    return walk


def _step(node: Node, most: int, cells: Cells, path: tuple[str, ...]) -> Walk:
    if path in cells:
        cell, kind = cells[path]
        take = taker(node, kind, most, ".".join(path))

        def step(raw: Raw, at: int, end: int, row: list[Any]) -> int:
            row[cell], at = take(raw, at, end)
            return at

        return step
    if any(wanted[: len(path)] == path for wanted in cells):
        return _nested(node, most, cells, path)
    skip = reader(node, most)
    return lambda raw, at, end, row: skip(raw, at, end)[1]


def _nested(node: Node, most: int, cells: Cells, path: tuple[str, ...]) -> Walk:
    """Return what walks over a record, or over a union of null and one, of which a field is wanted."""
    if node.kind == "record":
        return walker(node, most, cells, path)
    steps: list[Walk] = [
        walker(branch, most, cells, path) if branch.kind == "record" else lambda raw, at, end, row: at
        for branch in node.branches
    ]

    def step(raw: Raw, at: int, end: int, row: list[Any]) -> int:
        number, at = varint(raw, at, end, 5)
        if not 0 <= number < len(steps):
            raise BadError("bad_union")
        return steps[number](raw, at, end, row)

    return step


def varint(raw: Raw, at: int, end: int, longest: int) -> tuple[int, int]:
    """Return an Avro int (longest 5) or long (longest 10) and where it ends. Raises BadError."""
    value = shift = 0
    for begin in range(at, at + longest):
        if begin >= end:
            raise BadError("truncated")
        byte = raw[begin]
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            if value >> _BITS[longest]:
                break
            return (value >> 1) ^ -(value & 1), begin + 1
        shift += 7
    raise BadError("bad_varint")


_BITS: Final = {5: 32, 10: 64}


def taker(node: Node, kind: FieldType, most: int, name: str) -> Read:
    """Return what reads a value as a wanted type; it may give Unfit. Raises SchemaError where it never can."""
    if node.kind == "null":
        return reader(node, most)
    if node.kind == "union":
        return _union_of([taker(branch, kind, most, name) for branch in node.branches])
    if kind in ITEMS and node.kind == "array" and node.items is not None:
        return _fit_items(repeated(taker(node.items, ITEMS[kind], most, name), node.items.least, most))
    convert = PROMOTIONS.get(kind, {}).get(node.kind)
    if convert is None or (node.kind != "string" and convert is _text_of and node.logical in _NO_TEXT):
        known = f" ({node.logical})" if node.logical else ""
        raise SchemaError(f"field {name!r} is {node.kind}{known} to its writer, which cannot become {kind}")
    read = reader(node, most)

    def take(raw: Raw, at: int, end: int) -> tuple[Any, int]:
        value, at = read(raw, at, end)
        return convert(value), at

    return take


def _fit_items(read: Read) -> Read:
    def take(raw: Raw, at: int, end: int) -> tuple[Any, int]:
        items, at = read(raw, at, end)
        return next((item for item in items if type(item) is Unfit), items), at

    return take


def _text_of(value: Raw) -> str | Unfit:
    try:
        return str(value, "utf-8")
    except UnicodeDecodeError:
        return Unfit("not_utf8")


def _finite(value: float) -> float | Unfit:
    return value if isfinite(value) else Unfit("not_finite")


def _same(value: Any) -> Any:
    return value


ITEMS: Final[Mapping[FieldType, FieldType]] = {
    "array<long>": "long",
    "array<double>": "double",
    "array<string>": "string",
}
PROMOTIONS: Final[Mapping[FieldType, Mapping[str, Callable[[Any], Any]]]] = {
    "long": {"int": _same, "long": _same},
    "double": {"int": float, "long": float, "float": _finite, "double": _finite},
    "boolean": {"boolean": _same},
    "string": {
        "string": _text_of,
        "bytes": _text_of,
        "fixed": _text_of,
        "enum": _same,
        "int": str,
        "long": str,
    },
}
"""Wanted type -> writer's type -> how a value of that becomes one of this."""


def reader(node: Node, most: int) -> Read:
    """Return what reads a value: numbers, bytes for texts, an enum's symbol, lists; None for a map or a record."""
    return _READERS[node.kind](node, most)


def _null(node: Node, most: int) -> Read:
    return lambda raw, at, end: (None, at)


def _boolean(node: Node, most: int) -> Read:
    def read(raw: Raw, at: int, end: int) -> tuple[bool, int]:
        if at >= end:
            raise BadError("truncated")
        if raw[at] > 1:
            raise BadError("bad_boolean")
        return raw[at] == 1, at + 1

    return read


def _int(node: Node, most: int) -> Read:
    return lambda raw, at, end: varint(raw, at, end, 5)


def _long(node: Node, most: int) -> Read:
    return lambda raw, at, end: varint(raw, at, end, 10)


def _floating(letter: str) -> Callable[[Node, int], Read]:
    unpack, size = struct.Struct(f"<{letter}").unpack_from, struct.calcsize(f"<{letter}")

    def read(raw: Raw, at: int, end: int) -> tuple[float, int]:
        if end - at < size:
            raise BadError("truncated")
        return unpack(raw, at)[0], at + size

    return lambda node, most: read


def _text(node: Node, most: int) -> Read:
    def read(raw: Raw, at: int, end: int) -> tuple[Raw, int]:
        size, at = varint(raw, at, end, 10)
        if size < 0:
            raise BadError("bad_length")
        if size > end - at:
            raise BadError("truncated")
        return raw[at : at + size], at + size

    return read


def _fixed(node: Node, most: int) -> Read:
    def read(raw: Raw, at: int, end: int) -> tuple[Raw, int]:
        if node.size > end - at:
            raise BadError("truncated")
        return raw[at : at + node.size], at + node.size

    return read


def _enum(node: Node, most: int) -> Read:
    def read(raw: Raw, at: int, end: int) -> tuple[str, int]:
        number, at = varint(raw, at, end, 5)
        if not 0 <= number < len(node.symbols):
            raise BadError("bad_enum")
        return node.symbols[number], at

    return read


def _union(node: Node, most: int) -> Read:
    return _union_of([reader(branch, most) for branch in node.branches])


def _union_of(branches: Sequence[Read]) -> Read:
    def read(raw: Raw, at: int, end: int) -> tuple[Any, int]:
        number, at = varint(raw, at, end, 5)
        if not 0 <= number < len(branches):
            raise BadError("bad_union")
        return branches[number](raw, at, end)

    return read


def _array(node: Node, most: int) -> Read:
    assert node.items is not None
    return repeated(reader(node.items, most), node.items.least, most)


def repeated(item: Read, least: int, most: int, seen: int = 0) -> Read:
    """Return what reads an array after `seen` items, block by block; an item takes `least` bytes or more."""

    def read(raw: Raw, at: int, end: int) -> tuple[list[Any], int]:
        items: list[Any] = []
        while True:
            count, until, at = block(raw, at, end, seen + len(items), least, most)
            if count == 0:
                return items, at
            for _ in range(count):
                value, at = item(raw, at, end)
                items.append(value)
            if until is not None and at != until:
                raise BadError("bad_block")

    return read


def block(
    raw: Raw, at: int, end: int, seen: int, least: int, most: int | None
) -> tuple[int, int | None, int]:
    """Read the head of a block of items: (their number, where it says that it ends, where the first item begins).

    A negative count is followed by the size of the block in bytes. `most` limits the items, those seen before
    among them. Raises BadError.
    """
    count, at = varint(raw, at, end, 10)
    until = None
    if count < 0:
        size, at = varint(raw, at, end, 10)
        if not 0 <= size <= end - at:
            raise BadError("bad_block")
        count, until = -count, at + size
    if most is not None and count > most - seen:
        raise BadError("too_many_items")
    if count > (end - at) // least:
        raise BadError("truncated")
    return count, until, at


def _map(node: Node, most: int) -> Read:
    assert node.items is not None
    key, value = _text(node, most), reader(node.items, most)

    def entry(raw: Raw, at: int, end: int) -> tuple[None, int]:
        return None, value(raw, key(raw, at, end)[1], end)[1]

    read = repeated(entry, 1 + node.items.least, most)
    return lambda raw, at, end: (None, read(raw, at, end)[1])


def _record(node: Node, most: int) -> Read:
    fields = [reader(inner, most) for _, inner in node.fields]

    def read(raw: Raw, at: int, end: int) -> tuple[None, int]:
        for field in fields:
            at = field(raw, at, end)[1]
        return None, at

    return read


_NO_TEXT: Final = ("decimal", "big-decimal", "duration", "uuid")

_READERS: Final[Mapping[str, Callable[[Node, int], Read]]] = {
    "null": _null,
    "boolean": _boolean,
    "int": _int,
    "long": _long,
    "float": _floating("f"),
    "double": _floating("d"),
    "bytes": _text,
    "string": _text,
    "fixed": _fixed,
    "enum": _enum,
    "union": _union,
    "array": _array,
    "map": _map,
    "record": _record,
}

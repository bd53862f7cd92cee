"""Records that hurt: every kind of bad record that we know, framed as Confluent does, and what becomes of each.

A bad record is malformed for one reason, or legal: then the reason is None and `why` says by which rule. Two writers
say the same things: one schema is read by columns, the other (it ends in a map) record by record.
"""

import gzip
import json
import math
import struct
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from stream_mtl.events.types import EventSpec

NOW: Final = 1_700_000_000_000
HOUR: Final = 3_600_000

SPEC: Final = EventSpec(
    "view",
    "s",
    "ts",
    {
        "id": "string",
        "price": "double",
        "recent": "array<long>",
        "weights": "array<double>",
        "flag": "boolean",
        "count": "long",
        "color": "string",
        "maybe": "double",
    },
    required=("id",),
)

_COLOR = {"type": "enum", "name": "Color", "symbols": ["red", "green", "blue"]}
_FIELDS: Final = (
    ("ts", "long"),
    ("id", "string"),
    ("price", "double"),
    ("recent", {"type": "array", "items": "long"}),
    ("weights", {"type": "array", "items": "double"}),
    ("flag", "boolean"),
    ("count", "int"),
    ("color", _COLOR),
    ("maybe", ["null", "double"]),
)


@dataclass(frozen=True, slots=True)
class Writer:
    """A schema that good records are written by, and the bytes that end each of them."""

    name: str
    id: int
    rest: Sequence[tuple[str, Any]]
    tail: bytes


WRITERS: Final = (
    Writer("columns", 1, (), b""),
    Writer("one by one", 2, (("extra", {"type": "map", "values": "string"}),), b"\0"),
)
SWAPPED, RENAMED, RECURSIVE, BOMB, NO_RECORD, OTHER_TYPES, NO_TIME, PROTOBUF = range(11, 19)
UNKNOWN: Final = 2**31 - 1


def schema(*fields: tuple[str, Any]) -> dict[str, Any]:
    return {"type": "record", "name": "View", "fields": [{"name": n, "type": t} for n, t in fields]}


SCHEMAS: Final[Mapping[int, dict[str, Any]]] = {
    **{writer.id: schema(*_FIELDS, *writer.rest) for writer in WRITERS},
    SWAPPED: schema(_FIELDS[1], _FIELDS[0], *_FIELDS[2:]),
    RENAMED: schema(*_FIELDS[:2], ("cost", "double"), *_FIELDS[3:]),
    RECURSIVE: schema(*_FIELDS, ("next", ["null", "View"])),
    BOMB: schema(*_FIELDS, ("nothing", {"type": "array", "items": "null"})),
    NO_RECORD: {"type": "array", "items": "long"},
    OTHER_TYPES: schema(("ts", "long"), ("id", {"type": "array", "items": "string"})),
    NO_TIME: schema(("id", "string"), ("price", "double")),
}
"""What the registry knows, beside `PROTOBUF`, which is not Avro."""


def varint(number: int) -> bytes:
    """Return a number as Avro writes it."""
    left, out = (number << 1) ^ (number >> 63), bytearray()
    while left > 0x7F:
        out.append(left & 0x7F | 0x80)
        left >>= 7
    return bytes([*out, left])


def text(value: bytes | str) -> bytes:
    data = value.encode() if isinstance(value, str) else value
    return varint(len(data)) + data


def items(*written: bytes) -> bytes:
    """Return an array of items that are written already."""
    return (varint(len(written)) + b"".join(written) if written else b"") + b"\0"


GOOD: Final[Mapping[str, bytes]] = {
    "ts": varint(NOW),
    "id": text("a"),
    "price": struct.pack("<d", 2.5),
    "recent": items(varint(1), varint(-2)),
    "weights": items(struct.pack("<d", 0.5)),
    "flag": b"\1",
    "count": varint(7),
    "color": varint(2),
    "maybe": b"\0",
}
"""The bytes of each field of a good record."""


def body(**changed: bytes) -> bytes:
    """Return a record, some of whose fields are written differently."""
    return b"".join({**GOOD, **changed}.values())


def frame(number: int, data: bytes) -> bytes:
    return struct.pack(">bI", 0, number) + data


def good(writer: Writer, name: str) -> bytes:
    """Return a good record with this id."""
    return frame(writer.id, body(id=text(name)) + writer.tail)


@dataclass(frozen=True, slots=True)
class Poison:
    """One bad record, and the reason that it must be given; None: it is legal, and `why` says so."""

    name: str
    value: bytes
    reason: str | None
    why: str = ""


def poisons(writer: Writer) -> Iterator[Poison]:
    """Yield all of them, as this writer frames them."""
    whole = good(writer, "a")
    yield from _frames(whole)
    yield from _schemas(whole)
    for name, reason, changed in _FAULTS:
        yield Poison(name, frame(writer.id, body(**changed) + writer.tail), reason)
    for name, why, changed in _LEGAL:
        yield Poison(name, frame(writer.id, body(**changed) + writer.tail), None, why)


def _frames(whole: bytes) -> Iterator[Poison]:
    """What is wrong before a field is read, or after the last."""
    yield Poison("no bytes", b"", "empty")
    yield Poison("null value", b"", "empty", "a tombstone comes as a span without bytes")
    yield Poison("random bytes", bytes(range(255, 155, -1)), "not_framed")
    yield Poison("another magic byte", b"\1" + whole[1:], "not_framed")
    yield Poison("half a header", whole[:3], "not_framed")
    yield Poison("text", json.dumps({"ts": NOW, "id": "a"}).encode(), "not_framed")
    yield Poison("gzip", gzip.compress(bytes(10_000_000)), "not_framed", "what is not framed is not unpacked")
    yield Poison("header only", whole[:5], "empty")
    yield Poison("cut in a field", whole[:-12], "truncated")
    yield Poison("cut before the last byte", whole[:-1], "truncated")
    yield Poison("bytes behind it", whole + b"\0", "trailing_bytes")
    yield Poison("two records in one", whole + whole[5:], "trailing_bytes")
    yield Poison("larger than a record may be", whole + bytes(1 << 20), "too_large")


def _schemas(whole: bytes) -> Iterator[Poison]:
    """Good bytes by the wrong schema."""
    for name, number, reason in (
        ("unknown id", UNKNOWN, "schema_unknown"),
        ("id beyond all", 2**32 - 1, "schema_unknown"),
        ("two fields swapped", SWAPPED, "truncated"),
        ("recursive schema", RECURSIVE, "schema_incompatible"),
        ("array of null", BOMB, "schema_incompatible"),
        ("no record", NO_RECORD, "schema_incompatible"),
        ("field of another type", OTHER_TYPES, "schema_incompatible"),
        ("not Avro", PROTOBUF, "schema_incompatible"),
    ):
        yield Poison(name, frame(number, whole[5:]), reason)
    yield Poison("array of null, full", frame(BOMB, body() + varint(2**31) + b"\0"), "schema_incompatible")
    yield Poison("recursion, deep", frame(RECURSIVE, (body() + b"\2") * 5_000), "schema_incompatible")
    row = text("a") + struct.pack("<d", 1.0)
    why = "bytes do not say by which schema they were written; a field that its writer lacks is null"
    yield Poison("id of a schema of the same types", frame(RENAMED, body()), None, why)
    yield Poison("no time", frame(NO_TIME, row), "time_missing")


def _double(value: float) -> bytes:
    return struct.pack("<d", value)


def _long_list(number: int) -> bytes:
    return items(*[varint(1)] * number)


_FAULTS: Final[Sequence[tuple[str, str, Mapping[str, bytes]]]] = (
    ("NaN", "not_finite", {"price": _double(math.nan)}),
    ("inf", "not_finite", {"price": _double(math.inf)}),
    ("-inf", "not_finite", {"maybe": b"\2" + _double(-math.inf)}),
    ("NaN in a list", "not_finite", {"weights": items(_double(1.0), _double(math.nan))}),
    ("10,001 items", "too_many_items", {"recent": _long_list(10_001)}),
    ("not UTF-8", "not_utf8", {"id": text(b"a\xff")}),
    ("half a letter", "not_utf8", {"id": text(b"\xed\xa0\x80")}),
    ("text of 1 MB", "key_too_large", {"id": text("x" * 1_000_000)}),
    ("key of 1,025 bytes", "key_too_large", {"id": text("k" * 1_025)}),
    ("length below zero", "bad_length", {"id": varint(-1)}),
    ("length beyond all", "truncated", {"id": varint(2**62)}),
    ("number of 11 bytes", "bad_varint", {"ts": b"\x80" * 10 + b"\0"}),
    ("number of 40 bytes", "bad_varint", {"ts": b"\xff" * 39 + b"\0"}),
    ("number beyond 64 bits", "bad_varint", {"ts": b"\xff" * 9 + b"\x02"}),
    ("int beyond 2**31", "bad_varint", {"count": varint(2**31)}),
    ("int below -2**31", "bad_varint", {"count": varint(-(2**31) - 1)}),
    ("boolean 2", "bad_boolean", {"flag": b"\2"}),
    ("union branch -1", "bad_union", {"maybe": varint(-1)}),
    ("union branch 9", "bad_union", {"maybe": varint(9)}),
    ("enum -1", "bad_enum", {"color": varint(-1)}),
    ("enum 9", "bad_enum", {"color": varint(9)}),
    ("items beyond all", "too_many_items", {"recent": varint(2**40)}),
    (
        "block of another size",
        "bad_block",
        {"recent": varint(-2) + varint(9) + varint(1) + varint(2) + b"\0"},
    ),
    ("time -1", "time_out_of_range", {"ts": varint(-1)}),
    ("time 2**62", "time_out_of_range", {"ts": varint(2**62)}),
    ("time -2**63", "time_out_of_range", {"ts": varint(-(2**63))}),
    ("time in microseconds", "time_out_of_range", {"ts": varint(NOW * 1_000)}),
    ("time beyond the skew", "time_in_future", {"ts": varint(NOW + HOUR + 1)}),
)

_LEGAL: Final[Sequence[tuple[str, str, Mapping[str, bytes]]]] = (
    ("1e308", "a finite number; features decide what is too large", {"price": _double(1e308)}),
    ("-0.0", "equal to 0.0", {"price": _double(-0.0)}),
    ("smallest number", "finite", {"price": _double(5e-324)}),
    ("empty list", "a list without items is a list", {"recent": items()}),
    ("10,000 items", "at the limit", {"recent": _long_list(10_000)}),
    ("key of 1,024 bytes", "at the limit", {"id": text("k" * 1_024)}),
    ("empty key", "present, if short", {"id": text("")}),
    ("letter 0", "Unicode has it", {"id": text("a\0b")}),
    ("number longer than needed", "Avro does not ask for the shortest", {"count": b"\x8e\x80\x00"}),
    ("time 0", "the first that is accepted; the joiner finds it late", {"ts": varint(0)}),
    ("time at the skew", "at the limit", {"ts": varint(NOW + HOUR)}),
)


def schema_of(
    unknown: Callable[[int], Exception], not_avro: Callable[[int], Exception]
) -> Callable[[int], str]:
    """Return what a codec asks; exceptions are what a registry's client would raise."""

    def ask(number: int) -> str:
        if number == PROTOBUF:
            raise not_avro(number)
        if number not in SCHEMAS:
            raise unknown(number)
        return json.dumps(SCHEMAS[number])

    return ask

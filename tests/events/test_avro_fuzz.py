"""A hundred thousand mutated records: no good one is lost, no bad one accepted, and nothing raises or hangs."""

import io
import math
import struct
from dataclasses import replace

import fastavro
import numpy as np
import pytest

from stream_mtl.events.avro import decode
from stream_mtl.events.schema import compile_plan
from stream_mtl.events.strict import REASONS
from stream_mtl.events.types import Limits

LIMITS = Limits(max_record_bytes=600, max_items=40)
BATCH = 500

# --- the oracle: one record at a time, straight from the Avro specification and the rules of the house


class BadError(Exception):
    pass


def number(raw, at, bits):
    value = 0
    for place in range(5 if bits == 32 else 10):
        byte = raw[at + place] if at + place < len(raw) else None
        if byte is None:
            raise BadError("ends inside a number")
        value |= (byte & 0x7F) << 7 * place
        if byte < 0x80:
            if value >= 2**bits:
                raise BadError("too large")
            return value // 2 if value % 2 == 0 else -(value + 1) // 2, at + place + 1
    raise BadError("too long")


def take(raw, at, size):
    if size < 0 or at + size > len(raw):
        raise BadError("length")
    return raw[at : at + size], at + size


def read(schema, raw, at):
    """Return the value at `at`, texts as bytes, and where it ends."""
    if isinstance(schema, list):
        index, at = number(raw, at, 32)
        if not 0 <= index < len(schema):
            raise BadError("union")
        return read(schema[index], raw, at)
    kind = schema["type"] if isinstance(schema, dict) else schema
    if isinstance(kind, (dict, list)):
        return read(kind, raw, at)
    if kind == "null":
        return None, at
    if kind == "boolean":
        byte, at = take(raw, at, 1)
        if byte not in (b"\0", b"\1"):
            raise BadError("boolean")
        return byte == b"\1", at
    if kind in ("int", "long"):
        return number(raw, at, 32 if kind == "int" else 64)
    if kind in ("float", "double"):
        letter, size = ("<f", 4) if kind == "float" else ("<d", 8)
        packed, at = take(raw, at, size)
        return struct.unpack(letter, packed)[0], at
    if kind in ("bytes", "string"):
        size, at = number(raw, at, 64)
        return take(raw, at, size)
    if kind == "fixed":
        return take(raw, at, schema["size"])
    if kind == "enum":
        index, at = number(raw, at, 32)
        if not 0 <= index < len(schema["symbols"]):
            raise BadError("enum")
        return schema["symbols"][index].encode(), at
    if kind == "record":
        row = {}
        for field in schema["fields"]:
            row[field["name"]], at = read(field["type"], raw, at)
        return row, at
    assert kind in ("array", "map")
    items = []
    while True:
        count, at = number(raw, at, 64)
        if count == 0:
            return items if kind == "array" else {}, at
        size = None
        if count < 0:
            count, (size, at) = -count, number(raw, at, 64)
            begin = at
        if count + len(items) > LIMITS.max_items:
            raise BadError("items")
        for _ in range(count):
            if kind == "map":
                _, at = read("string", raw, at)
            item, at = read(schema["items" if kind == "array" else "values"], raw, at)
            items.append(item)
        if size is not None and at - begin != size:
            raise BadError("block")


def become(value, kind):
    if value is None:
        return None
    if kind.startswith("array"):
        return [become(item, kind[6:-1]) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        raise BadError("not finite")
    if kind == "double":
        return float(value)
    if kind == "string":
        try:
            return value.decode() if isinstance(value, bytes) else str(value)
        except UnicodeDecodeError:
            raise BadError("utf-8") from None
    return value


def oracle(schema, fields, raw):
    """Return the wanted values of a record, None if it is bad."""
    try:
        if not raw or len(raw) > LIMITS.max_record_bytes:
            raise BadError("size")
        row, at = read(schema, raw, 0)
        if at != len(raw):
            raise BadError("trailing")
        wanted = {}
        for name, kind in fields.items():
            value = row
            for part in name.split("."):
                value = None if value is None else value.get(part)
            wanted[name] = become(value, kind)
        return wanted
    except BadError:
        return None


# --- schemas, records, mutations


def record(name, **fields):
    return {"type": "record", "name": name, "fields": [{"name": k, "type": v} for k, v in fields.items()]}


def array(items):
    return {"type": "array", "items": items}


COLOUR = {"type": "enum", "name": "Colour", "symbols": ["red", "green", "blue"]}
SHORT = {"type": "fixed", "name": "Short", "size": 3}
LONG = {"type": "fixed", "name": "Long", "size": 70}
PLAIN = record(
    "Plain",
    id="string",
    ts="long",
    a="long",
    b="int",
    n="null",
    c="long",
    x="double",
    y="float",
    ok="boolean",
)
NULLABLE = record(
    "Nullable",
    key=["null", "string"],
    n=["long", "null"],
    i=["null", "int"],
    x=["null", "double"],
    y=["float", "null"],
    ok=["null", "boolean"],
    colour=["null", COLOUR],
    raw=["null", "bytes"],
    short=["null", SHORT],
    last="string",
)
MIXED = record(
    "Mixed",
    head="bytes",
    colour=COLOUR,
    short=SHORT,
    long=LONG,
    inner=record("Inner", a="long", text="string", deep=record("Deep", ok="boolean", x="double")),
    maybe=["null", record("Maybe", n="int", t=["null", "string"])],
    skipped=array("string"),
    tail="string",
)
ARRAYS = record(
    "Arrays",
    id="string",
    longs=array("long"),
    ints=array("int"),
    doubles=array("double"),
    floats=array("float"),
    texts=array("string"),
    flags=array("boolean"),
    colours=array(COLOUR),
    shorts=array(SHORT),
    maybe=["null", array("long")],
    words=["null", array("bytes")],
)
ODD = record(
    "Odd",
    id="string",
    tags={"type": "map", "values": "long"},
    either=["null", "long", "string"],
    rows=array(record("Row", n="int", t=["null", "string"])),
    holes=array(["null", "double"]),
    x="double",
)
WANTED = {
    "plain": (
        PLAIN,
        {
            "id": "string",
            "ts": "long",
            "a": "double",
            "b": "string",
            "x": "double",
            "y": "double",
            "ok": "boolean",
            "n": "long",
        },
    ),
    "two of many": (PLAIN, {"c": "long", "missing": "string"}),
    "nullable": (
        NULLABLE,
        {
            "key": "string",
            "n": "long",
            "i": "double",
            "x": "double",
            "y": "double",
            "ok": "boolean",
            "colour": "string",
            "raw": "string",
            "short": "string",
        },
    ),
    "mixed": (
        MIXED,
        {
            "head": "string",
            "colour": "string",
            "short": "string",
            "long": "string",
            "inner.a": "long",
            "inner.deep.x": "double",
            "maybe.n": "string",
            "maybe.t": "string",
            "tail": "string",
        },
    ),
    "arrays": (
        ARRAYS,
        {
            "id": "string",
            "longs": "array<long>",
            "ints": "array<string>",
            "doubles": "array<double>",
            "floats": "array<double>",
            "texts": "array<string>",
            "colours": "array<string>",
            "shorts": "array<string>",
            "maybe": "array<double>",
            "words": "array<string>",
        },
    ),
    "unwanted arrays": (ARRAYS, {"id": "string"}),
    "odd": (ODD, {"id": "string", "either": "string", "holes": "array<double>", "x": "double"}),
}

TEXTS = ["", "a", "é€😀", "sixteen letters.", "x" * 70, "\0"]
NUMBERS = [0, 1, -1, 63, -64, 64, 8191, 2**31 - 1, -(2**31), 2**41, 2**62, -(2**63), 2**63 - 1]


def some(rng, schema):
    """Return a random value of a schema."""
    if isinstance(schema, list):
        return some(rng, schema[rng.integers(len(schema))])
    kind = schema["type"] if isinstance(schema, dict) else schema
    if kind == "record":
        return {field["name"]: some(rng, field["type"]) for field in schema["fields"]}
    if kind == "array":
        return [some(rng, schema["items"]) for _ in range(rng.choice([0, 1, 2, 3, 12]))]
    if kind == "map":
        return {f"k{i}": some(rng, schema["values"]) for i in range(rng.integers(3))}
    if kind in ("int", "long"):
        limit = 2**31 if kind == "int" else 2**63
        value = NUMBERS[rng.integers(len(NUMBERS))]
        return value if -limit <= value < limit else 5
    return {
        "null": lambda: None,
        "boolean": lambda: bool(rng.integers(2)),
        "float": lambda: float(np.float32(rng.normal())),
        "double": lambda: float(rng.normal()),
        "string": lambda: TEXTS[rng.integers(len(TEXTS))],
        "bytes": lambda: TEXTS[rng.integers(len(TEXTS))].encode(),
        "enum": lambda: schema["symbols"][rng.integers(len(schema["symbols"]))],
        "fixed": lambda: b"abcdefghij"[:1] * schema["size"],
    }[kind]()


def bodies(rng, schema, count):
    parsed = fastavro.parse_schema(schema)
    out = []
    for _ in range(count):
        stream = io.BytesIO()
        fastavro.schemaless_writer(stream, parsed, some(rng, schema))
        out.append(stream.getvalue())
    return out


def flipped(rng, body, other):
    at, bit = rng.integers(len(body)), rng.integers(8)
    return body[:at] + bytes([body[at] ^ 1 << bit]) + body[at + 1 :]


def poked(rng, body, other):
    at, byte = rng.integers(len(body)), rng.choice([0, 1, 2, 3, 4, 5, 0x7F, 0x80, 0x81, 0xFE, 0xFF])
    return body[:at] + bytes([byte]) + body[at + 1 :]


def cut(rng, body, other):
    return body[: rng.integers(len(body))]


def grown(rng, body, other):
    at = rng.integers(len(body) + 1)
    more = rng.choice([0, 1, 0x80, 0xFF, 7], rng.integers(1, 12)).astype(np.uint8).tobytes()
    return body[:at] + more + body[at:]


def spliced(rng, body, other):
    return body[: rng.integers(len(body) + 1)] + other[rng.integers(len(other)) :]


def stretched(rng, body, other):
    """A number written with more bytes than it needs, where one may be."""
    at = rng.integers(len(body))
    return body[:at] + bytes([body[at] | 0x80]) + b"\x80" * rng.integers(9) + b"\0" + body[at + 1 :]


def resized(rng, body, other):
    """What may be an array's count, made negative, with a size that may be right."""
    at = rng.integers(len(body))
    return body[:at] + bytes([body[at] - 1 & 0xFF, 2 * rng.integers(1, 30)]) + body[at + 1 :]


def untouched(rng, body, other):
    return body


MUTATIONS = [flipped, poked, cut, grown, spliced, stretched, resized, untouched]


def mutated(rng, base, count):
    """Return bodies that were changed once or twice."""
    out = []
    for _ in range(count):
        body = base[rng.integers(len(base))]
        for _ in range(rng.integers(1, 3)):
            other = base[rng.integers(len(base))]
            if body:
                body = MUTATIONS[rng.integers(len(MUTATIONS))](rng, body, other)
        out.append(body)
    return out


def spans(parts):
    """Return parts one behind the other: (data, starts, ends)."""
    sizes = np.array([len(part) for part in parts], np.int64)
    ends = np.cumsum(sizes)
    return np.frombuffer(b"".join(parts), np.uint8), ends - sizes, ends


@pytest.mark.parametrize("name", WANTED)
def test_of_100_000_mutated_records_just_those_are_good_that_the_oracle_reads(name):
    schema, fields = WANTED[name]
    rng = np.random.default_rng(list(name.encode()))
    plan = compile_plan(schema, fields, LIMITS)
    assert plan.columnar == (name != "odd")
    base = bodies(rng, schema, 300)
    good = bad = 0
    for _ in range(-(-100_000 // BATCH // len(WANTED))):
        batch = mutated(rng, base, BATCH)
        expected = [oracle(schema, fields, body) for body in batch]
        decoded = decode(plan, *spans(batch))
        singly = decode(replace(plan, steps=None), *spans(batch))
        assert decoded.good.tolist() == [row is not None for row in expected]
        assert decoded.columns.to_pylist() == [row for row in expected if row is not None]
        assert decoded.columns.equals(singly.columns)
        assert decoded.good.tolist() == singly.good.tolist()
        assert {row: why[0] for row, why in decoded.reasons.items()} == {
            row: why[0] for row, why in singly.reasons.items()
        }
        decoded.columns.validate(full=True)
        assert set(decoded.reasons) == set(np.flatnonzero(~decoded.good).tolist())
        assert {reason for reason, _ in decoded.reasons.values()} <= set(REASONS)
        good += int(decoded.good.sum())
        bad += int((~decoded.good).sum())
    assert good > 1_000 and bad > 1_000

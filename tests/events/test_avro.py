"""Avro rows become columns: the same values as fastavro's, and every rule by which a row is bad."""

import io
import struct
from dataclasses import replace

import fastavro
import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stream_mtl.events.avro import decode
from stream_mtl.events.schema import compile_plan
from stream_mtl.events.strict import REASONS
from stream_mtl.events.types import ARROW_TYPES, Limits


def record(**fields):
    return {"type": "record", "name": "Row", "fields": [{"name": k, "type": v} for k, v in fields.items()]}


def array(items):
    return {"type": "array", "items": items}


def zigzag(value, least=1):
    """Return an Avro number, in `least` bytes or more."""
    rest = value << 1 if value >= 0 else (-value << 1) - 1
    out = bytearray()
    while rest > 0x7F or len(out) + 1 < least:
        out.append(rest & 0x7F | 0x80)
        rest >>= 7
    out.append(rest)
    return bytes(out)


def text(value):
    raw = value if isinstance(value, bytes) else value.encode()
    return zigzag(len(raw)) + raw


def double(value):
    return struct.pack("<d", value)


def spans(bodies):
    """Return bodies one behind the other: (data, starts, ends)."""
    sizes = np.array([len(body) for body in bodies], np.int64)
    ends = np.cumsum(sizes)
    return np.frombuffer(b"".join(bodies), np.uint8), ends - sizes, ends


def both(schema, fields, bodies, limits=Limits()):  # noqa: B008
    """Decode bodies as columns and one by one, see that it is the same, and return it."""
    plan = compile_plan(schema, fields, limits)
    decoded = decode(plan, *spans(bodies))
    singly = decode(replace(plan, steps=None), *spans(bodies))
    assert decoded.columns.equals(singly.columns)
    assert decoded.good.tolist() == singly.good.tolist()
    assert codes(decoded) == codes(singly)
    assert decoded.columns.schema == pa.schema([(name, ARROW_TYPES[kind]) for name, kind in fields.items()])
    decoded.columns.validate(full=True)
    return decoded


def codes(decoded):
    return {row: reason for row, (reason, _) in decoded.reasons.items()}


def judged(schema, body, good, fields=None, limits=Limits()):  # noqa: B008
    """Return why a body is bad, None if it is good; it stands between many good ones, and alone.

    Few rows go one by one where there are arrays, many together: both must say the same.
    """
    answers = set()
    for around in (0, 3, 50):
        bodies = [good] * around + [body] + [good] * around
        decoded = both(schema, fields or {}, bodies, limits)
        assert [row for row in range(len(bodies)) if not decoded.good[row] and row != around] == []
        assert decoded.columns.num_rows == decoded.good.sum()
        answers.add(codes(decoded).get(around))
    (answer,) = answers
    assert answer is None or answer in REASONS
    return answer


# --- the same values as fastavro


SCALARS = ["boolean", "int", "long", "float", "double", "bytes", "string"]
WANTED = {
    "boolean": ["boolean"],
    "int": ["long", "double", "string"],
    "long": ["long", "double", "string"],
    "float": ["double"],
    "double": ["double"],
    "bytes": ["string"],
    "string": ["string"],
    "enum": ["string"],
    "fixed": ["string"],
}
LISTS = {"array<long>": "long", "array<double>": "double", "array<string>": "string"}
VALUES = {
    "null": st.none(),
    "boolean": st.booleans(),
    "int": st.integers(-(2**31), 2**31 - 1),
    "long": st.integers(-(2**63), 2**63 - 1) | st.integers(-70, 70),
    "float": st.floats(allow_nan=False, allow_infinity=False, width=32),
    "double": st.floats(allow_nan=False, allow_infinity=False),
    "bytes": st.text(max_size=5).map(str.encode) | st.just(b"y" * 80),
    "string": st.text(max_size=5) | st.just("x" * 200),
    "enum": st.sampled_from(["red", "green"]),
    "fixed": st.sampled_from([b"abc", b"xyz"]),
}


@st.composite
def types(draw, depth=2):
    """Return a type as (what it is, its schema without names)."""
    shapes = ["scalar", "scalar", "enum", "fixed", "nullable", "array"]
    shape = draw(st.sampled_from([*shapes, "record", "map", "union"] if depth else shapes[:4]))
    if shape == "scalar":
        return draw(st.sampled_from(SCALARS))
    if shape in ("enum", "fixed"):
        return (shape,)
    if shape == "union":
        return ("union", "null", "long", "string", "boolean")
    if shape == "record":
        return ("record", *draw(st.lists(types(depth - 1), min_size=1, max_size=3)))
    inner = draw(types(depth - 1))
    if shape == "nullable" and (inner == "null" or inner[0] in ("union", "nullable", "llun")):
        return inner
    return (draw(st.sampled_from(["nullable", "llun"])), inner) if shape == "nullable" else (shape, inner)


class Names:
    """Writes types as Avro schemas, each named one with a name of its own."""

    def __init__(self):
        self.used = 0

    def schema(self, kind):
        if isinstance(kind, str):
            return kind
        shape, *inner = kind
        self.used += 1
        named = {"type": shape, "name": f"N{self.used}"}
        if shape == "enum":
            return named | {"symbols": ["red", "green"]}
        if shape == "fixed":
            return named | {"size": 3}
        if shape == "record":
            return named | {
                "fields": [{"name": f"g{i}", "type": self.schema(t)} for i, t in enumerate(inner)]
            }
        if shape == "array":
            return array(self.schema(inner[0]))
        if shape == "map":
            return {"type": "map", "values": self.schema(inner[0])}
        if shape == "union":
            return list(inner)
        return ["null", self.schema(inner[0])] if shape == "nullable" else [self.schema(inner[0]), "null"]


def values(kind):
    shape, *inner = (kind,) if isinstance(kind, str) else kind
    if shape in VALUES:
        return VALUES[shape]
    if shape == "record":
        return st.fixed_dictionaries({f"g{i}": values(one) for i, one in enumerate(inner)})
    if shape == "array":
        return st.lists(values(inner[0]), max_size=4)
    if shape == "map":
        return st.dictionaries(st.text(max_size=2), values(inner[0]), max_size=2)
    if shape == "union":
        return st.one_of(*(VALUES[one] for one in inner))
    return st.none() | values(inner[0])


def wishes(kind):
    """Return the types that a column of a type may be wanted as."""
    shape, *inner = (kind,) if isinstance(kind, str) else kind
    if shape in ("nullable", "llun"):
        return wishes(inner[0])
    if shape == "array":
        return [name for name, item in LISTS.items() if item in wishes(inner[0])]
    return WANTED.get(shape, [])


def become(value, kind):
    if value is None:
        return None
    if kind in LISTS:
        return [become(item, LISTS[kind]) for item in value]
    if kind == "double":
        return float(value)
    if kind == "string":
        return value.decode() if isinstance(value, bytes) else str(value)
    return value


@st.composite
def worlds(draw):
    kinds = draw(st.lists(types(), min_size=1, max_size=6))
    names = Names()
    schema = record(**{f"f{i}": names.schema(kind) for i, kind in enumerate(kinds)})
    fields = {}
    for i, kind in enumerate(kinds):
        known = wishes(kind)
        if known and draw(st.booleans()):
            fields[f"f{i}"] = draw(st.sampled_from(known))
    row = st.fixed_dictionaries({f"f{i}": values(kind) for i, kind in enumerate(kinds)})
    return schema, fields, draw(st.lists(row, max_size=6)), draw(st.sampled_from([1, 1, 40]))


@settings(max_examples=300, deadline=None)
@given(worlds())
def test_random_rows_of_random_schemas_have_the_values_that_fastavro_reads(world):
    schema, fields, rows, times = world
    parsed = fastavro.parse_schema(schema)
    bodies, expected = [], []
    for row in rows:
        stream = io.BytesIO()
        fastavro.schemaless_writer(stream, parsed, row)
        bodies.append(stream.getvalue())
        again = fastavro.schemaless_reader(io.BytesIO(bodies[-1]), parsed)
        expected.append({name: become(again[name], kind) for name, kind in fields.items()})
    decoded = both(schema, fields, bodies * times)
    assert decoded.good.all() and decoded.reasons == {}
    assert decoded.columns.to_pylist() == expected * times


def test_a_row_has_the_same_columns_wherever_it_stands_in_the_buffer():
    schema = record(id="string", n=["null", "long"], xs=array("double"))
    bodies = [
        text("é" * i) + (b"\0" if i % 3 else b"\2" + zigzag(1 << i)) + zigzag(1) + double(i) + b"\0"
        for i in range(60)
    ]
    data, starts, ends = spans(bodies)
    plan = compile_plan(schema, {"id": "string", "n": "long", "xs": "array<double>"}, Limits())
    straight = decode(plan, data, starts, ends).columns
    order = np.random.default_rng(5).permutation(60)
    shuffled = decode(plan, data, starts[order], ends[order])
    assert shuffled.columns.equals(straight.take(pa.array(order)))
    apart = np.concatenate(
        [np.append(data[a:b], np.full(9_000, 0xFF, np.uint8)) for a, b in zip(starts, ends, strict=True)]
    )
    shift = 9_000 * np.arange(60)
    assert decode(plan, apart, starts + shift, ends + shift).columns.equals(straight)
    same = np.zeros(40, np.int64)
    assert decode(plan, data, same + starts[7], same + ends[7]).columns.equals(
        straight.take(pa.array([7] * 40))
    )


def test_many_rows_are_the_rows_of_their_parts():
    schema = record(id="string", n="long")
    data, starts, ends = spans([text(f"{i}") + zigzag(i) for i in range(40_000)])
    ends[5::1_000] -= 1
    decoded = decode(compile_plan(schema, {"id": "string", "n": "long"}, Limits()), data, starts, ends)
    expected = [i for i in range(40_000) if i % 1_000 != 5]
    assert decoded.columns.column("n").to_pylist() == expected
    assert np.flatnonzero(~decoded.good).tolist() == list(decoded.reasons) == list(range(5, 40_000, 1_000))


def test_texts_of_any_lengths_stand_side_by_side():
    schema = record(a="string", b="bytes", n="long")
    sizes = [0, 1, 63, 64, 65, 8_191, 8_192, 100_000]
    rows = [("é" * (i // 2), b"z" * j, i) for i in sizes for j in sizes]
    fields = {"a": "string", "b": "string", "n": "long"}
    decoded = both(schema, fields, [text(a) + text(b) + zigzag(n) for a, b, n in rows])
    assert decoded.columns.to_pylist() == [{"a": a, "b": b.decode(), "n": n} for a, b, n in rows]


@pytest.mark.parametrize("bits", [1, 6, 7, 13, 14, 20, 21, 27, 28, 31, 35, 42, 49, 55, 56, 62, 63])
def test_many_columns_of_numbers_of_all_widths_are_read_together(bits):
    rng = np.random.default_rng(bits)
    names = [f"n{i}" for i in range(6)]
    table = [
        [int(v) >> int(rng.integers(bits)) for v in rng.integers(-(2**bits), 2**bits - 1, 6)]
        for _ in range(70)
    ]
    table += [[2**bits - 1, -(2**bits)] * 3, [0] * 6]
    schema = record(**dict.fromkeys(names, "long"))
    decoded = both(schema, dict.fromkeys(names, "long"), [b"".join(map(zigzag, row)) for row in table])
    assert [list(row.values()) for row in decoded.columns.to_pylist()] == table


def test_texts_may_all_be_empty():
    nothing = {"type": "fixed", "name": "Nothing", "size": 0}
    schema = record(a="string", b="bytes", c=nothing, d=["null", "string"], n="long")
    fields = {"a": "string", "b": "string", "c": "string", "d": "string"}
    decoded = both(schema, fields, [b"\0\0" + b"\2\0" + b"\2"] * 50)
    assert decoded.columns.to_pylist() == [dict.fromkeys(fields, "")] * 50


def test_no_rows_are_no_columns_but_their_schema():
    plan = compile_plan(record(id="string"), {"id": "string", "gone": "array<long>"}, Limits())
    decoded = decode(plan, np.zeros(0, np.uint8), np.zeros(0, np.int64), np.zeros(0, np.int64))
    assert decoded.columns.num_rows == 0 and decoded.columns.schema == plan.columns
    assert (
        decode(plan, np.zeros(3, np.uint8), np.zeros(3, np.int64), np.zeros(3, np.int64)).columns.schema
        == plan.columns
    )


def test_without_wanted_fields_rows_are_still_counted():
    decoded = both(record(id="string"), {}, [text("a"), b"", text("b")])
    assert decoded.columns.num_rows == 2 and codes(decoded) == {1: "empty"}


def test_spans_outside_the_buffer_are_an_error_of_the_caller():
    plan = compile_plan(record(id="string"), {}, Limits())
    for start, end in ((-1, 2), (0, 4)):
        with pytest.raises(ValueError, match="spans reach"):
            decode(plan, np.zeros(3, np.uint8), np.array([start]), np.array([end]))


# --- wanted types


def test_a_field_that_the_writer_lacks_is_null():
    decoded = both(
        record(a="long"), {"b": "long", "a": "long", "c": "array<string>", "a2.x": "double"}, [b"\2"]
    )
    assert decoded.columns.to_pylist() == [{"b": None, "a": 1, "c": None, "a2.x": None}]


def test_dots_lead_into_records_also_into_those_that_may_be_null():
    parts = {"x": "long", "y": ["null", "string"], "z": ["long", "null"]}
    inner = {"type": "record", "name": "In", "fields": [{"name": k, "type": v} for k, v in parts.items()]}
    schema = record(a=inner, b=["null", "In"], n="long")
    fields = {"a.x": "long", "b.x": "long", "b.y": "string", "b.z": "double", "n": "long", "a.none": "long"}
    a, n = b"\2\0\2", b"\4"
    bodies = [a + b"\0" + n, a + b"\2\6\2" + text("t") + b"\0\7" + n, a + b"\2\6\0\2" + n]
    decoded = both(schema, fields, bodies * 20)
    first = dict.fromkeys(fields) | {"a.x": 1, "n": 2}
    second, third = first | {"b.x": 3, "b.y": "t", "b.z": -4.0}, first | {"b.x": 3}
    assert decoded.columns.to_pylist() == [first, second, third] * 20


def test_promotions():
    colour = {"type": "enum", "name": "Colour", "symbols": ["red", "green"]}
    fixed = {"type": "fixed", "name": "Three", "size": 3}
    schema = record(i="int", j="long", k="int", l="long", f="float", c=colour, b="bytes", x=fixed, y="int")
    fields = {
        "i": "long",
        "j": "double",
        "k": "double",
        "l": "string",
        "f": "double",
        "c": "string",
        "b": "string",
        "x": "string",
        "y": "string",
    }
    body = (
        zigzag(-7)
        + zigzag(2**53 + 1)
        + zigzag(3)
        + zigzag(-(2**63))
        + struct.pack("<f", 0.5)
        + b"\2"
        + text("é")
        + b"abc"
        + zigzag(-1)
    )
    row = {
        "i": -7,
        "j": float(2**53 + 1),
        "k": 3.0,
        "l": str(-(2**63)),
        "f": 0.5,
        "c": "green",
        "b": "é",
        "x": "abc",
        "y": "-1",
    }
    assert both(schema, fields, [body] * 50).columns.to_pylist() == [row] * 50


def test_a_logical_time_is_read_as_a_plain_number_however_far_away():
    schema = record(
        ts={"type": "long", "logicalType": "timestamp-millis"}, d={"type": "int", "logicalType": "date"}
    )
    decoded = both(schema, {"ts": "long", "d": "long"}, [zigzag(2**62) + zigzag(2**31 - 1)])
    assert decoded.columns.to_pylist() == [{"ts": 2**62, "d": 2**31 - 1}]


# --- what makes a row bad


def test_an_empty_span_is_bad():
    assert judged(record(a="long"), b"", b"\2") == "empty"


def test_a_span_beyond_the_limit_is_too_large_and_one_at_the_limit_is_not():
    limits = Limits(max_record_bytes=20)
    assert judged(record(a="string"), text("x" * 20), text("a"), limits=limits) == "too_large"
    assert judged(record(a="string"), text("x" * 19), text("a"), limits=limits) is None


def test_a_row_must_take_all_bytes_of_its_span():
    assert judged(record(a="long", b="string"), b"\2" + text("abc") + b"\0", b"\2\0") == "trailing_bytes"


EVERYTHING = record(
    a="long",
    b="boolean",
    c=["null", "int"],
    d="string",
    e=array("long"),
    f=array("double"),
    g=array("string"),
    h={"type": "fixed", "name": "F", "size": 70},
    i={"type": "enum", "name": "E", "symbols": ["s"]},
    j="float",
)


def test_a_row_that_was_cut_anywhere_is_bad():
    body = zigzag(2**40) + b"\1" + b"\2" + zigzag(2**30) + text("word" * 20) + b"\2" + zigzag(300) + b"\0"
    body += b"\4" + double(1) * 2 + b"\0" + b"\2" + text("item") + b"\0" + b"h" * 70 + b"\0" + b"\0" * 4
    assert judged(EVERYTHING, body, body) is None
    for end in range(1, len(body)):
        assert judged(EVERYTHING, body[:end], body) == "truncated"


@pytest.mark.parametrize("kind", ["long", "int"])
def test_a_number_may_be_longer_than_it_needs_but_not_than_its_type(kind):
    longest = 10 if kind == "long" else 5
    for size in range(1, longest + 1):
        decoded = both(record(a=kind), {"a": "long"}, [zigzag(-3, size)] * 40)
        assert decoded.columns.column(0).to_pylist() == [-3] * 40
    for size in (longest + 1, longest + 2, 40):
        assert judged(record(a=kind, b="string"), zigzag(-3, size) + b"\0", b"\2\0") == "bad_varint"
        assert judged(record(a=kind), b"\x80" * size, b"\2") == "bad_varint"


@pytest.mark.parametrize(("kind", "bits"), [("long", 64), ("int", 32)])
def test_a_number_must_fit_into_the_bits_of_its_type(kind, bits):
    greatest, least = 2 ** (bits - 1) - 1, -(2 ** (bits - 1))
    assert both(record(a=kind), {"a": "long"}, [zigzag(greatest), zigzag(least)]).columns.to_pydict() == {
        "a": [greatest, least]
    }
    for value in (greatest + 1, least - 1):
        assert judged(record(a=kind), zigzag(value), b"\2", {"a": "long"}) == "bad_varint"
        assert judged(record(a=kind, b="long"), zigzag(value) + b"\2", b"\2\2") == "bad_varint"
        assert judged(record(a=array(kind)), b"\4\2" + zigzag(value) + b"\0", b"\0") == "bad_varint"


def test_a_boolean_is_0_or_1_whether_wanted_or_not():
    for fields in ({}, {"a": "boolean"}):
        assert judged(record(a="boolean"), b"\2", b"\1", fields) == "bad_boolean"
    assert judged(record(a=array("boolean")), b"\4\1\2\0", b"\0") == "bad_boolean"
    assert judged(record(a=["null", "boolean"]), b"\2\xff", b"\0", {"a": "boolean"}) == "bad_boolean"


@pytest.mark.parametrize("index", [-1, 2, 3, -(2**31), 2**31 - 1])
def test_a_union_has_the_branch_that_a_row_names(index):
    for order in (["null", "long"], ["long", "null"]):
        assert (
            judged(
                record(a=order, b="long"),
                zigzag(index) + b"\2\2",
                zigzag(order.index("null")) + b"\2",
                {"a": "long"},
            )
            == "bad_union"
        )
    assert (
        judged(record(a=["null", "string", {"type": "map", "values": "int"}]), zigzag(3), b"\0")
        == "bad_union"
    )


@pytest.mark.parametrize("index", [-1, 2, 64, -(2**31), 2**31 - 1])
def test_an_enum_has_the_symbol_that_a_row_names(index):
    colour = {"type": "enum", "name": "Colour", "symbols": ["red", "green"]}
    for fields in ({}, {"a": "string"}):
        assert judged(record(a=colour), zigzag(index), b"\2", fields) == "bad_enum"
    assert judged(record(a=array(colour)), b"\2" + zigzag(index) + b"\0", b"\0") == "bad_enum"
    assert judged(record(a=["null", colour]), b"\2" + zigzag(index), b"\0", {"a": "string"}) == "bad_enum"


@pytest.mark.parametrize("kind", ["string", "bytes", array("string")])
def test_a_length_is_not_below_zero_and_ends_within_the_row(kind):
    before = b"" if isinstance(kind, str) else b"\2"
    after = b"" if isinstance(kind, str) else b"\0"
    good = before + text("ab") + after
    for size in (-1, -64, -65, -(2**63)):
        assert judged(record(a=kind), before + zigzag(size) + b"ab" + after, good) == "bad_length"
    for size in (len(after) + 3, 63, 64, 2**31, 2**62, 2**63 - 1):
        assert judged(record(a=kind), before + zigzag(size) + b"ab" + after, good) == "truncated"


def test_wanted_texts_are_utf8_and_unwanted_ones_need_not_be():
    for raw in (b"\xff", b"\xc3", b"a\x80", b"\xed\xa0\x80", b"\xc0\x80", b"\xf4\x90\x80\x80", b"\xe2\x82"):
        bad, good = text(raw) + text("é"), text("aé") + text("é")
        assert judged(record(a="string", b="string"), bad, good, {"a": "string", "b": "string"}) == "not_utf8"
        assert judged(record(a="string", b="string"), bad, good, {"b": "string"}) is None
        assert (
            judged(
                record(a=array("bytes")), b"\4" + text("") + text(raw) + b"\0", b"\0", {"a": "array<string>"}
            )
            == "not_utf8"
        )


def test_two_halves_of_a_letter_in_two_rows_are_no_text():
    halves = [text(b"a\xc3"), text(b"\xa9b")]
    decoded = both(record(a="string"), {"a": "string"}, [text("ab"), *halves, text("éa")] * 20)
    assert decoded.columns.column(0).to_pylist() == ["ab", "éa"] * 20


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
@pytest.mark.parametrize(("kind", "letter"), [("double", "<d"), ("float", "<f")])
def test_wanted_numbers_are_finite_and_unwanted_ones_need_not_be(kind, letter, value):
    raw, fine = struct.pack(letter, value), struct.pack(letter, 1.5)
    assert judged(record(a=kind), raw, fine, {"a": "double"}) == "not_finite"
    assert judged(record(a=kind), raw, fine, {}) is None
    assert judged(record(a=["null", kind]), b"\2" + raw, b"\0", {"a": "double"}) == "not_finite"
    body = b"\4" + fine + raw + b"\0"
    assert judged(record(a=array(kind)), body, b"\0", {"a": "array<double>"}) == "not_finite"


def test_null_rows_are_not_judged_by_the_bytes_of_their_neighbours():
    schema = record(a=["null", "double"], b=["null", "string"], c=["null", "boolean"], d="long")
    full, null = b"\2" + double(float("nan")) + b"\2" + text(b"\xff") + b"\2\1" + b"\2", b"\0\0\0\2"
    decoded = both(schema, {"a": "double", "b": "string", "c": "boolean"}, [null, full] * 30)
    assert codes(decoded) == dict.fromkeys(range(1, 60, 2), "not_finite")
    assert decoded.columns.to_pylist() == [{"a": None, "b": None, "c": None}] * 30


# --- arrays


LONGS = record(a=array("long"))


def values_of(body, items="long", kind="array<long>", times=40):
    decoded = both(record(a=array(items)), {"a": kind}, [body] * times)
    assert decoded.good.all(), decoded.reasons
    return decoded.columns.column(0).to_pylist()[-1]


def test_an_array_may_come_in_blocks_with_or_without_their_size():
    body = b"\4\2\4" + b"\1\2\6" + zigzag(-2) + zigzag(3) + zigzag(300) + b"\2" + b"\0"
    assert values_of(body) == [1, 2, 3, 300, 1]
    words = b"\2" + text("a") + zigzag(-2) + zigzag(5) + text("b") + text("cd") + b"\0"
    assert values_of(words, "string", "array<string>") == ["a", "b", "cd"]
    doubles = zigzag(-1) + zigzag(8) + double(1.5) + b"\2" + double(2.5) + b"\0"
    assert values_of(doubles, "double", "array<double>") == [1.5, 2.5]


def test_a_block_is_as_long_as_it_says():
    for size in (0, 1, 3, -1, 60, 2**62, -(2**63)):
        body = zigzag(-2) + zigzag(size) + b"\2\4" + b"\0"
        assert judged(LONGS, body, b"\0") == "bad_block"


def test_the_head_of_a_block_is_made_of_numbers():
    for size in (11, 30):
        assert judged(LONGS, zigzag(1, size) + b"\2\0", b"\0") == "bad_varint"
        assert judged(LONGS, zigzag(-1) + zigzag(1, size) + b"\2\0", b"\2\2\0") == "bad_varint"
    assert judged(LONGS, zigzag(2**63), b"\0") == "bad_varint"
    assert (
        judged(LONGS, zigzag(1, 10) + b"\2" + zigzag(-1, 10) + zigzag(1, 10) + b"\2" + zigzag(0, 10), b"\0")
        is None
    )


def test_items_up_to_the_limit_are_read_over_all_blocks_and_no_more():
    limits = Limits(max_items=5)
    for cuts in ([5], [2, 3], [1] * 5):
        body = b"".join(zigzag(count) + b"\2" * count for count in cuts)
        assert judged(LONGS, body + b"\0", b"\0", limits=limits) is None
        assert judged(LONGS, body + b"\2\2\0", b"\0", limits=limits) == "too_many_items"
    for count in (6, -6, 2**62, -(2**63), 2**63 - 1):
        assert judged(LONGS, zigzag(count) + b"\2" * 7, b"\0", limits=limits) == "too_many_items"
    assert judged(record(a=array("string")), zigzag(6) + b"\0" * 7, b"\0", limits=limits) == "too_many_items"


def test_more_items_than_bytes_are_refused_before_any_is_read():
    limits = Limits(max_items=2**62)
    for items, least in (("long", 1), ("double", 8), ("string", 1), ("boolean", 1)):
        body = zigzag(2**40) + b"\0" * 3 * least
        assert judged(record(a=array(items)), body, b"\0", limits=limits) == "truncated"


@pytest.mark.parametrize("items", ["long", "int", "string"])
@pytest.mark.parametrize("last", [True, False])
def test_items_that_would_go_on_behind_their_row_are_not_looked_for_there(items, last):
    bad = zigzag(800) + (b"\x80\1" if items != "string" else b"\2x") * 400
    bodies = [b"\0\0"] * 50 + [bad] + [b"\0\0"] * (0 if last else 300)
    decoded = both(
        record(a=array(items), b="string"), {"a": f"array<{items.replace('int', 'long')}>"}, bodies
    )
    assert codes(decoded) == {50: "truncated"}


def test_one_row_of_very_many_blocks_or_texts_stands_beside_short_ones():
    limits = Limits(max_items=10_000)
    blocks = b"\2\0" * 10_000 + b"\0"
    words = zigzag(10_000) + text("a") * 10_000 + b"\0"
    assert values_of(blocks, times=2) == [0] * 10_000
    both(
        record(a=array("string")), {"a": "array<string>"}, [b"\0"] * 100 + [words] + [b"\2\0\0"] * 100, limits
    )
    both(LONGS, {"a": "array<long>"}, [b"\0"] * 100 + [blocks] * 3 + [b"\2\0\0"] * 100, limits)


def test_arrays_of_several_rows_keep_their_items_apart():
    schema = record(a=array("long"), b=["null", array("string")], c=array("double"))
    rows = [
        ([i] * (i % 5), None if i % 3 else [f"{j}" * j for j in range(i % 7)], [i / 2] * (i % 2))
        for i in range(200)
    ]
    parsed = fastavro.parse_schema(schema)
    bodies = []
    for a, b, c in rows:
        stream = io.BytesIO()
        fastavro.schemaless_writer(stream, parsed, {"a": a, "b": b, "c": c})
        bodies.append(stream.getvalue())
    bodies[50] = bodies[50][:-1]
    decoded = both(schema, {"a": "array<long>", "b": "array<string>", "c": "array<double>"}, bodies)
    assert codes(decoded) == {50: "truncated"}
    assert [tuple(row.values()) for row in decoded.columns.to_pylist()] == rows[:50] + rows[51:]


# --- neighbours and details


def test_every_bad_row_has_its_own_reason_and_names_its_field():
    schema = record(a="long", ok="boolean", t="string")
    bodies = [
        b"\2\1" + text("x"),
        b"\2\7" + text("x"),
        b"\2\1" + text(b"\xff"),
        b"",
        b"\2",
        b"\2\1" + zigzag(-1),
    ] * 20
    decoded = both(schema, {"ok": "boolean", "t": "string"}, bodies)
    assert decoded.columns.num_rows == 20
    told = [decoded.reasons.get(row) for row in range(6)]
    assert [why and why[0] for why in told] == [
        None,
        "bad_boolean",
        "not_utf8",
        "empty",
        "truncated",
        "bad_length",
    ]
    assert told[1][1].startswith("ok: ") and told[2][1].startswith("t: ") and told[5][1].startswith("t: ")


def test_of_two_faults_the_one_that_hides_the_values_is_told():
    schema = record(x="double", t="string", ok="boolean")
    body = double(float("nan")) + text(b"\xff")
    fields = {"t": "string", "x": "double"}
    assert judged(schema, body + b"\2", double(1) + b"\0\1", fields) == "bad_boolean"
    assert judged(schema, body + b"\1", double(1) + b"\0\1", fields) == "not_utf8"


def test_a_batch_of_nothing_but_bad_rows_has_no_rows():
    decoded = both(EVERYTHING, {"a": "long", "g": "array<string>"}, [b"\xff" * 30] * 100)
    assert decoded.columns.num_rows == 0 and codes(decoded) == dict.fromkeys(range(100), "bad_varint")

"""Rows of bytes, made column by column, are those that fastavro makes row by row."""

import io
from typing import Any

import fastavro
import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stream_mtl.errors import SchemaError
from stream_mtl.generate.avro import encode, frame_confluent
from stream_mtl.generate.faults import Breakage
from stream_mtl.generate.fields import KINDS, avro_schema
from stream_mtl.generate.generated import generate
from stream_mtl.generate.options import GeneratorOptions
from stream_mtl.generate.wire import frames

LONGS = st.one_of(
    st.integers(-(2**63), 2**63 - 1),
    st.integers(0, 63).flatmap(lambda bits: st.sampled_from([2**bits - 1, -(2**bits)])),
)
ITEMS: dict[str, tuple[st.SearchStrategy[Any], pa.DataType]] = {
    "long": (LONGS, pa.int64()),
    "double": (st.floats(allow_nan=False), pa.float64()),
    "boolean": (st.booleans(), pa.bool_()),
    "string": (st.text(max_size=70), pa.string()),
}


def record(fields: list[tuple[str, Any]]) -> dict[str, Any]:
    return {
        "type": "record",
        "name": "R",
        "fields": [{"name": name, "type": type_} for name, type_ in fields],
    }


@st.composite
def tables(draw: st.DrawFn) -> tuple[pa.Table, dict[str, Any]]:
    n = draw(st.integers(0, 12))
    columns, fields = {}, []
    for number in range(draw(st.integers(1, 5))):
        item = draw(st.sampled_from(sorted(ITEMS)))
        values, arrow = ITEMS[item]
        type_: Any = item
        if draw(st.booleans()):
            values, arrow = st.lists(values, max_size=4), pa.list_(arrow)
            type_ = {"type": "array", "items": item}
        union = draw(st.sampled_from([None, lambda t: ["null", t], lambda t: [t, "null"]]))
        if union is not None:
            values, type_ = st.none() | values, union(type_)
        name = f"f{number}"
        columns[name] = pa.array(draw(st.lists(values, min_size=n, max_size=n)), arrow)
        fields.append((name, type_))
    return pa.table(columns), record(fields)


def one_by_one(table: pa.Table, schema: dict[str, Any]) -> list[bytes]:
    parsed = fastavro.parse_schema(schema)
    out = []
    for row in table.to_pylist():
        buffer = io.BytesIO()
        fastavro.schemaless_writer(buffer, parsed, row)
        out.append(buffer.getvalue())
    return out


@settings(max_examples=300, deadline=None)
@given(made=tables(), cut=st.integers(0, 5))
def test_rows_are_those_of_fastavro(made: tuple[pa.Table, dict[str, Any]], cut: int) -> None:
    table, schema = made
    table = table.slice(cut)
    data, starts, ends = encode(table, schema)
    assert [data[a:b].tobytes() for a, b in zip(starts, ends, strict=True)] == one_by_one(table, schema)
    assert ends[-1:].tolist() == [len(data)][: len(ends)]


def test_rows_of_very_different_lengths_fit() -> None:
    texts = ["x" * int(n) for n in np.random.default_rng(1).pareto(0.5, 5_000).clip(0, 5_000)]
    table = pa.table({"a": pa.array(range(len(texts))), "b": texts, "c": pa.array(range(len(texts)))})
    schema = record([("a", "long"), ("b", "string"), ("c", "long")])
    data, starts, ends = encode(table, schema)
    assert [data[a:b].tobytes() for a, b in zip(starts, ends, strict=True)] == one_by_one(table, schema)


@pytest.mark.parametrize("texts", [True, False])
@pytest.mark.parametrize("kind", KINDS)
def test_a_frame_is_magic_id_and_the_row(kind: str, texts: bool) -> None:
    options = GeneratorOptions(impressions=6_000, ctr=0.3, cvr=0.3, texts=texts, slate=3)
    stream = generate(options).streams[kind]
    schema = avro_schema(options, kind)
    data, starts, ends = frame_confluent(stream.table, schema, 0x01020304)
    rows = [data[a:b].tobytes() for a, b in zip(starts, ends, strict=True)]
    assert rows == [b"\0\1\2\3\4" + body for body in one_by_one(stream.table, schema)]


def test_broken_records_are_broken_in_their_bytes_and_no_others() -> None:
    options = GeneratorOptions(impressions=3_000, malformed=0.1)
    stream = generate(options).impressions
    schema = fastavro.parse_schema(avro_schema(options, "impression"))
    data, starts, ends = frames(options, stream, 7)
    for i, (start, end) in enumerate(zip(starts, ends, strict=True)):
        body = io.BytesIO(data[start + 5 : end].tobytes())
        if stream.broken[i] in (Breakage.GARBAGE, Breakage.TYPE):
            with pytest.raises(UnicodeDecodeError):
                fastavro.schemaless_reader(body, schema, None)
        else:
            read: Any = fastavro.schemaless_reader(body, schema, None)
            assert (read["ts"].timestamp() < 0) == (stream.broken[i] == Breakage.TIME)


@pytest.mark.parametrize(
    ("type_", "column", "message"),
    [
        ("float", pa.array([1.0]), "float"),
        ({"type": "map", "values": "long"}, pa.array([1]), "map"),
        ("long", pa.array([None], pa.int64()), "null"),
        (["long", "string"], pa.array([1]), "union"),
    ],
)
def test_what_is_not_covered_is_refused(type_: Any, column: pa.Array, message: str) -> None:
    with pytest.raises(SchemaError, match=message):
        encode(pa.table({"a": column}), record([("a", type_)]))

"""Avro records, bare, framed and in containers, become the same events as any others."""

import io
import json
import struct

import fastavro
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stream_mtl.connectors.base import Format
from stream_mtl.connectors.containers import parse_blocks, parse_header
from stream_mtl.connectors.files import FileSource
from stream_mtl.connectors.memory import MemorySource
from stream_mtl.errors import ConfigError, SchemaError, Unavailable
from stream_mtl.events.codec import Codec
from stream_mtl.events.types import EventSpec, Limits
from stream_mtl.testing import ManualClock, drain

NOW = 1_700_000_000_000
LIMITS = Limits()
SPEC = EventSpec("view", "s", "ts", {"id": "string", "price": "double"}, required=("id",))


def records(values, format, schema=None):
    source = MemorySource("s", Format(format, schema))
    source.append(values, at=100)
    (batch,) = drain(source, 1 << 30)
    return batch


def decode(specs, batch, **options):
    return Codec(specs, LIMITS, ManualClock(NOW), **options).decode(batch)


def faults(arrivals):
    bad = arrivals.malformed
    return list(zip(bad.position.tolist(), bad.reason, bad.kind, strict=True))


def record(*fields, name="Row"):
    return {"type": "record", "name": name, "fields": [{"name": n, "type": t} for n, t in fields]}


OLD = record(("ts", "long"), ("id", "string"), ("price", ["null", "double"]))
NEW = record(("extra", "string"), ("id", "string"), ("ts", "long"))


def encode(schema, row):
    out = io.BytesIO()
    fastavro.schemaless_writer(out, fastavro.parse_schema(schema), row)
    return out.getvalue()


def frame(number, body):
    return struct.pack(">bI", 0, number) + body


def registry(**schemas):
    def schema_of(number):
        return json.dumps(schemas[f"n{number}"])

    return schema_of


def test_bare_avro_is_read_by_the_schema_of_its_source():
    values = [
        encode(OLD, {"ts": 5, "id": "a", "price": None}),
        b"\x01",
        encode(OLD, {"ts": 6, "id": "b", "price": 2.5}),
    ]
    arrivals = decode([SPEC], records(values, "avro"), schemas={"s": json.dumps(OLD)})
    assert arrivals.events[0].fields.schema == SPEC.schema
    assert arrivals.events[0].fields.to_pylist() == [
        {"id": "a", "price": None},
        {"id": "b", "price": 2.5},
    ]
    assert [(p, kind) for p, _, kind in faults(arrivals)] == [(101, "view")]


def test_framed_records_of_several_schemas_stay_in_order():
    values = [
        frame(1, encode(OLD, {"ts": 1, "id": "a", "price": 1.0})),
        frame(70_000, encode(NEW, {"ts": 2, "id": "b", "extra": "x"})),
        frame(70_000, encode(NEW, {"ts": 3, "id": "c", "extra": "x"})),
        frame(1, encode(OLD, {"ts": 4, "id": "d", "price": None})),
        frame(70_000, b"\x02"),
        frame(70_000, encode(NEW, {"ts": -1, "id": "e", "extra": ""})),
    ]
    arrivals = decode([SPEC], records(values, "confluent-avro"), schema_of=registry(n1=OLD, n70000=NEW))
    (events,) = arrivals.events
    assert (events.time.tolist(), events.position.tolist()) == ([1, 2, 3, 4], [100, 101, 102, 103])
    assert events.fields.column("id").to_pylist() == ["a", "b", "c", "d"]
    assert events.fields.column("price").to_pylist() == [1.0, None, None, None]
    assert [(p, kind) for p, _, kind in faults(arrivals)] == [(104, "view"), (105, "view")]
    assert arrivals.malformed.value == values[4:]


def test_a_frame_that_cannot_be_used_says_why():
    good = frame(1, encode(OLD, {"ts": 1, "id": "a", "price": None}))
    wrong = record(("ts", "long"), ("id", {"type": "array", "items": "long"}))
    values = [good, b"\x01" + good[1:], b"\0\0\0", frame(9, b"x"), frame(2, b"x"), b"", good]
    arrivals = decode([SPEC], records(values, "confluent-avro"), schema_of=registry(n1=OLD, n2=wrong))
    assert [reason for _, reason, _ in faults(arrivals)] == [
        "not_framed",
        "not_framed",
        "schema_unknown",
        "schema_incompatible",
        "empty",
    ]
    assert arrivals.events[0].position.tolist() == [100, 106]


def test_a_schema_is_asked_for_once_and_one_that_was_unknown_again():
    asked = []

    def schema_of(number):
        asked.append(number)
        if len(asked) == 1:
            raise KeyError(number)
        return json.dumps(OLD)

    codec = Codec([SPEC], LIMITS, ManualClock(NOW), schema_of=schema_of)
    batch = records([frame(1, encode(OLD, {"ts": 1, "id": "a", "price": None}))] * 2, "confluent-avro")
    assert [len(codec.decode(batch).malformed) for _ in range(3)] == [2, 0, 0]
    assert asked == [1, 1]


def test_a_registry_that_does_not_answer_makes_nothing_malformed():
    def schema_of(number):
        raise Unavailable("registry")

    with pytest.raises(Unavailable):
        decode([SPEC], records([frame(1, b"x")], "confluent-avro"), schema_of=schema_of)


def test_framed_records_without_a_registry_are_a_mistake_in_the_configuration():
    with pytest.raises(ConfigError, match="registry"):
        decode([SPEC], records([frame(1, b"x")], "confluent-avro"))


@pytest.mark.parametrize(
    ("kind", "value", "millis"),
    [
        ("long", 1_500, 1_500),
        ("double", 1_500.0, 1_500),
        ("string", "1970-01-01T00:00:01.5Z", 1_500),
        (["null", "string"], "1500", 1_500),
        ({"type": "long", "logicalType": "timestamp-millis"}, 1_500, 1_500),
    ],
)
def test_an_avro_time_is_what_its_writer_makes_it(kind, value, millis):
    schema = record(("ts", kind))
    batch = records([encode(schema, {"ts": value})], "avro", json.dumps(schema).encode())
    assert decode([EventSpec("k", "s", "ts", {})], batch).events[0].time.tolist() == [millis]


def container(rows, codec="null", per_block=4):
    out = io.BytesIO()
    writer = fastavro.write.Writer(out, fastavro.parse_schema(OLD), codec=codec, sync_interval=1 << 20)
    for at, row in enumerate(rows, 1):
        writer.write(row)
        if at % per_block == 0:
            writer.dump()
    writer.flush()
    return out.getvalue()


@pytest.mark.parametrize("codec", ["null", "deflate"])
@pytest.mark.parametrize("start", range(11))
def test_rows_of_a_container_that_were_read_before_do_not_come_again(tmp_path, codec, start):
    (tmp_path / "a.avro").write_bytes(container([{"ts": n, "id": str(n)} for n in range(10)], codec))
    source = FileSource("s", tmp_path)
    source.seek({0: start})
    at, ids = start, []
    for batch in drain(source, 5):
        arrivals = decode([SPEC], batch)
        assert arrivals.first == at
        at = arrivals.next
        for events in arrivals.events:
            assert events.position.tolist() == events.time.tolist()
            ids += events.fields.column("id").to_pylist()
    assert (at, ids) == (10, [str(n) for n in range(start, 10)])


@pytest.mark.parametrize("start", range(4, 9))
def test_every_row_of_a_damaged_block_is_told_and_the_blocks_around_it_are_read(tmp_path, start):
    data = bytearray(container([{"ts": n, "id": "x" * 5} for n in range(12)]))
    opening = parse_header(bytes(data))
    blocks = parse_blocks(bytes(data[opening.size :]), opening, 1 << 20)
    second = opening.size + blocks.starts[1]
    data[second + 9] = 0x7F  # a length below zero, of the id in the second row of the block
    (tmp_path / "a.avro").write_bytes(data)
    source = FileSource("s", tmp_path)
    whole = decode([SPEC], drain(source)[0])
    assert whole.events[0].position.tolist() == [0, 1, 2, 3, 4, 8, 9, 10, 11]
    assert faults(whole) == [(5, "bad_length", "view"), (6, "bad_length", "view"), (7, "bad_length", "view")]
    block = bytes(data[second : opening.size + blocks.ends[1]])
    assert whole.malformed.value == [block, b"", b""]
    source.seek({0: start})
    part = decode([SPEC], drain(source)[0])
    assert faults(part) == [fault for fault in faults(whole) if fault[0] >= start]
    assert part.events[0].position.tolist() == [at for at in whole.events[0].position.tolist() if at >= start]


def test_a_container_whose_schema_cannot_be_used_is_an_error(tmp_path):
    (tmp_path / "a.avro").write_bytes(container([{"ts": 1, "id": "a"}]))
    (batch,) = drain(FileSource("s", tmp_path))
    with pytest.raises(SchemaError, match="id"):
        decode([EventSpec("k", "s", "ts", {"id": "array<long>"})], batch)


ROWS = st.lists(
    st.fixed_dictionaries(
        {
            "ts": st.integers(0, NOW),
            "id": st.text(
                st.characters(codec="utf-8", exclude_characters="\r\n", exclude_categories=["Cs"]),
                min_size=1,
                max_size=6,
            ),
            "price": st.none() | st.floats(allow_nan=False, allow_infinity=False),
        }
    ),
    max_size=20,
)


@settings(max_examples=60, deadline=None)
@given(written=ROWS, chunk=st.integers(20, 200), limit=st.integers(1, 30))
def test_the_same_rows_are_the_same_events_in_every_format(tmp_path_factory, written, chunk, limit):
    folder = tmp_path_factory.mktemp("formats")
    texts = [{k: v for k, v in row.items() if v is not None} for row in written]
    (folder / "a.jsonl").write_bytes(b"".join(json.dumps(row).encode() + b"\n" for row in texts))
    lines = ["id,price,ts"] + [
        '"{}",{},{}'.format(
            r["id"].replace('"', '""'), "" if r["price"] is None else repr(r["price"]), r["ts"]
        )
        for r in written
    ]
    (folder / "a.csv").write_bytes("\n".join(lines).encode())
    (folder / "a.avro").write_bytes(container(written, "deflate", 3))
    read = []
    for name in ("a.jsonl", "a.csv", "a.avro"):
        codec = Codec([SPEC], LIMITS, ManualClock(NOW))
        source = FileSource("s", folder / name, chunk=chunk)
        arrivals = [codec.decode(batch) for batch in drain(source, limit)]
        assert not any(len(a.malformed) or a.ignored for a in arrivals)
        events = [e for a in arrivals for e in a.events]
        read.append(
            [
                x
                for e in events
                for x in zip(e.position.tolist(), e.time.tolist(), e.fields.to_pylist(), strict=True)
            ]
        )
    assert read[0] == read[1] == read[2]
    assert [time for _, time, _ in read[0]] == [row["ts"] for row in written]

"""Rows of Avro container blocks: found fast just as one by one, and damage stays in its block."""

import bz2
import io
import lzma
import zlib
from itertools import pairwise

import fastavro
import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stream_mtl.errors import SchemaError
from stream_mtl.events import container, strict
from stream_mtl.events.avro import decode
from stream_mtl.events.container import Broken, row_spans
from stream_mtl.events.schema import compile_plan
from stream_mtl.events.types import Limits

COLOUR = {"type": "enum", "name": "Colour", "symbols": ["red", "green"]}
INNER = {
    "type": "record",
    "name": "Inner",
    "fields": [{"name": "x", "type": "double"}, {"name": "y", "type": "int"}],
}
SCHEMA = {
    "type": "record",
    "name": "Row",
    "fields": [
        {"name": "id", "type": "string"},
        {"name": "ts", "type": "long"},
        {"name": "colour", "type": COLOUR},
        {"name": "ok", "type": "boolean"},
        {"name": "inner", "type": ["null", INNER]},
        {"name": "x", "type": "float"},
        {"name": "xs", "type": {"type": "array", "items": "long"}},
        {"name": "flags", "type": {"type": "array", "items": "boolean"}},
        {"name": "words", "type": ["null", {"type": "array", "items": "string"}]},
        {"name": "long", "type": {"type": "fixed", "name": "F", "size": 80}},
    ],
}
FIELDS = {
    "id": "string",
    "ts": "long",
    "colour": "string",
    "ok": "boolean",
    "inner.y": "long",
    "x": "double",
    "xs": "array<long>",
    "words": "array<string>",
}
ODD = {
    "type": "record",
    "name": "Odd",
    "fields": [
        {"name": "id", "type": "string"},
        {"name": "tags", "type": {"type": "map", "values": ["null", "int", "string"]}},
    ],
}
CODECS = ["null", "deflate", "snappy", "zstandard", "bzip2", "xz"]


def rows(count, seed=0):
    rng = np.random.default_rng(seed)
    return [
        {
            "id": "é" * rng.integers(4) + f"{i}",
            "ts": int(rng.integers(2**62)) >> int(rng.integers(62)),
            "colour": "green" if i % 3 else "red",
            "ok": bool(i % 2),
            "inner": None if i % 4 == 0 else {"x": i / 2, "y": -i},
            "x": 0.5 * i,
            "xs": [j * i for j in range(i % 5)],
            "flags": [True] * (i % 2),
            "words": None if i % 5 == 0 else ["w" * (j * i % 90) for j in range(i % 4)],
            "long": b"f" * 80,
        }
        for i in range(count)
    ]


def wanted(row):
    inner = row["inner"] or {"y": None}
    return {name: inner["y"] if name == "inner.y" else row[name] for name in FIELDS}


def blocks_of(schema, values, codec="null", interval=16_000):
    """Write a file; return its blocks as (data, starts, ends, counts)."""
    if codec == "zstandard":  # fastavro writes it with a library that is not among ours
        data, starts, ends, counts = blocks_of(schema, values, "null", interval)
        raws = [packed(codec, data[a:b].tobytes()) for a, b in zip(starts, ends, strict=True)]
        return *joined([[raw] for raw in raws])[:3], counts
    file = io.BytesIO()
    fastavro.writer(file, fastavro.parse_schema(schema), values, codec=codec, sync_interval=interval)
    data = file.getvalue()
    sync, starts, ends, counts = data[-16:], [], [], []
    at = data.index(sync) + 16
    while at < len(data):
        count, at = strict.varint(data, at, len(data), 10)
        size, at = strict.varint(data, at, len(data), 10)
        assert data[at + size :].startswith(sync)
        starts.append(at)
        ends.append(at + size)
        counts.append(count)
        at += size + 16
    return np.frombuffer(data, np.uint8), *(np.array(part, np.int64) for part in (starts, ends, counts))


def encoded(schema, values):
    parsed, out = fastavro.parse_schema(schema), []
    for value in values:
        stream = io.BytesIO()
        fastavro.schemaless_writer(stream, parsed, value)
        out.append(stream.getvalue())
    return out


def joined(blocks):
    """Return blocks, lists of rows, as (data, starts, ends, counts)."""
    sizes = np.array([len(b"".join(block)) for block in blocks], np.int64)
    ends = np.cumsum(sizes)
    data = np.frombuffer(b"".join(b"".join(block) for block in blocks), np.uint8)
    return data, ends - sizes, ends, np.array([len(block) for block in blocks])


def bodies(found):
    return [found.data[start:end].tobytes() for start, end in zip(found.starts, found.ends, strict=True)]


def places(found):
    return list(zip(found.block.tolist(), found.row.tolist(), strict=True))


def one_by_one(plan, raw, count):
    """Return the borders of a block's rows, and why there are not more of them."""
    borders = [0]
    try:
        while len(borders) <= count:
            borders.append(plan.skip(raw, borders[-1], len(raw)))
    except strict.BadError as bad:
        return borders, bad.reason
    return borders, None


def both(plan, data, starts, ends, counts, codec="null"):
    """Find rows, see that they are the same when found one by one, and return them."""
    found = row_spans(plan, data, starts, ends, counts, codec)
    if codec != "null":
        return found
    bad = {one.block: one for one in found.bad}
    for block, (start, end, count) in enumerate(zip(starts, ends, counts, strict=True)):
        if count <= 0 or end <= start:
            continue
        borders, reason = one_by_one(plan, data[start:end].tobytes(), count)
        if len(borders) > count:
            borders[-1] = end - start
        mine = found.block == block
        assert bad.get(block) == (reason and (block, len(borders) - 1, reason))
        assert [0, *(found.ends[mine] - start)] == borders
        assert [*(found.starts[mine] - start), borders[-1]] == borders
    return found


@pytest.fixture(scope="module")
def plan():
    return compile_plan(SCHEMA, FIELDS, Limits())


@pytest.mark.parametrize("interval", [1, 300, 16_000, 10**9])
@pytest.mark.parametrize("codec", CODECS)
def test_the_rows_of_a_file_are_those_that_were_written(plan, codec, interval):
    values = rows(400)
    data, starts, ends, counts = blocks_of(SCHEMA, values, codec, interval)
    assert len(starts) == {1: 400, 10**9: 1}.get(interval, len(starts)) and counts.sum() == 400
    found = both(plan, data, starts, ends, counts, codec)
    assert found.bad == [] and bodies(found) == encoded(SCHEMA, values)
    assert places(found) == [(block, row) for block, count in enumerate(counts) for row in range(count)]
    decoded = decode(plan, found.data, found.starts, found.ends)
    assert decoded.good.all() and decoded.columns.to_pylist() == [wanted(row) for row in values]


def test_a_schema_that_columns_do_not_cover_has_the_same_rows():
    odd = compile_plan(ODD, {"id": "string"}, Limits())
    values = [
        {"id": f"{i}", "tags": {f"k{j}": [None, j, "t"][j % 3] for j in range(i % 5)}} for i in range(90)
    ]
    for interval in (1, 200, 10**9):
        found = both(odd, *blocks_of(ODD, values, "deflate", interval), "deflate")
        assert found.bad == [] and bodies(found) == encoded(ODD, values)


def test_blocks_may_have_different_numbers_of_rows(plan):
    written = encoded(SCHEMA, rows(60 * 59 // 2))
    cuts = np.cumsum([0, *range(60)])
    blocks = [written[a:b] for a, b in pairwise(cuts)]
    found = both(plan, *joined(blocks))
    assert found.bad == [] and bodies(found) == written
    assert places(found) == [(block, row) for block in range(60) for row in range(block)]


def test_no_blocks_have_no_rows(plan):
    none = np.zeros(0, np.int64)
    for codec in CODECS:
        found = both(plan, np.zeros(0, np.uint8), none, none, none, codec)
        assert len(found.starts) == len(found.row) == 0 and found.bad == []


def test_a_codec_that_is_not_read_here_is_refused(plan):
    none = np.zeros(0, np.int64)
    with pytest.raises(SchemaError, match="'lz77' are not read here; known: null, deflate"):
        row_spans(plan, np.zeros(0, np.uint8), none, none, none, "lz77")


# --- damage


WORDS = {
    "type": "record",
    "name": "W",
    "fields": [
        {"name": "t", "type": "string"},
        {"name": "u", "type": ["null", "long"]},
        {"name": "ok", "type": "boolean"},
        {"name": "n", "type": "int"},
        {"name": "c", "type": COLOUR},
        {"name": "a", "type": {"type": "array", "items": "long"}},
    ],
}
WORD = b"\4ab" + b"\2\2" + b"\1" + b"\6" + b"\2" + b"\2\2\0"


@pytest.fixture(scope="module")
def words():
    return compile_plan(WORDS, {"t": "string", "ok": "boolean", "n": "long"}, Limits(max_items=3))


@pytest.mark.parametrize("blocks", [3, 60])
@pytest.mark.parametrize(
    ("broken", "reason"),
    [
        (b"\x05ab" + WORD[3:], "bad_length"),
        (b"\xfe\xff\x03" + WORD[1:], "truncated"),
        (b"\4ab" + b"\4" + WORD[4:], "bad_union"),
        (b"\x80" * 10 + WORD[1:], "bad_varint"),
        (WORD[:-3] + b"\1\6\2\2\0", "bad_block"),
    ],
)
def test_a_row_without_a_known_end_costs_its_block_the_rest_and_other_blocks_nothing(
    words, blocks, broken, reason
):
    good = [[WORD] * 5 for _ in range(blocks)]
    good[1] = [WORD, WORD, broken, WORD, WORD]
    found = both(words, *joined(good))
    assert found.bad == [Broken(1, 2, reason)] == [(1, 2, reason)]
    assert bodies(found) == [WORD] * (5 * blocks - 3)
    assert places(found) == [(b, r) for b in range(blocks) for r in range(5) if b != 1 or r < 2]


@pytest.mark.parametrize(
    ("wrong", "reason"),
    [
        (b"\4ab\0" + b"\7" + WORD[6:], "bad_boolean"),
        (b"\4ab\0" + b"\1" + b"\x80\x80\x80\x80\x80\1" + WORD[7:], "bad_varint"),
        (b"\4ab\0" + b"\1" + b"\x80" * 12 + b"\1" + WORD[7:], "bad_varint"),
        (b"\4ab\0" + b"\1\2" + b"\6" + WORD[8:], "bad_enum"),
        (b"\2\xff\0" + WORD[5:], "not_utf8"),
        (WORD[:-3] + b"\x08\1\1\1\1\0", "too_many_items"),
        (WORD[:-3] + b"\2" + b"\xff" * 11 + b"\1\0", "bad_varint"),
    ],
)
def test_a_bad_row_with_a_known_end_costs_its_neighbours_nothing(words, wrong, reason):
    for blocks in (1, 60):
        found = both(words, *joined([[WORD, wrong, WORD]] * blocks))
        assert found.bad == [] and bodies(found) == [WORD, wrong, WORD] * blocks
        decoded = decode(words, found.data, found.starts, found.ends)
        assert {row: why[0] for row, why in decoded.reasons.items()} == {
            3 * b + 1: reason for b in range(blocks)
        }


@pytest.mark.parametrize("blocks", [1, 60])
def test_bytes_behind_the_last_row_make_it_bad(words, blocks):
    data, starts, ends, counts = joined([[WORD, WORD + b"\1\1"]] * blocks)
    found = both(words, data, starts, ends, counts)
    assert found.bad == []
    assert decode(words, found.data, found.starts, found.ends).good.tolist() == [True, False] * blocks


@pytest.mark.parametrize("blocks", [1, 60])
def test_a_block_with_fewer_rows_than_it_says_is_broken_there(words, blocks):
    data, starts, ends, counts = joined([[WORD, WORD]] * blocks)
    counts[-1] = 2**62
    found = both(words, data, starts, ends, counts)
    assert found.bad == [Broken(blocks - 1, 2, "truncated")] and len(found.starts) == 2 * blocks


@pytest.mark.parametrize("blocks", [1, 60])
def test_a_block_that_was_cut_anywhere_has_the_rows_before_that(plan, blocks):
    written = encoded(SCHEMA, rows(8))[5:8]
    whole = joined([written] * blocks)
    sizes = np.cumsum([len(row) for row in written])
    for cut in range(1, sizes[-1]):
        data, starts, ends, counts = whole
        ends = np.append(ends[:-1], starts[-1] + cut)
        kept = int(np.searchsorted(sizes, cut, side="right"))
        found = both(plan, data, starts, ends, counts)
        assert found.bad == [(blocks - 1, kept, "truncated")]
        assert bodies(found) == written * (blocks - 1) + written[:kept]


def test_a_number_of_rows_that_cannot_be_is_told(words):
    data, starts, ends, _ = joined([[WORD]] * 4)
    ends[2] = starts[2]
    found = both(words, data, starts, ends, np.array([0, -1, 3, 1]))
    assert found.bad == [(0, 0, "trailing_bytes"), (1, 0, "bad_length"), (2, 0, "truncated")]
    assert places(found) == [(3, 0)]
    ends[0] = starts[0]
    assert both(words, data, starts, ends, np.array([0, 1, 0, 1])).bad == []


@pytest.mark.parametrize("codec", CODECS[1:])
def test_a_block_that_cannot_be_unpacked_costs_no_other_block(plan, codec):
    values = rows(60)
    data, starts, ends, counts = blocks_of(SCHEMA, values, codec, 500)
    rest = [wanted(row) for row in values[: counts[0]] + values[counts[:2].sum() :]]
    for damage in ("cut", "grown", "flipped"):
        raw = data.copy()
        stops = ends.copy()
        if damage == "flipped":
            raw[starts[1] : ends[1]] ^= 0xA5
        else:
            stops[1] += {"cut": -6, "grown": 7}[damage]
        found = both(plan, raw, starts, stops, counts, codec)
        assert found.bad == [(1, 0, "bad_codec")], damage
        assert decode(plan, found.data, found.starts, found.ends).columns.to_pylist() == rest


def packed(codec, raw):
    if codec == "deflate":
        packer = zlib.compressobj(wbits=-15)
        return packer.compress(raw) + packer.flush()
    if codec == "snappy":
        return pa.compress(raw, codec="snappy", asbytes=True) + zlib.crc32(raw).to_bytes(4, "big")
    if codec == "zstandard":
        return pa.compress(raw, codec="zstd", asbytes=True)
    return {"bzip2": bz2, "xz": lzma}[codec].compress(raw)


@pytest.mark.parametrize("codec", CODECS[1:])
def test_a_block_is_not_unpacked_beyond_its_limit_nor_all_of_them(words, codec, monkeypatch):
    monkeypatch.setattr(container, "LARGEST_BLOCK", 10_000)
    monkeypatch.setattr(container, "LARGEST_WHOLE", 15_000)
    fits = -(-9_000 // len(WORD))
    blocks = [[WORD] * fits, [b"\0" * 50_000_000], [WORD], [WORD] * fits, [WORD]]
    raws = [packed(codec, b"".join(block)) for block in blocks]
    data, starts, ends, _ = joined([[raw] for raw in raws])
    found = both(words, data, starts, ends, np.array([fits, 7, 1, fits, 1]), codec)
    assert found.bad == [(1, 0, "too_large"), (3, 0, "too_large")]
    assert len(found.data) < 10_000 and bodies(found) == [WORD] * (fits + 2)


def test_a_snappy_block_is_held_against_its_checksum(words):
    raw = packed("snappy", WORD)
    data, starts, ends, counts = joined([[raw[:-1] + bytes([raw[-1] ^ 1])], [raw], [b"\1\2"], [b"\xff" * 9]])
    found = both(words, data, starts, ends, counts, "snappy")
    assert found.bad == [(block, 0, "bad_codec") for block in (0, 2, 3)] and bodies(found) == [WORD]


def test_in_mutated_blocks_rows_before_the_damage_stay(plan):
    rng = np.random.default_rng(11)
    written = encoded(SCHEMA, rows(40))
    changed = 0
    for _ in range(60):
        blocks = [[written[i] for i in rng.integers(40, size=rng.integers(1, 12))] for _ in range(50)]
        data, starts, ends, counts = joined(blocks)
        data = data.copy()
        hits = np.sort(rng.choice(len(data), 40, replace=False))
        data[hits] ^= 1 << rng.integers(0, 8, 40).astype(np.uint8)
        found = both(plan, data, starts, ends, counts)
        got = dict(zip(places(found), bodies(found), strict=True))
        for block, begin in enumerate(starts.tolist()):
            at = begin
            for row, body in enumerate(blocks[block]):
                if np.searchsorted(hits, at) != np.searchsorted(hits, at + len(body)):
                    break
                assert got[block, row] == body
                at += len(body)
        lost = {one.block: one.row for one in found.bad}
        assert all(
            (block, row) in got for block in range(50) for row in range(lost.get(block, counts[block]))
        )
        assert all(row < lost.get(block, counts[block]) for block, row in got)
        decode(plan, found.data, found.starts, found.ends)
        changed += len(lost)
    assert changed > 100


def test_rows_are_found_some_blocks_at_a_time(words, monkeypatch):
    monkeypatch.setattr(container, "_AT_ONCE", 7)
    found = both(words, *joined([[WORD] * 2] * 300))
    assert found.bad == [] and bodies(found) == [WORD] * 600


def test_blocks_may_stand_in_any_order(words):
    written = [[WORD, WORD[:-3] + b"\0"] * (1 + i % 40) for i in range(90)]
    data, starts, ends, counts = joined(written)
    order = np.random.default_rng(5).permutation(90)
    found = both(words, data, starts[order], ends[order], counts[order])
    assert bodies(found) == [row for block in order for row in written[block]]


# --- what is fast against what is slow


def varint(value):
    """Return a number as Avro has it."""
    raw, out = (value << 1) ^ (value >> 63), b""
    while raw > 127:
        raw, out = raw >> 7, out + bytes([raw & 127 | 128])
    return out + bytes([raw])


def stretched(number, more):
    """Return a number with bytes that it does not need."""
    return number[:-1] + (bytes([number[-1] | 128]) + b"\x80" * (more - 1) + b"\0" if more else number[-1:])


numerals = st.one_of(
    st.integers(-64, 63),
    st.sampled_from([64, -65, 2**13, 2**41, 2**48, 2**55, 2**62, -(2**63), 2**63 - 1]),
).map(varint)
odd_numerals = st.builds(stretched, numerals, st.sampled_from([0, 0, 0, 1, 4, 8, 9, 10, 14]))
lengths = st.sampled_from([0, 1, 2, 5, 16, 63, 64, 65, 130, 8191, 8192, 8300])


def plain(kind):
    widths = {"null": 0, "float": 4, "double": 8}
    if kind in ("string", "bytes"):
        extra = st.sampled_from([0, 0, 0, 1, 2, 7])
        return st.builds(lambda n, more: stretched(varint(n), more) + b"\xc3" * n, lengths, extra)
    if kind == "boolean":
        return st.sampled_from([b"\0", b"\1", b"\7"])
    return st.binary(min_size=widths[kind], max_size=widths[kind]) if kind in widths else odd_numerals


def bodies_of(schema):
    """Return what makes values of a schema as bytes, odd ones that may be skipped among them."""
    if isinstance(schema, list):
        return st.one_of(
            *(bodies_of(one).map(varint(number).__add__) for number, one in enumerate(schema)),
        )
    if isinstance(schema, str):
        return plain(schema)
    if schema["type"] == "record":
        return st.tuples(*(bodies_of(field["type"]) for field in schema["fields"])).map(b"".join)
    if schema["type"] == "fixed":
        return st.binary(min_size=schema["size"], max_size=schema["size"])
    if schema["type"] == "enum":
        return odd_numerals
    item = bodies_of(schema["items" if schema["type"] == "array" else "values"])
    if schema["type"] == "map":
        item = st.builds(bytes.__add__, plain("string"), item)
    return st.lists(blocks_of_items(item), max_size=2).map(lambda blocks: b"".join(blocks) + b"\0")


def blocks_of_items(item):
    def block(items, sized, repeat):
        items, raw = items * repeat, b"".join(items) * repeat
        return varint(-len(items)) + varint(len(raw)) + raw if sized else varint(len(items)) + raw

    sized, repeat = st.sampled_from([False] * 4 + [True]), st.sampled_from([1] * 9 + [40])
    return st.builds(block, st.lists(item, min_size=1, max_size=3), sized, repeat)


@st.composite
def schemas(draw):
    """Return a record of anything."""
    names = iter(f"n{i}" for i in range(10_000))

    def some(depth, also=()):
        kinds = ["boolean", "int", "long", "float", "double", "bytes", "string", "enum", "fixed", *also]
        kinds += ["record", "array", "map", "union", "union"] * (depth < 3)
        kind = draw(st.sampled_from(kinds))
        if kind == "union":
            return union(depth)
        if kind == "array":
            return {"type": kind, "items": some(depth + 1)}
        if kind == "map":
            return {"type": kind, "values": some(depth + 1)}
        if kind == "record":
            return record(depth + 1)
        if kind == "fixed":
            return {"type": kind, "name": next(names), "size": draw(st.sampled_from([1, 3, 70]))}
        return {"type": kind, "name": next(names), "symbols": ["a", "b"]} if kind == "enum" else kind

    def union(depth):
        inner = [
            one for one in (some(depth + 1) for _ in range(draw(st.integers(1, 3)))) if type(one) is not list
        ]
        inner.insert(draw(st.integers(0, len(inner))), "null")
        return inner

    def record(depth):
        fields = [some(depth) for _ in range(draw(st.integers(1, 4)))]
        fields += draw(st.sampled_from([[], ["long", "int"], ["int", "long", "long", "int"]]))
        fields.insert(0, draw(st.sampled_from(["boolean", "long", "string"])))
        return {
            "type": "record",
            "name": next(names),
            "fields": [{"name": f"f{i}", "type": one} for i, one in enumerate(fields)],
        }

    return record(0)


def damaged(rng, raw):
    at = rng.randrange(len(raw))
    byte = bytes([rng.choice([0, 1, 2, 3, 4, 5, 6, 0x7E, 0x7F, 0x80, 0x81, 0xFE, 0xFF, rng.randrange(256)])])
    return {
        "set": raw[:at] + byte + raw[at + 1 :],
        "more": raw[:at] + byte * rng.randrange(1, 12) + raw[at:],
        "less": raw[:at] + raw[at + rng.randrange(1, 12) :],
        "cut": raw[:at],
        "same": raw,
    }[rng.choice(["set", "set", "more", "less", "cut", "same"])]


@given(st.data(), schemas(), st.randoms(use_true_random=False))
@settings(max_examples=150, deadline=None)
def test_whatever_the_schema_and_the_damage_rows_end_where_they_do_one_by_one(data, schema, rng):
    plan = compile_plan(schema, {}, Limits())
    written = data.draw(st.lists(bodies_of(schema), min_size=1, max_size=5))
    found = both(plan, *joined([written] * 2))
    assert found.bad == [] and bodies(found) == written * 2
    for _ in range(20):
        raws = [b"".join(written) for _ in range(3)]
        raws[1] = damaged(rng, damaged(rng, raws[1]) or b"\0")
        spans = joined([[raw] for raw in raws])
        both(plan, *spans[:3], np.array([len(written), len(written) + rng.randrange(-1, 2), len(written)]))


def alone_refused(plan, monkeypatch):
    def refuse(raw, at, end):
        raise AssertionError(f"the row at {at} was looked at by itself")

    monkeypatch.setattr(plan.skip, "_skip", refuse)


def test_usual_rows_are_not_looked_at_one_by_one(monkeypatch):
    for schema, values in (
        (SCHEMA, rows(300)),
        (
            ODD,
            [{"id": "i" * i, "tags": {f"k{j}": [None, j, "t"][j % 3] for j in range(i)}} for i in range(90)],
        ),
    ):
        plan = compile_plan(schema, {}, Limits())
        alone_refused(plan, monkeypatch)
        spans = blocks_of(schema, values, "null", 5_000)
        assert bodies(row_spans(plan, *spans, "null")) == encoded(schema, values)


def nested(levels, innermost, wrap):
    for _ in range(levels):
        innermost = wrap(innermost)
    return {"type": "record", "name": "N", "fields": [{"name": "f", "type": innermost}]}


@pytest.mark.parametrize("levels", [1, 8, 9, 12, 40])
def test_arrays_in_arrays_have_rows_however_deep(levels):
    schema = nested(levels, "string", lambda inner: {"type": "array", "items": inner})
    plan = compile_plan(schema, {}, Limits())
    row = b"\2" * levels + b"\4ab" + b"\0" * levels
    assert bodies(both(plan, *joined([[row] * 3]))) == [row] * 3


@pytest.mark.parametrize("items", ["boolean", "long", "string"])
def test_an_array_may_end_with_a_zero_of_two_bytes(items):
    plan = compile_plan(nested(0, {"type": "array", "items": items}, None), {}, Limits())
    written = [b"\x80\0", b"\2\0\0", b"\2\0\x80\0", b"\x80\0"]
    assert bodies(both(plan, *joined([written]))) == written


def test_arrays_have_rows_however_long(monkeypatch):
    for items in ("boolean", "long", "string"):
        schema = nested(0, {"type": "array", "items": items}, None)
        item = {"boolean": b"\1", "long": b"\x82\1", "string": b"\4ab"}[items]
        written = [varint(n) + item * n + b"\0" for n in (1, 63, 64, 65, 127, 128, 129, 9_000)]
        plan = compile_plan(schema, {}, Limits())
        alone_refused(plan, monkeypatch)
        assert bodies(row_spans(plan, *joined([written]), "null")) == written


@pytest.mark.parametrize("huge", [2**31, 2**62, 2**63 - 1, -(2**63)])
@pytest.mark.parametrize("first", ["string", "items"])
def test_lengths_that_are_larger_than_an_index_are_told_as_one_by_one(first, huge):
    wide = {"type": "fixed", "name": "F", "size": 2**31 - 1}
    kind = "string" if first == "string" else {"type": "array", "items": wide}
    inner = {
        "type": "record",
        "name": "I",
        "fields": [{"name": f"f{i}", "type": one} for i, one in enumerate([kind, "long", "long", "long"])],
    }
    plan = compile_plan(nested(0, inner, None), {}, Limits())
    found = both(plan, *joined([[b"\0" * 4, varint(huge) + b"\0" * 40]]))
    assert len(found.bad) == 1 and found.bad[0][:2] == (0, 1)


def test_records_in_unions_have_rows_however_deep():
    names = iter(f"R{i}" for i in range(99))

    def wrap(inner):
        return ["null", {"type": "record", "name": next(names), "fields": [{"name": "g", "type": inner}]}]

    plan = compile_plan(nested(30, ["null", "string"], wrap), {}, Limits())
    written = [b"\2" * 31 + b"\4ab", b"\2" * 5 + b"\0", b"\0"]
    assert bodies(both(plan, *joined([written]))) == written


@pytest.mark.parametrize("fields", [900, 1_100])
def test_records_have_rows_however_wide(fields, monkeypatch):
    schema = {
        "type": "record",
        "name": "W",
        "fields": [{"name": f"f{i}", "type": ["long", "string"][i % 2]} for i in range(fields)],
    }
    plan = compile_plan(schema, {}, Limits())
    row = b"\x82\1\4ab" * (fields // 2)
    if fields < 1_000:
        alone_refused(plan, monkeypatch)
        assert bodies(row_spans(plan, *joined([[row] * 3]), "null")) == [row] * 3
    else:
        assert bodies(both(plan, *joined([[row] * 3]))) == [row] * 3


@pytest.mark.parametrize("branches", [32, 33, 100])
def test_unions_have_rows_however_wide(branches):
    kinds = [{"type": "fixed", "name": f"F{i}", "size": i} for i in range(branches - 1)]
    for last in ("long", "string"):
        plan = compile_plan(nested(0, [*kinds, last], None), {}, Limits())
        written = [varint(i) + b"x" * i for i in range(branches - 1)] + [
            varint(branches - 1) + b"\2x"[: 1 + (last == "string")]
        ]
        assert bodies(both(plan, *joined([written]))) == written
        assert both(plan, *joined([[*written, varint(branches)]])).bad == [(0, branches, "bad_union")]

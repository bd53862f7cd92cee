"""Record batches read as columns say what kafka-python's own reading of each record says."""

from dataclasses import dataclass, replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stream_mtl.connectors.backlog import Backlog
from stream_mtl.connectors.base import Unreadable
from stream_mtl.connectors.headers import Headers, pack_headers, parse_headers
from stream_mtl.connectors.recordbatch import Batch, Chunk, chunk, nothing, parse

pytest.importorskip("kafka")

from kafka.record.default_records import DefaultRecordBatch, DefaultRecordBatchBuilder


@dataclass(frozen=True)
class Row:
    position: int
    time: int
    key: bytes | None
    value: bytes  # a null value is an empty span
    headers: Headers = ()


def written(records: list[tuple], base: int, appended: bool) -> tuple[Batch, list[Row]]:
    """Write records (delta, time, key, value, headers) as kafka-python does; return the batch, and what it reads."""
    builder = DefaultRecordBatchBuilder(2, 0, False, -1, -1, -1, 1 << 30)
    for delta, time, key, value, headers in records:
        builder.append(delta, time, key, value, headers)
    raw = bytes(builder.build())
    batch = DefaultRecordBatch(raw)
    rows = [Row(base + r.offset, r.timestamp, r.key, r.value or b"", tuple(r.headers)) for r in batch]
    moment = batch.max_timestamp if appended else batch.first_timestamp
    if appended:
        rows = [replace(row, time=moment) for row in rows]
    after = base + records[-1][0] + 1
    return Batch(raw[builder.header_size_in_bytes() :], len(records), base, after, moment, appended), rows


def rows(part: Chunk) -> list[Row]:
    data = part.data.tobytes()
    return [
        Row(int(p), int(t), None if k < 0 else data[k:ke], data[s:e], parse_headers(memoryview(data), h, he))
        for p, t, k, ke, s, e, h, he in zip(
            *(part.positions, part.times, part.keys, part.key_ends, part.starts, part.ends),
            *(part.headers, part.header_ends),
            strict=True,
        )
    ]


payloads = st.one_of(
    st.none(), st.binary(max_size=3), st.integers(0, 9_000).map(bytes), st.binary(min_size=60, max_size=70)
)
headers = st.lists(st.tuples(st.text(max_size=5), st.binary(max_size=80)), max_size=3)
records = st.tuples(
    st.integers(1, 1 << 20), st.integers(0, 1 << 45), payloads, payloads, st.one_of(st.just([]), headers)
)


@st.composite
def batches(draw):
    made, base = [], draw(st.integers(0, 1 << 50))
    for _ in range(draw(st.integers(1, 4))):
        delta, some = -1, []
        for gap, *rest in draw(st.lists(records, min_size=1, max_size=12)):
            delta = min(delta + draw(st.sampled_from([1, 1, 1, gap])), (1 << 31) - 1)
            some.append((delta, *rest))
        made.append(written(some, base, draw(st.booleans())))
        base = made[-1][0].next
    return made


@given(made=batches())
def test_columns_say_what_the_plain_iterator_says(made):
    [part] = parse([batch for batch, _ in made])
    assert rows(part) == [row for _, expected in made for row in expected]
    assert part.next == made[-1][0].next


@given(made=batches(), data=st.data())
def test_a_bad_batch_costs_itself_only(made, data):
    number = data.draw(st.integers(0, len(made) - 1))
    batch, expected = made[number]
    spoilt = bytearray(batch.data)
    at = data.draw(st.integers(0, len(spoilt) - 1))
    spoilt[at] ^= data.draw(st.integers(1, 255))
    made[number] = (
        Batch(bytes(spoilt), batch.count, batch.base, batch.next, batch.time, batch.appended),
        expected,
    )
    parts = parse([batch for batch, _ in made])
    assert parts[-1].next == made[-1][0].next
    read = [row for part in parts for row in rows(part) if not batch.base <= row.position < batch.next]
    assert read == [row for i, (_, expected) in enumerate(made) if i != number for row in expected]


@pytest.mark.parametrize("count", [2, 4])
def test_a_batch_with_more_or_fewer_records_than_it_says_is_unreadable(count):
    batch, _ = written([(n, n, None, b"abc", []) for n in range(3)], 10, False)
    [part] = parse([Batch(batch.data, count, 10, 13, 0)])
    assert len(part) == 0
    assert part.unreadable is not None
    assert (part.unreadable.begin, part.unreadable.end, part.unreadable.value) == (10, 13, batch.data)


def test_a_batch_without_records_leads_over_its_gap():
    [part] = parse([Batch(b"", 0, 10, 20, 0)])
    assert (len(part), part.next) == (0, 20)


@given(made=batches(), data=st.data())
def test_a_backlog_gives_every_record_once_from_where_it_was_sought(made, data):
    expected = [row for _, some in made for row in some]
    begin = data.draw(st.sampled_from(expected)).position + data.draw(st.integers(0, 1))
    backlog = Backlog(begin)
    for batch, _ in made:
        for part in parse([batch]):
            backlog.add(part)
    read: list[Row] = []
    while (part := backlog.take(data.draw(st.integers(1, 5)))) is not None:
        read += rows(part)
        assert part.next > part.positions[-1]
    assert read == [row for row in expected if row.position >= begin]
    assert backlog.size == 0
    assert backlog.fetched == max(begin, made[-1][0].next)


def test_what_is_unreadable_keeps_its_place_among_the_records():
    gap = Unreadable(1, 3, "why")
    backlog = Backlog(0)
    for part in [chunk([b"a"], [None], [0], [5]), nothing(gap), chunk([b"b"], [b"k"], [3], [6])]:
        backlog.add(part)
    taken = [backlog.take(10) for _ in range(3)]
    assert [part.unreadable for part in taken] == [None, gap, None]
    assert [part.next for part in taken] == [1, 3, 4]
    assert backlog.take(1) is None


@settings(max_examples=50)
@given(st.lists(st.tuples(payloads, payloads, st.integers(0, 9), headers), min_size=1, max_size=9))
def test_single_records_make_the_same_chunk(some):
    keys, values, times, heads = zip(*some, strict=True)
    part = chunk(values, keys, range(5, 5 + len(some)), times, heads)
    assert rows(part) == [Row(5 + n, t, k, v or b"", tuple(h)) for n, (k, v, t, h) in enumerate(some)]
    assert part.next == 5 + len(some)


@given(st.lists(st.tuples(st.text(max_size=9), st.one_of(st.none(), st.binary(max_size=300))), max_size=80))
def test_headers_come_back_as_they_were_packed(some):
    packed = pack_headers(some)
    assert parse_headers(memoryview(packed), 0, len(packed)) == tuple(some)


@given(st.binary(max_size=40))
def test_headers_that_are_none_are_none(data):
    parse_headers(memoryview(data), 0, len(data))
    assert parse_headers(memoryview(b"\x02\xff"), 0, 2) == ()

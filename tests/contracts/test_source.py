"""What every source promises, once for all of them."""

import gzip
import io
import zlib
from collections.abc import Callable, Sequence
from pathlib import Path

import fastavro
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from stream_mtl.connectors.base import Format, Records, Source
from stream_mtl.connectors.files import FileSource
from stream_mtl.connectors.kafka_reader import Topic
from stream_mtl.connectors.memory import MemorySource
from stream_mtl.errors import PositionOutOfRange
from stream_mtl.testing import END, FaultySource, ScriptedSource
from tests.topics import Topics

SCHEMA = fastavro.parse_schema({"type": "record", "name": "Row", "fields": [{"name": "n", "type": "long"}]})
BLOCK = 3  # rows of a container block


def memory(folder: Path, parts: Sequence[Sequence[int]]) -> Source:
    source = MemorySource("s", Format("json"), len(parts))
    for number, rows in enumerate(parts):
        source.append([str(n).encode() for n in rows], number)
    source.end()
    return source


def scripted(folder: Path, parts: Sequence[Sequence[int]]) -> Source:
    return ScriptedSource("s", [[*(str(n).encode() for n in rows), END] for rows in parts])


def faulty(folder: Path, parts: Sequence[Sequence[int]]) -> Source:
    return FaultySource(memory(folder, parts), {})


def files(
    write: Callable[[Path, Sequence[int]], None], ending: str, per_file: int
) -> Callable[[Path, Sequence[Sequence[int]]], Source]:
    def build(folder: Path, parts: Sequence[Sequence[int]]) -> Source:
        for number, rows in enumerate(parts):
            (folder / str(number)).mkdir(parents=True)
            for first in range(0, max(len(rows), 1), per_file):
                write(folder / str(number) / f"{first:04d}{ending}", rows[first : first + per_file])
        return FileSource("s", folder, chunk=23)

    return build


def plain(path: Path, rows: Sequence[int]) -> None:
    path.write_bytes(b"".join(b"%d\n" % n for n in rows))


def packed(path: Path, rows: Sequence[int]) -> None:
    path.write_bytes(gzip.compress(b"\r\n".join(b"%d" % n for n in rows)))


def headed(path: Path, rows: Sequence[int]) -> None:
    path.write_bytes(b"n\n" + b"".join(b"%d\n" % n for n in rows))


def container(codec: str) -> Callable[[Path, Sequence[int]], None]:
    def write(path: Path, rows: Sequence[int]) -> None:
        out = io.BytesIO()
        writer = fastavro.write.Writer(out, SCHEMA, codec=codec, sync_interval=1 << 20)
        for at, n in enumerate(rows, 1):
            writer.write({"n": n})
            if at % BLOCK == 0:
                writer.dump()
        writer.flush()
        path.write_bytes(out.getvalue())

    return write


def kafka(topics: Topics, parts: Sequence[Sequence[int]]) -> Source:
    topic = Topic(topics.numbers(parts), Format("json"))
    return topics.kafka.reader({"s": topic}, follow=False).sources["s"]


SOURCES = {
    "memory": memory,
    "scripted": scripted,
    "faulty": faulty,
    "jsonl": files(plain, ".jsonl", 1_000),
    "jsonl in files of 2": files(plain, ".ndjson", 2),
    "json.gz, CRLF, no last newline": files(packed, ".json.gz", 7),
    "csv": files(headed, ".csv", 4),
    "avro": files(container("null"), ".avro", 8),
    "avro deflate": files(container("deflate"), ".avro", 1_000),
    "kafka": kafka,
}


@pytest.fixture(params=SOURCES.values(), ids=SOURCES)
def build(request):
    opened: list[Source] = []
    topics = request.getfixturevalue("topics") if request.param is kafka else None

    def make(folder: Path, parts: Sequence[Sequence[int]]) -> Source:
        opened.append(request.param(topics or folder, parts))
        return opened[-1]

    yield make
    for source in opened:
        source.close()


def rows(batch: Records) -> list[tuple[int, int]]:
    """Return (position, number) of every row that counts as read, decoding the slow way."""
    out: list[tuple[int, int]] = []
    for i, first in enumerate(batch.positions.tolist()):
        span = batch.data[batch.starts[i] : batch.ends[i]].tobytes()
        if batch.counts is None:
            out.append((first, int(span)))
            continue
        stream = io.BytesIO(zlib.decompress(span, wbits=-15) if batch.format.codec == "deflate" else span)
        read = [fastavro.schemaless_reader(stream, SCHEMA)["n"] for _ in range(batch.counts[i])]  # type: ignore[call-arg,index]
        out.extend(enumerate(read, first))
    return out[batch.skip :]


def drain(source: Source, limit: int = 1_000) -> dict[int, list[tuple[int, int]]]:
    read: dict[int, list[tuple[int, int]]] = {number: [] for number in source.partitions()}
    for _ in range(10_000):
        batches = source.poll(limit)
        if not batches and source.ended():
            return read
        for batch in batches:
            read[batch.partition].extend(rows(batch))
    raise AssertionError("the source does not end")


@pytest.mark.parametrize("limit", [1, 4, 1_000])
def test_every_record_is_read_once_in_order_at_its_position(build, tmp_path, limit):
    parts = [list(range(100, 120)), [], list(range(7))]
    assert drain(build(tmp_path, parts), limit) == {i: list(enumerate(p)) for i, p in enumerate(parts)}


def test_a_poll_gives_at_most_the_limit_or_to_the_end_of_a_block(build, tmp_path):
    source = build(tmp_path, [list(range(50)), list(range(9))])
    while not source.ended():
        batches = source.poll(4)
        total = sum(map(len, batches))
        over = BLOCK - 1 if any(batch.counts is not None for batch in batches) else 0
        assert total <= 4 + over
        assert total == sum(len(rows(batch)) for batch in batches)


def test_reading_goes_on_at_the_position_that_was_sought(build, tmp_path):
    source = build(tmp_path, [list(range(20)), list(range(5))])
    for position in [20, 0, 7, 6, 19, 8, 1]:
        source.seek({0: position, 1: 2})
        assert drain(source, 6) == {
            0: [(n, n) for n in range(position, 20)],
            1: [(2, 2), (3, 3), (4, 4)],
        }


def test_seeking_one_partition_leaves_the_others_where_they_are(build, tmp_path):
    source = build(tmp_path, [list(range(6)), list(range(6))])
    drain(source)
    source.seek({1: 4})
    assert drain(source) == {0: [], 1: [(4, 4), (5, 5)]}


def test_a_batch_leads_to_where_the_next_one_begins(build, tmp_path):
    source = build(tmp_path, [list(range(20))])
    position = 0
    while not source.ended():
        for batch in source.poll(3):
            assert batch.source == "s"
            assert [p for p, _ in rows(batch)] == list(range(position, batch.next))
            position = batch.next
    assert position == 20


@pytest.mark.parametrize("position", [-1, 21, 10**12])
def test_a_position_that_the_log_does_not_hold_is_refused_with_both_numbers(build, tmp_path, position):
    source = build(tmp_path, [list(range(20))])
    with pytest.raises(PositionOutOfRange, match=rf"0 to 20, asked for {position}\b"):
        source.seek({0: position})


def test_a_partition_that_does_not_exist_is_refused(build, tmp_path):
    with pytest.raises(PositionOutOfRange, match="3"):
        build(tmp_path, [[1]]).seek({3: 0})


def test_a_paused_partition_gives_nothing_and_keeps_the_source_from_ending(build, tmp_path):
    source = build(tmp_path, [[1, 2, 3], [4, 5, 6]])
    read = []
    for _ in range(20):
        read += [row for batch in source.poll(2, paused=frozenset({1})) for row in rows(batch)]
    assert read == [(0, 1), (1, 2), (2, 3)]
    assert not source.ended()
    assert drain(source) == {0: [], 1: [(0, 4), (1, 5), (2, 6)]}


def test_every_partition_has_its_turn_once_in_as_many_polls_as_there_are_partitions(build, tmp_path):
    source = build(tmp_path, [list(range(60)) for _ in range(3)])
    for _ in range(6):
        read = dict.fromkeys(range(3), 0)
        for batch in [batch for _ in range(3) for batch in source.poll(6)]:
            read[batch.partition] += len(batch)
        assert all(6 <= count < 6 + BLOCK for count in read.values())


def test_a_source_may_be_closed_twice(build, tmp_path):
    source = build(tmp_path, [[1]])
    source.poll(1)
    source.close()
    source.close()


def test_an_empty_log_ends(build, tmp_path):
    assert drain(build(tmp_path, [[]])) == {0: []}


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_no_way_of_polling_changes_what_is_read(build, tmp_path_factory, data):
    sizes = data.draw(st.lists(st.integers(0, 25), min_size=1, max_size=3))
    source = build(tmp_path_factory.mktemp("log") / "in", [list(range(size)) for size in sizes])
    read: dict[int, list[tuple[int, int]]] = {number: [] for number in source.partitions()}
    numbers = st.sampled_from(source.partitions())
    for _ in range(data.draw(st.integers(0, 8))):
        if data.draw(st.booleans()):
            number = data.draw(numbers)
            position = data.draw(st.integers(0, len(read[number])))
            source.seek({number: position})
            del read[number][position:]
        for batch in source.poll(data.draw(st.integers(1, 12)), data.draw(st.frozensets(numbers))):
            read[batch.partition].extend(rows(batch))
    for number, rest in drain(source, 5).items():
        read[number].extend(rest)
    assert read == {number: [(n, n) for n in range(size)] for number, size in enumerate(sizes)}

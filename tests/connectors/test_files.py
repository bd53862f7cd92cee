"""What a log of files promises beyond what every source does."""

import gzip
import io
from pathlib import Path
from typing import Any

import fastavro
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stream_mtl.connectors.base import Format
from stream_mtl.connectors.files import FileSource
from stream_mtl.connectors.folders import FileFormat
from stream_mtl.connectors.lines import LineReader
from stream_mtl.errors import ConfigError, DataError, PositionOutOfRange
from stream_mtl.testing import drain, values

SCHEMA = fastavro.parse_schema({"type": "record", "name": "Row", "fields": [{"name": "n", "type": "long"}]})


def container(rows: int, per_block: int = 4, codec: str = "null") -> bytes:
    out = io.BytesIO()
    writer = fastavro.write.Writer(out, SCHEMA, codec=codec, sync_interval=1 << 20)
    for n in range(rows):
        writer.write({"n": n})
        if (n + 1) % per_block == 0:
            writer.dump()
    writer.flush()
    return out.getvalue()


@pytest.fixture
def open_source():
    opened: list[FileSource] = []

    def build(*args: Any, **options: Any) -> FileSource:
        opened.append(FileSource(*args, **options))
        return opened[-1]

    yield build
    for source in opened:
        source.close()


def lines(source: FileSource) -> list[bytes]:
    return values(drain(source))


def write(path: Path, data: bytes) -> None:
    """Write beside, then rename, as whoever feeds a live folder must."""
    beside = path.with_name(path.name + ".tmp")
    beside.write_bytes(data)
    beside.rename(path)


def test_files_are_read_in_name_order_whatever_their_format(open_source, tmp_path):
    (tmp_path / "c.csv").write_bytes(b"n,m\n5,6\n")
    (tmp_path / "a.jsonl").write_bytes(b"1\n2\n")
    (tmp_path / "b.ndjson.gz").write_bytes(gzip.compress(b"3\n4\n", mtime=0))
    (tmp_path / "d.avro").write_bytes(container(3))
    batches = drain(open_source("s", tmp_path))
    assert [batch.format.encoding for batch in batches] == ["json", "json", "csv", "avro-container"]
    assert values(batches[:3]) == [b"1", b"2", b"3", b"4", b"5,6"]
    assert [batch.positions.tolist() for batch in batches] == [[0, 1], [2, 3], [4], [5]]
    assert batches[-1].next == 8


def test_a_container_brings_its_schema_and_codec_and_a_csv_file_its_header(open_source, tmp_path):
    (tmp_path / "a.avro").write_bytes(container(3, codec="deflate"))
    (tmp_path / "b.csv").write_bytes(b"\xef\xbb\xbfuser,item\r\n1,2\r\n")
    avro, csv = drain(open_source("s", tmp_path))
    assert b'"Row"' in (avro.format.schema or b"")
    assert avro.format.codec == "deflate"
    assert csv.format.schema == b"user,item"
    assert values([csv]) == [b"1,2"]


def test_hidden_and_unfinished_files_do_not_exist(open_source, tmp_path):
    for name in [".a.jsonl", "b.jsonl.tmp", "_SUCCESS", "notes.txt"]:
        (tmp_path / name).write_bytes(b"no\n")
    (tmp_path / "c.jsonl").write_bytes(b"yes\n")
    assert lines(open_source("s", tmp_path)) == [b"yes"]


def test_folders_named_by_integers_are_partitions(open_source, tmp_path):
    for name in ["p0", "p1", "p10"]:
        (tmp_path / name).mkdir()
        (tmp_path / name / "a.jsonl").write_bytes(name.encode() + b"\n")
    (tmp_path / "other").mkdir()
    source = open_source("s", tmp_path)
    assert source.partitions() == (0, 1, 10)
    assert {b.partition: values([b]) for b in drain(source)} == {0: [b"p0"], 1: [b"p1"], 10: [b"p10"]}


@pytest.mark.parametrize("beside", ["p0/a.jsonl", "loose.jsonl"])
def test_a_folder_whose_partitions_are_in_doubt_is_refused(open_source, tmp_path, beside):
    for name in ["0/a.jsonl", beside]:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"1\n")
    with pytest.raises(ConfigError, match="partition"):
        open_source("s", tmp_path)


def test_a_glob_is_one_log_in_path_order(open_source, tmp_path):
    for name in ["2019/b.jsonl", "2019/a.jsonl", "2020/a.jsonl", "2020/a.csv", ".2021/a.jsonl"]:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(name.encode() + b"\n")
    source = open_source("s", tmp_path / "*" / "*.jsonl")
    assert source.partitions() == (0,)
    assert lines(source) == [b"2019/a.jsonl", b"2019/b.jsonl", b"2020/a.jsonl"]
    assert lines(open_source("s", tmp_path / "2019" / "b.jsonl")) == [b"2019/b.jsonl"]


def test_nothing_found_is_an_error_that_names_the_pattern_and_the_nearest_folder(open_source, tmp_path):
    pattern = tmp_path / "events" / "clicks" / "*.avro"
    with pytest.raises(ConfigError) as error:
        open_source("s", pattern)
    assert str(pattern) in str(error.value)
    assert str(error.value).endswith(f"is {tmp_path}")


def test_a_glob_that_names_a_file_of_no_known_format_is_an_error(open_source, tmp_path):
    (tmp_path / "a.parquet").write_bytes(b"PAR1")
    with pytest.raises(ConfigError, match=r"a\.parquet"):
        open_source("s", tmp_path / "*.parquet")


@pytest.mark.parametrize(
    ("name", "data", "encoding"),
    [
        ("a.data", b"n\n1\n2\n", "csv"),
        ("a.data.gz", gzip.compress(b"n\n1\n2\n", mtime=0), "csv"),
        ("a", b"1\n2\n", "json"),
        ("a.2024-01-01", container(2), "avro-container"),
    ],
)
def test_a_file_whose_name_says_nothing_is_read_as_is_said_of_it(open_source, tmp_path, name, data, encoding):
    (tmp_path / name).write_bytes(data)
    for pattern in (tmp_path, tmp_path / "a*", tmp_path / name):
        (batch,) = drain(open_source("s", pattern, format=FileFormat(encoding)))
        assert (batch.format.encoding, batch.next) == (encoding, 2)
        assert encoding == "avro-container" or values([batch]) == [b"1", b"2"]
    if name != "a":
        with pytest.raises(ConfigError, match='format = "csv"'):
            open_source("s", tmp_path / "a*")


def test_a_name_that_says_its_format_is_believed(open_source, tmp_path):
    (tmp_path / "a.jsonl").write_bytes(b"1\n")
    (tmp_path / "b.data").write_bytes(b"n\n2\n")
    batches = drain(open_source("s", tmp_path, format=FileFormat("csv")))
    assert [(batch.format.encoding, values([batch])) for batch in batches] == [
        ("json", [b"1"]),
        ("csv", [b"2"]),
    ]


@pytest.mark.parametrize("chunk", [1, 3, 100])
def test_a_csv_file_without_a_header_is_rows_from_its_first_line_on(open_source, tmp_path, chunk):
    (tmp_path / "a.csv").write_bytes(b"\xef\xbb\xbf1,2\n\n3,4\n")
    (tmp_path / "b.csv").write_bytes(b"5,6\n")
    source = open_source("s", tmp_path, format=FileFormat(header=False), chunk=chunk)
    batches = drain(source)
    assert {batch.format for batch in batches} == {Format("csv")}
    assert values(batches) == [b"1,2", b"3,4", b"5,6"]
    assert np.concatenate([batch.positions for batch in batches]).tolist() == [0, 2, 3]
    source.seek({0: 3})
    assert lines(source) == [b"5,6"]


def test_a_blank_line_takes_a_position_and_is_no_record(open_source, tmp_path):
    (tmp_path / "a.jsonl").write_bytes(b"\n1\n\r\n\n2\n\n")
    (tmp_path / "b.jsonl").write_bytes(b"3\n")
    first, second = drain(open_source("s", tmp_path))
    assert (values([first]), first.positions.tolist(), first.next) == ([b"1", b"2"], [1, 4], 6)
    assert (values([second]), second.positions.tolist(), second.next) == ([b"3"], [6], 7)


@settings(max_examples=200, deadline=None)
@given(
    text=st.lists(st.sampled_from([b"a", b"bc", b"\n", b"\r\n", b"\r", b"ddddddd"]), max_size=40).map(
        b"".join
    ),
    chunk=st.integers(1, 12),
)
def test_lines_are_those_of_the_whole_text_whatever_the_chunk(tmp_path_factory, text, chunk):
    path = tmp_path_factory.mktemp("lines") / "a.jsonl"
    path.write_bytes(text)
    reader = LineReader(path, "json", chunk)
    read = []
    while (part := reader.read(final=True)) is not None:
        read += [
            (row, part.data[start:end].tobytes())
            for row, start, end in zip(part.rows, part.starts, part.ends, strict=True)
        ]
    reader.close()
    whole = [line.removesuffix(b"\r") for line in text.split(b"\n")]
    assert read == [(row, line) for row, line in enumerate(whole) if line]
    assert reader.rows == len(whole) - (whole[-1] == b"" and not text.endswith(b"\r"))


@pytest.mark.parametrize(
    ("name", "data", "says"),
    [
        ("a.avro", b"not avro at all", "no Avro object container"),
        ("a.avro", b"", "ends inside its header"),
        ("a.avro", container(3)[:20], "ends inside its header"),
        ("a.avro", b"Obj\x01\x00" + bytes(16), "without avro.schema"),
        ("a.avro", b"Obj\x01" + b"\xff" * 20, "a number does not end"),
        ("a.jsonl.gz", b'{"a": 1}\n', "no gzip file"),
        ("a.jsonl.gz", b"", "no gzip file"),
        ("a.jsonl.gz", gzip.compress(b"1\n" * 1_000, mtime=0)[:-9], "cannot be read"),
        ("a.csv", b"\n1,2\n", "header"),
        ("a.jsonl", b"x" * 300, "longer than 200 bytes"),
    ],
)
def test_a_file_that_is_not_what_its_name_says_is_an_error_that_names_it(
    open_source, tmp_path, name, data, says
):
    path = tmp_path / name
    path.write_bytes(data)
    source = open_source("s", tmp_path, chunk=64, longest=200)
    for _ in range(2):
        with pytest.raises(DataError, match=says) as error:
            drain(source)
        assert str(path) in str(error.value)


@pytest.mark.parametrize("cut", [1, 15, 16, 17, 19, 20, 21])
def test_of_a_container_that_is_cut_short_what_is_whole_is_read_first(open_source, tmp_path, cut):
    (tmp_path / "a.avro").write_bytes(container(12)[:-cut])
    source = open_source("s", tmp_path, chunk=50)
    batches = source.poll(100)
    assert sum(map(len, batches)) == 8
    with pytest.raises(
        DataError, match=r"a\.avro: ends inside the block that begins at byte \d+, after 8 rows"
    ):
        source.poll(100)


def test_a_damaged_block_is_an_error_after_the_blocks_before_it(open_source, tmp_path):
    data = bytearray(container(12))
    data[-25] ^= 0xFF  # inside the marker of the last block but one
    (tmp_path / "a.avro").write_bytes(data)
    source = open_source("s", tmp_path)
    assert sum(map(len, source.poll(100))) == 4
    with pytest.raises(DataError, match=r"a\.avro: is damaged.*byte \d+"):
        source.poll(100)


@pytest.mark.parametrize("head", [b"\x02\x01", b"\x01\x02", b"\x02" + b"\xff" * 9 + b"\x01"])
def test_a_block_of_an_impossible_size_is_never_waited_for(open_source, tmp_path, head):
    (tmp_path / "a.avro").write_bytes(container(0) + head + bytes(40))
    with pytest.raises(DataError, match=r"a\.avro"):
        drain(open_source("s", tmp_path))


def test_a_block_cannot_hold_more_rows_than_bytes(open_source, tmp_path):
    empty = container(0)
    (tmp_path / "a.avro").write_bytes(empty + b"\x08\x06abc" + empty[-16:])
    with pytest.raises(DataError, match="a block of 4 rows in 3 bytes"):
        drain(open_source("s", tmp_path))


def test_a_block_longer_than_a_chunk_is_read_whole(open_source, tmp_path):
    (tmp_path / "a.avro").write_bytes(container(5_000, per_block=5_000))
    (batch,) = drain(open_source("s", tmp_path, chunk=16))
    assert len(batch) == 5_000


def test_a_seek_into_a_block_gives_the_block_and_says_what_to_skip(open_source, tmp_path):
    (tmp_path / "a.avro").write_bytes(container(12))
    source = open_source("s", tmp_path)
    source.seek({0: 6})
    (batch,) = source.poll(1)
    assert (batch.positions.tolist(), batch.skip, len(batch), batch.next) == ([4], 2, 2, 8)
    (batch,) = source.poll(1)
    assert (batch.positions.tolist(), batch.skip, len(batch)) == ([8], 0, 4)


def test_nothing_is_copied_for_a_part_of_a_chunk(open_source, tmp_path):
    (tmp_path / "a.jsonl").write_bytes(b"1\n" * 100)
    source = open_source("s", tmp_path)
    (first,), (second,) = source.poll(10), source.poll(10)
    assert np.shares_memory(first.data, second.data)


class TestLive:
    """A folder that is followed."""

    def test_new_files_are_read_and_the_log_never_ends(self, open_source, tmp_path):
        source = open_source("s", tmp_path, follow=True)
        assert source.poll(10) == [] and not source.ended()
        for number in range(3):
            write(tmp_path / f"{number}.jsonl", b"%d\n" % number)
            assert lines(source) == [b"%d" % number]
            assert source.poll(10) == [] and not source.ended()

    def test_positions_go_on_over_files_that_came_later(self, open_source, tmp_path):
        source = open_source("s", tmp_path, follow=True)
        write(tmp_path / "0.jsonl", b"a\nb\n")
        assert drain(source)[-1].next == 2
        write(tmp_path / "1.jsonl", b"c\n")
        assert drain(source)[-1].positions.tolist() == [2]
        source.seek({0: 1})
        assert lines(source) == [b"b", b"c"]
        with pytest.raises(PositionOutOfRange, match="0 to 3, asked for 4"):
            source.seek({0: 4})

    @pytest.mark.parametrize("name", ["0.jsonl", "5.jsonl"])
    def test_a_file_that_would_change_the_positions_of_others_is_an_error(self, open_source, tmp_path, name):
        write(tmp_path / "1.jsonl", b"a\n")
        write(tmp_path / "6.jsonl", b"a\n")
        source = open_source("s", tmp_path, follow=True)
        drain(source)
        write(tmp_path / name, b"b\n")
        with pytest.raises(DataError, match=rf"{name}: came after .*6\.jsonl but sorts before"):
            drain(source)

    def test_a_file_that_goes_is_an_error(self, open_source, tmp_path):
        write(tmp_path / "0.jsonl", b"a\n")
        write(tmp_path / "1.jsonl", b"b\n")
        source = open_source("s", tmp_path, follow=True)
        drain(source)
        (tmp_path / "0.jsonl").unlink()
        with pytest.raises(DataError, match=r"0\.jsonl: has gone"):
            drain(source)

    def test_the_last_file_may_grow_and_a_part_of_a_line_waits(self, open_source, tmp_path):
        path = tmp_path / "0.jsonl"
        path.write_bytes(b"one\ntw")
        source = open_source("s", tmp_path, follow=True)
        assert lines(source) == [b"one"]
        with path.open("ab") as file:
            file.write(b"o\nthree")
        assert lines(source) == [b"two"]
        write(tmp_path / "1.jsonl", b"four\n")
        assert lines(source) == [b"three", b"four"]

    def test_a_part_of_a_block_waits_and_is_an_error_once_another_file_is_there(self, open_source, tmp_path):
        path = tmp_path / "0.avro"
        data = container(8)
        path.write_bytes(data[:-1])
        source = open_source("s", tmp_path, follow=True)
        assert sum(map(len, drain(source))) == 4
        path.write_bytes(data)
        assert sum(map(len, drain(source))) == 4
        (tmp_path / "1.avro").write_bytes(data[:-1])
        (tmp_path / "2.avro").write_bytes(data)
        assert sum(map(len, source.poll(100))) == 4
        with pytest.raises(DataError, match=r"1\.avro: ends inside"):
            source.poll(100)

    def test_a_folder_that_does_not_exist_is_refused(self, open_source, tmp_path):
        with pytest.raises(ConfigError, match="nearest folder"):
            open_source("s", tmp_path / "later", follow=True)

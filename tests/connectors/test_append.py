"""What sinks that write files promise when disks fill and processes die."""

import errno
import os

import fastavro
import pytest

from stream_mtl.connectors.append import AvroContainerSink, JsonLinesSink, whole_blocks
from stream_mtl.connectors.containers import zigzag
from stream_mtl.connectors.files import FileSource
from stream_mtl.connectors.numbered import hidden
from stream_mtl.errors import ConfigError, NotWritten, Unavailable
from stream_mtl.testing import drain, values


def crash(sink):
    """Do what the kernel does when a process dies: close the handle, and nothing else."""
    sink._files._file.close()


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_a_file_gets_its_name_when_it_is_full_and_the_next_one_is_hidden(tmp_path):
    sink = JsonLinesSink(tmp_path, roll=8)
    for number in range(5):
        sink.add(b"%03d" % number)
        sink.flush()
    assert names(tmp_path) == [".00000002.jsonl.tmp", "00000000.jsonl", "00000001.jsonl"]
    source = FileSource("s", tmp_path, follow=True)
    assert values(drain(source)) == [b"000", b"001", b"002", b"003"]
    sink.close()
    assert values(drain(source)) == [b"004"]
    source.close()


def test_a_value_of_several_lines_stays_one_record(tmp_path):
    sink = JsonLinesSink(tmp_path)
    sink.add(b'{\n"a":\r\n1}')
    sink.close()
    assert (tmp_path / "00000000.jsonl").read_bytes() == b'{ "a":  1}\n'


def test_after_a_crash_what_was_flushed_is_seen_and_a_torn_line_is_not(tmp_path):
    first = JsonLinesSink(tmp_path)
    first.add(b"1")
    first.add(b"2")
    first.flush()
    crash(first)
    (left,) = hidden(tmp_path, ".jsonl")
    with left.open("ab") as file:
        file.write(b'{"torn')
    second = JsonLinesSink(tmp_path)
    assert (tmp_path / "00000000.jsonl").read_bytes() == b"1\n2\n"
    second.add(b"3")
    second.close()
    assert names(tmp_path) == ["00000000.jsonl", "00000001.jsonl"]


@pytest.mark.parametrize("tail", [b"", b"\x02", b"\x02\x02", bytes(30), b"\xff" * 30])
def test_after_a_crash_a_torn_block_is_not_seen(tmp_path, tail):
    first = AvroContainerSink(tmp_path, b'"long"')
    for number in range(3):
        first.add(zigzag(number))
        first.flush()
    crash(first)
    (left,) = hidden(tmp_path, ".avro")
    with left.open("ab") as file:
        file.write(tail)
    AvroContainerSink(tmp_path, b'"long"').close()
    with (tmp_path / "00000000.avro").open("rb") as file:
        assert list(fastavro.reader(file)) == [0, 1, 2]


def test_a_file_in_which_nothing_is_whole_is_removed(tmp_path):
    (tmp_path / ".00000007.jsonl.tmp").write_bytes(b"torn")
    sink = JsonLinesSink(tmp_path)
    assert names(tmp_path) == []
    sink.add(b"1")
    sink.close()
    assert names(tmp_path) == ["00000008.jsonl"]


@pytest.mark.parametrize("size", range(0, 60, 7))
def test_the_whole_part_of_a_container_ends_where_a_block_does(tmp_path, size):
    sink = AvroContainerSink(tmp_path, b'"long"', fill=1)
    for number in range(5):
        sink.add(zigzag(number))
    sink.close()
    data = (tmp_path / "00000000.avro").read_bytes()
    block = len(zigzag(1)) + len(zigzag(1)) + 1 + 16
    whole = whole_blocks(data[: len(data) - size])
    assert whole == len(data) - block * -(-size // block)
    assert whole_blocks(data[:30]) == 0


def test_rows_that_are_packed_to_less_than_a_byte_each_are_whole_after_a_crash(tmp_path):
    first = AvroContainerSink(tmp_path, b'"long"', "deflate", fill=1 << 20)
    for _ in range(50_000):
        first.add(zigzag(0))
    first.flush()
    crash(first)
    AvroContainerSink(tmp_path, b'"long"', "deflate").close()
    with (tmp_path / "00000000.avro").open("rb") as file:
        assert sum(1 for _ in fastavro.reader(file)) == 50_000


def test_a_disk_that_fails_an_fsync_keeps_what_was_confirmed_and_the_rest_goes_to_another_file(
    tmp_path, monkeypatch
):
    sink = JsonLinesSink(tmp_path)
    sink.add(b"1")
    sink.flush()
    sink.add(b"2")
    real = os.fsync
    failures = iter([OSError(errno.ENOSPC, "No space left on device")])

    def fsync(handle: int) -> None:
        if (failure := next(failures, None)) is not None:
            raise failure
        real(handle)

    monkeypatch.setattr(os, "fsync", fsync)
    with pytest.raises(Unavailable, match="No space left"):
        sink.flush()
    assert (tmp_path / "00000000.jsonl").read_bytes() == b"1\n"
    sink.add(b"3")
    sink.close()
    assert (tmp_path / "00000001.jsonl").read_bytes() == b"2\n3\n"


@pytest.mark.parametrize("kind", ["lines", "avro"])
def test_what_a_full_disk_refuses_is_held_and_said_by_the_flush_only(tmp_path, monkeypatch, kind):
    sink = JsonLinesSink(tmp_path) if kind == "lines" else AvroContainerSink(tmp_path, b'"long"', fill=1)
    encode = (lambda number: b"%d" % number) if kind == "lines" else zigzag
    monkeypatch.setattr("stream_mtl.connectors.append.HOLD", 1)
    real, full = os.fsync, [True]

    def fsync(handle: int) -> None:
        if full:
            raise OSError(errno.ENOSPC, "No space left on device")
        real(handle)

    monkeypatch.setattr(os, "fsync", fsync)
    for number in range(10):
        sink.add(encode(number))
    for _ in range(2):
        with pytest.raises(NotWritten, match="No space left"):
            sink.flush()
    sink.add(encode(10))
    full.clear()
    sink.close()
    (path,) = tmp_path.iterdir()
    if kind == "lines":
        assert path.read_bytes().split() == [b"%d" % number for number in range(11)]
    else:
        with path.open("rb") as file:
            assert list(fastavro.reader(file)) == list(range(11))


def test_a_folder_that_cannot_be_written_to_is_unavailable(tmp_path):
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(Unavailable, match="file"):
        JsonLinesSink(tmp_path / "file")


def test_a_codec_that_is_not_written_is_refused(tmp_path):
    with pytest.raises(ConfigError, match="snappy"):
        AvroContainerSink(tmp_path, b'"long"', "snappy")


def test_the_same_rows_make_the_same_file(tmp_path):
    for folder in ["a", "b"]:
        sink = AvroContainerSink(tmp_path / folder, b'"long"', "deflate")
        for number in range(100):
            sink.add(zigzag(number))
        sink.close()
    assert (tmp_path / "a" / "00000000.avro").read_bytes() == (tmp_path / "b" / "00000000.avro").read_bytes()

"""What a log in memory promises beyond what every source does."""

import pytest

from stream_mtl.connectors.base import Format
from stream_mtl.connectors.memory import MemorySink, MemorySource
from stream_mtl.errors import ConfigError, PositionOutOfRange
from stream_mtl.testing import drain, values


def test_what_is_appended_later_is_read_later_and_the_log_ends_when_it_is_told():
    source = MemorySource("s")
    source.append([b"a"])
    assert values(drain(source)) == [b"a"]
    assert source.poll(1) == [] and not source.ended()
    source.append([b"b"])
    source.end()
    assert not source.ended()
    assert values(drain(source)) == [b"b"]
    assert source.ended()


def test_positions_may_have_gaps():
    source = MemorySource("s")
    source.append([b"a", b"b"], at=5)
    source.append([b"c"], at=10)
    (first,), (second,) = source.poll(2), source.poll(2)
    assert (first.positions.tolist(), first.next) == ([5, 6], 10)
    assert (second.positions.tolist(), second.next) == ([10], 11)
    source.seek({0: 8})
    assert values(drain(source)) == [b"c"]
    with pytest.raises(ValueError, match="before the end"):
        source.append([b"d"], at=3)


def test_what_was_forgotten_cannot_be_sought():
    source = MemorySource("s")
    source.append([b"a", b"b", b"c"])
    source.forget(2)
    with pytest.raises(PositionOutOfRange, match="2 to 3, asked for 1"):
        source.seek({0: 1})
    assert values(drain(source)) == [b"c"]


def test_a_broker_time_travels_with_the_record():
    source = MemorySource("s")
    source.append([b"a"])
    assert source.poll(9)[0].times is None
    source.append([b"b"])
    source.append([b"c"], time=7)
    times = source.poll(9)[0].times
    assert times is not None and times.tolist() == [-1, 7]


def test_container_blocks_are_refused():
    with pytest.raises(ConfigError):
        MemorySource("s", Format("avro-container"))


def test_a_sink_may_lead_into_a_log():
    source = MemorySource("s", partitions=2)
    sink = MemorySink(source, partition=1)
    sink.add(b"a", b"key")
    assert (sink.records, source.poll(9)) == ([], [])
    sink.flush()
    assert sink.records == [(b"key", b"a")]
    assert [(batch.partition, values([batch])) for batch in source.poll(9)] == [(1, [b"a"])]

"""What every partition log promises, once for all of them."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import pytest

from stream_mtl.connectors.partition import MemoryPartitionLog, PartitionLog
from stream_mtl.errors import PositionOutOfRange
from tests.topics import Topics


@dataclass
class Case:
    """A log, another one of the same partition, and what retention does."""

    log: PartitionLog
    other: PartitionLog
    forget: Callable[[int], None]


def memory(topics: Topics | None) -> Case:
    log = MemoryPartitionLog()
    return Case(log, log, log.forget)


def kafka(topics: Topics | None) -> Case:
    assert topics is not None
    topic = topics.new(2)
    log, other = (topics.kafka.partition(topic, 1) for _ in range(2))
    return Case(log, other, lambda before: topics.forget(topic, 1, before))


@pytest.fixture(params=[memory, kafka], ids=["memory", "kafka"])
def case(request) -> Iterator[Case]:
    case = request.param(request.getfixturevalue("topics") if request.param is kafka else None)
    yield case
    case.log.close()
    case.other.close()


def values(log: PartitionLog, start: int, size: int = 1 << 20) -> list[bytes]:
    found: list[bytes] = []
    while entries := log.read(start, size):
        found += [entry.value for entry in entries]
        start = entries[-1].offset + 1
    return found


def test_what_was_appended_is_read_at_the_offset_that_append_told(case):
    offsets = case.log.append([b"a", b"", b"ccc"]) + case.log.append([b"d"])
    assert [(entry.offset, entry.value) for entry in case.log.read(offsets[0])] == list(
        zip(offsets, [b"a", b"", b"ccc", b"d"], strict=True)
    )
    for number, offset in enumerate(offsets):
        assert values(case.log, offset) == [b"a", b"", b"ccc", b"d"][number:]


def test_a_key_is_kept_and_no_key_stays_none(case):
    case.log.append([b"a"], b"key")
    case.log.append([b"b"], b"")
    case.log.append([b"c"])
    assert [entry.key for entry in case.log.read(0)] == [b"key", b"", None]


def test_a_view_of_bytes_is_appended_like_bytes(case):
    case.log.append([memoryview(b"-abc-")[1:4]])
    assert values(case.log, 0) == [b"abc"]


def test_nothing_appended_is_nothing_read(case):
    assert case.log.append([]) == []
    assert case.log.begin() == case.log.end() == 0
    assert case.log.read(0) == []


def test_reading_at_the_end_gives_nothing_until_something_comes(case):
    case.log.append([b"a"])
    assert case.log.read(case.log.end()) == []
    case.other.append([b"b"])
    assert values(case.log, 1) == [b"b"]
    assert case.log.read(2) == []


def test_writers_see_what_the_others_have_appended(case):
    offsets = case.log.append([b"a"]) + case.other.append([b"b", b"c"]) + case.log.append([b"d"])
    assert offsets == sorted(offsets)
    assert values(case.log, 0) == values(case.other, 0) == [b"a", b"b", b"c", b"d"]


@pytest.mark.parametrize("size", [1, 100, 950, 1 << 20])
def test_a_read_is_about_as_large_as_asked_and_at_least_one_record(case, size):
    case.log.append([bytes([number]) * 100 for number in range(10)])
    entries = case.log.read(0, size)
    assert len(entries) == {1: 1, 100: 1, 950: 10, 1 << 20: 10}[size]
    assert values(case.log, 0, size) == [bytes([number]) * 100 for number in range(10)]


def test_the_same_may_be_read_again_and_anywhere(case):
    case.log.append([b"%d" % number for number in range(20)])
    for start in (5, 5, 0, 19, 20, 3):
        assert values(case.log, start, 3) == [b"%d" % number for number in range(start, 20)]


def test_the_end_is_where_the_next_record_will_be(case):
    for _ in range(3):
        end = case.log.end()
        assert case.log.append([b"a"])[0] >= end


def test_what_was_forgotten_is_out_of_range_and_the_rest_stays(case):
    case.log.append([b"%d" % number for number in range(10)])
    assert len(case.log.read(0)) == 10
    case.forget(4)
    assert case.log.begin() == 4
    assert values(case.log, 4) == [b"%d" % number for number in range(4, 10)]
    with pytest.raises(PositionOutOfRange, match=r"4 to 10, asked for 3\b"):
        case.log.read(3)


@pytest.mark.parametrize("start", [-1, 3, 10**12])
def test_an_offset_that_the_log_does_not_hold_is_refused_with_both_numbers(case, start):
    case.log.append([b"a", b"b"])
    with pytest.raises(PositionOutOfRange, match=rf"0 to 2, asked for {start}\b"):
        case.log.read(start)


def test_a_log_may_be_closed_twice(case):
    case.log.append([b"a"])
    case.log.read(0)
    case.log.close()
    case.log.close()

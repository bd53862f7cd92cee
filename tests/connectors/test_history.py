"""Files first, then the topic from where they end: every record once, in order, wherever reading was interrupted."""

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stream_mtl.connectors.base import Format, Records
from stream_mtl.connectors.history import SPAN, History, histories, named_start
from stream_mtl.connectors.memory import MemorySource
from stream_mtl.errors import ConfigError, PositionOutOfRange
from stream_mtl.testing import values


def topic(parts: list[list[int]], begin: int = 0) -> MemorySource:
    source = MemorySource("kafka:t", Format("json"), len(parts))
    for number, rows in enumerate(parts):
        source.append([b"%d" % n for n in rows], number, at=begin)
    source.end()
    return source


def memory(rows: list[int], number: int) -> MemorySource:
    """A history of partition `number` alone."""
    source = MemorySource("files:h", Format("json"), number + 1)
    source.append([b"%d" % n for n in rows], number)
    source.end()
    return source


def read(source: History, left: int | None = None, limit: int = 4) -> dict[int, list[tuple[int, int]]]:
    found: dict[int, list[tuple[int, int]]] = {number: [] for number in source.partitions()}
    while not source.ended() and (left is None or left > 0):
        for records in source.poll(limit):
            assert records.source == "kafka:t"
            found[records.partition] += rows_of(records)
        left = None if left is None else left - 1
    return found


def rows_of(records: Records) -> list[tuple[int, int]]:
    return list(zip(records.positions.tolist(), map(int, values([records])), strict=True))


@given(st.data())
@settings(max_examples=150, deadline=None)
def test_every_record_comes_once_and_in_order_wherever_it_was_interrupted(data: st.DataObject) -> None:
    sizes = data.draw(st.lists(st.tuples(st.integers(0, 9), st.integers(0, 9)), min_size=1, max_size=3))
    past = [list(range(old)) for old, _ in sizes]
    rows = [list(range(old + new)) for old, new in sizes]

    def opened() -> History:
        before = {number: memory(some, number) for number, some in enumerate(past) if some}
        return History(before, topic(rows), lambda number, count: count)

    expected = {
        number: [(n - SPAN, n) for n in some] + [(n, n) for n in rows[number][len(some) :]]
        for number, some in enumerate(past)
    }
    source = opened()
    got: dict[int, list[tuple[int, int]]] = {number: [] for number in source.partitions()}
    at = source.begin()
    source.seek(at)
    for _ in range(data.draw(st.integers(0, 3))):
        for records in [one for _ in range(data.draw(st.integers(0, 5))) for one in source.poll(3)]:
            got[records.partition] += rows_of(records)
            at[records.partition] = records.next
        source = opened()
        source.seek(at)
    rest = read(source)
    assert {number: got[number] + rest[number] for number in got} == expected


def test_a_topic_alone_goes_on_when_its_history_is_gone() -> None:
    source = topic([[0, 1, 2, 3]])
    source.seek({0: 2})
    assert [n for records in source.poll(9) for _, n in rows_of(records)] == [2, 3]


def test_a_paused_partition_waits() -> None:
    source = History({0: memory([0], 0)}, topic([[0, 1], [5]]), lambda number, count: count)
    source.seek(source.begin())
    assert [r.partition for _ in range(3) for r in source.poll(9, frozenset({0}))] == [1]
    assert read(source)[0] == [(-SPAN, 0), (1, 1)]


def test_partitions_that_the_topic_does_not_have_are_refused() -> None:
    with pytest.raises(ConfigError, match="the history has partition 2, the topic has only 0, 1"):
        History({2: memory([0], 2)}, topic([[], []]), lambda number, count: 0)


def test_files_named_by_their_offsets_say_where_the_topic_goes_on(tmp_path: Path) -> None:
    for number, first in ((0, 100), (1, 7)):
        (tmp_path / str(number)).mkdir()
        (tmp_path / str(number) / f"t+{number}+{first:010d}.jsonl").write_text("1\n2\n3\n")
    (tmp_path / "0" / "t+0+0000000103.jsonl").write_text("4\n5\n")
    start = named_start("kafka:t", str(tmp_path))
    assert start is not None and (start(0, 5), start(1, 3)) == (105, 10)
    before = histories("files:h", str(tmp_path))
    kept = topic([[*range(6)], [*range(4)]], begin=100)
    kept.forget(100, 1)
    source = History(before, kept, start)
    with pytest.raises(PositionOutOfRange):  # the topic begins behind what partition 1's files end with
        read(source)


def test_files_with_other_names_do_not_say_it(tmp_path: Path) -> None:
    (tmp_path / "000.jsonl").write_text("1\n")
    assert named_start("kafka:t", str(tmp_path)) is None


def test_names_in_another_order_are_refused(tmp_path: Path) -> None:
    for first in ("9", "10"):
        (tmp_path / f"t+0+{first}.jsonl").write_text("1\n")
    with pytest.raises(ConfigError, match="not in the order of the offsets"):
        named_start("kafka:t", str(tmp_path))

"""The rows of several joiner partitions come in one order, whatever came first and wherever the reader was stopped."""

import json
from collections.abc import Sequence
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stream_mtl.connectors.partition import MemoryPartitionLog
from stream_mtl.errors import PositionOutOfRange
from stream_mtl.join.block import Header
from stream_mtl.join.feed import Feed, Portion
from stream_mtl.join.log import MemoryLog, TransitionLog
from stream_mtl.join.topic import TopicLog
from stream_mtl.join.transitions import Telling, Transitions

Told = tuple[int, int, int, str, str | None]  # told, partition, exposure, key, field

SCHEMA = [("told", pa.int64()), ("kind", pa.int8()), ("exposure", pa.int64()), ("row", pa.int32())]


def block(number: int, first: int, times: Sequence[int], told_before: int) -> tuple[Header, Transitions]:
    """Return a block of rows told at these times; every other one carries fields."""
    rich = [i for i in range(len(times)) if i % 2 == 0]
    order = rich + [i for i in range(len(times)) if i % 2]
    columns = [
        pa.array(times, pa.int64()),
        pa.array([Telling.FINAL if i % 2 else Telling.EXPOSED for i in range(len(times))], pa.int8()),
        pa.array([first + i for i in range(len(times))], pa.int64()),
        pa.array([order.index(i) for i in range(len(times))], pa.int32()),
    ]
    rows = pa.RecordBatch.from_arrays(columns, schema=pa.schema(SCHEMA))
    keys = pa.table({"key": pa.array([f"k{first + i}" for i in order], pa.string())})
    fields = pa.table({"field": pa.array([f"f{first + i}" for i in rich], pa.string())})
    header = Header(0, 0, number, told_before, 0, (), (), {}, "chain")
    return header, Transitions(rows, keys, fields)


def rows_of(portion: Portion) -> list[Told]:
    keys, fields = portion.transitions.keys.to_pylist(), portion.transitions.fields.to_pylist()
    out: list[Told] = []
    rows: list[dict[str, Any]] = portion.transitions.rows.to_pylist()
    for row, partition in zip(rows, portion.partition.tolist(), strict=True):
        place = row["row"]
        field = fields[place]["field"] if row["kind"] == Telling.EXPOSED else None
        out.append((row["told"], partition, row["exposure"], keys[place]["key"], field))
    return out


@st.composite
def partitions(draw: st.DrawFn) -> list[list[tuple[Header, Transitions]]]:
    """Draw the blocks of one to three partitions, which end at the same time."""
    made = []
    for _ in range(draw(st.integers(1, 3))):
        blocks, first, time = [], 0, 0
        for number in range(draw(st.integers(1, 5))):
            steps = draw(st.lists(st.integers(0, 3), max_size=6))
            times = [time := time + step for step in steps]
            time += draw(st.integers(1, 4))
            blocks.append(block(number, first, times, time))
            first += len(times)
        blocks.append(block(len(blocks), first, [], 1_000))
        made.append(blocks)
    return made


def expected(made: list[list[tuple[Header, Transitions]]]) -> list[Told]:
    rows = []
    for number, blocks in enumerate(made):
        for _, transitions in blocks:
            for row in transitions.rows.to_pylist():
                exposure = row["exposure"]
                field = f"f{exposure}" if row["kind"] == Telling.EXPOSED else None
                rows.append((row["told"], number, exposure, f"k{exposure}", field))
    return sorted(rows, key=lambda row: row[:3])


@given(st.data())
@settings(max_examples=200, deadline=None)
def test_the_order_does_not_depend_on_what_came_first_or_on_restarts(data: st.DataObject) -> None:
    made = data.draw(partitions())
    wanted = expected(made)
    on_topic = data.draw(st.booleans())
    partition_logs = [MemoryPartitionLog(f"t/{n}") for n in range(len(made))]
    memory = [MemoryLog() for _ in made]
    writers: list[TransitionLog] = [*memory]
    if on_topic:
        writers = [TopicLog(log, 600) for log in partition_logs]
        for writer in writers:
            writer.declare({"fingerprint": "chain"})

    def opened() -> Feed:
        return Feed(dict(enumerate([TopicLog(log) for log in partition_logs] if on_topic else memory)))

    left = [list(blocks) for blocks in made]
    feed, got = opened(), []
    while any(left):
        number = data.draw(st.sampled_from([n for n, blocks in enumerate(left) if blocks]))
        writers[number].append(*left[number].pop(0))
        while data.draw(st.integers(0, 3)) and (portion := feed.take()) is not None:
            if len(portion) > 1:
                head, tail = portion.cut(data.draw(st.integers(1, len(portion) - 1)))
                assert rows_of(head) + rows_of(tail) == rows_of(portion)
                assert head.before(len(head)) == portion.before(len(head))
                assert tail.before(len(tail)) == portion.before(len(portion))
            got += rows_of(portion)
            assert all(row[0] < portion.told_before for row in rows_of(portion))
        if data.draw(st.booleans()):
            state = json.loads(json.dumps(feed.state()))
            feed = opened()
            feed.resume(state, "a reader")
    while (portion := feed.take()) is not None:
        got += rows_of(portion)
    assert got == wanted
    assert feed.take() is None


def test_a_partition_that_has_not_told_yet_holds_the_others_back() -> None:
    one, other = MemoryLog(), MemoryLog()
    feed = Feed({0: one, 1: other})
    one.append(*block(0, 0, [1, 5], 9))
    assert feed.take() is None
    other.append(*block(0, 0, [], 4))
    portion = feed.take()
    assert portion is not None and [row[0] for row in rows_of(portion)] == [1]
    assert feed.places == {0: (0, 1), 1: (1, 0)}


def test_other_partitions_than_before_are_refused() -> None:
    state = Feed({0: MemoryLog(), 1: MemoryLog()}).state()
    with pytest.raises(
        PositionOutOfRange, match="a reader has read joiner partitions 0, 1, but there are 0:"
    ):
        Feed({0: MemoryLog()}).resume(state, "a reader")

"""Taking over: of all who ever claimed a partition, one writes what counts, and the others learn that they do not."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stream_mtl.connectors.claims import take_over
from stream_mtl.connectors.partition import Bytes, Entry, MemoryPartitionLog
from stream_mtl.errors import BlockCorrupt, Fenced
from stream_mtl.join.topic import Following, TopicLog
from tests.contracts.test_transition_log import DECLARED, NOTHING, header


def test_epochs_rise_and_the_one_before_is_fenced() -> None:
    log = MemoryPartitionLog()
    first = take_over(log, "a", {})
    assert first.append([b"x", b"y"]) == [1, 2]
    second = take_over(log, "b", {})
    assert (first.epoch, second.epoch) == (1, 2)
    with pytest.raises(Fenced, match="b has taken over"):
        first.append([b"z"])
    with pytest.raises(Fenced, match="b has taken over"):
        first.check()
    second.append([b"z"])
    second.check()


class Raced(MemoryPartitionLog):
    """A partition in which somebody else's records come just before ours."""

    def __init__(self) -> None:
        super().__init__()
        self.before: list[list[bytes]] = []

    def append(self, values: list[Bytes], key: bytes | None = None) -> list[int]:  # type: ignore[override]
        if self.before:
            super().append(self.before.pop(0))
        return super().append(values, key)


def test_of_two_who_claim_at_once_the_first_wins_and_the_other_claims_again() -> None:
    log, other = Raced(), MemoryPartitionLog()
    take_over(other, "first", {})
    log.before = [[other.read(0)[0].value]]
    mine = take_over(log, "second", {})
    assert mine.epoch == 2
    mine.append([b"x"])


def test_a_frozen_owner_that_only_looks_learns_it_too() -> None:
    log = MemoryPartitionLog()
    frozen = take_over(log, "frozen", {})
    log.append([b"of nobody"])
    frozen.check()
    take_over(log, "new", {})
    with pytest.raises(Fenced):
        frozen.check()


class Cut(MemoryPartitionLog):
    """A partition in which another owner claims between the parts of a block."""

    def __init__(self) -> None:
        super().__init__()
        self.after: int | None = None
        self.new: TopicLog | None = None

    def append(self, values: list[Bytes], key: bytes | None = None) -> list[int]:  # type: ignore[override]
        if self.after is None or len(values) < 2:
            return super().append(values, key)
        first = super().append(values[: self.after], key)
        self.after = None
        self.new = TopicLog(self, 700)
        self.new.declare(DECLARED)
        self.new.last()
        return first + super().append(values[len(first) :], key)


def test_a_block_in_which_another_one_takes_over_does_not_count() -> None:
    partition = Cut()
    old = TopicLog(partition, 700)
    old.declare(DECLARED)
    old.append(header(0, old), NOTHING)
    partition.after = 1
    with pytest.raises(Fenced):
        old.append(header(1, old), NOTHING)
    new = partition.new
    assert new is not None
    assert [head.block for head, _ in TopicLog(partition).read()] == [0]
    new.append(header(1, new), NOTHING)
    assert [(head.block, head.epoch) for head, _ in TopicLog(partition).read()] == [(0, 1), (1, 2)]


@given(st.lists(st.tuples(st.sampled_from(["claim", "write", "read"]), st.integers(0, 3)), max_size=60))
@settings(max_examples=150, deadline=None)
def test_whoever_claims_last_writes_what_counts(script: list[tuple[str, int]]) -> None:
    partition = MemoryPartitionLog()
    owners: dict[int, TopicLog] = {}
    newest: int | None = None
    counted: list[tuple[int, int]] = []  # (block, epoch)
    reader, seen = TopicLog(partition), []
    for action, who in script:
        if action == "claim":
            owners[who] = TopicLog(partition, 900)
            owners[who].declare(DECLARED)
            last = owners[who].last()
            assert (-1 if last is None else last.block) == len(counted) - 1
            newest = who
        elif action == "write" and who in owners:
            log, block = owners[who], len(counted) if who == newest else stale(owners[who])
            if who == newest:
                log.append(header(block, log), NOTHING)
                counted.append((block, log.epoch))
            else:
                with pytest.raises(Fenced):
                    log.append(header(block, log), NOTHING)
        elif action == "read":
            seen += [(head.block, head.epoch) for head, _ in reader.read(len(seen))]
            assert seen == counted
    assert [(head.block, head.epoch) for head, _ in TopicLog(partition).read()] == counted


def stale(log: TopicLog) -> int:
    """Return the block that a fenced owner believes to be the next one."""
    return log._next or 0


def test_what_is_no_part_of_a_block_is_refused_by_its_place() -> None:
    with pytest.raises(BlockCorrupt, match="t/0, offset 7: no part of a block"):
        Following("t/0").feed(Entry(7, b"hello"))


def test_a_block_that_does_not_begin_where_the_last_one_ended_is_refused() -> None:
    partition = MemoryPartitionLog()
    log = TopicLog(partition)
    log.declare(DECLARED)
    log.append(header(0, log), NOTHING)
    log.append(header(1, log, "impressions"), NOTHING)
    with pytest.raises(BlockCorrupt, match="the one before it ended"):
        list(TopicLog(partition).read())

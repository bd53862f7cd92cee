"""What every log of transitions promises, once for all of them."""

from collections.abc import Callable
from pathlib import Path

import pytest

from stream_mtl.connectors.partition import MemoryPartitionLog
from stream_mtl.errors import FingerprintMismatch, NotWritten, PositionOutOfRange, StateError
from stream_mtl.join.block import Header, Progress
from stream_mtl.join.joiner import Joiner
from stream_mtl.join.log import FileLog, MemoryLog, TransitionLog
from stream_mtl.join.topic import TopicLog
from stream_mtl.join.transitions import Transitions
from tests.join.columns import schemas_of
from tests.join.streams import SHAPES

NOTHING: Transitions = Joiner(SHAPES[0], schemas_of(SHAPES[0]), []).ripener.nothing()
DECLARED = {"chain": {"lateness": 3}, "fingerprint": "a"}


def header(block: int, log: TransitionLog | None = None, source: str = "clicks") -> Header:
    progress = (Progress(source, 0, 10 * block, 10 * block + 10),)
    return Header(0, log.epoch if log else 0, block, block * 100, block, progress, (), {}, "a")


def memory(folder: Path) -> Callable[[], TransitionLog]:
    log = MemoryLog()
    return lambda: log


def files(folder: Path) -> Callable[[], TransitionLog]:
    return lambda: FileLog(folder / "log", sync=False)


def topic(folder: Path) -> Callable[[], TransitionLog]:
    partition = MemoryPartitionLog()
    return lambda: TopicLog(partition, part_bytes=700)


LOGS = {"memory": memory, "files": files, "topic": topic}


@pytest.fixture(params=LOGS.values(), ids=LOGS)
def opened(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[[], TransitionLog]:
    """Opens the same log again and again."""
    made: Callable[[], TransitionLog] = request.param(tmp_path)
    return made


def written(opened: Callable[[], TransitionLog], blocks: int) -> TransitionLog:
    log = opened()
    log.declare(DECLARED)
    start = log.last()
    for block in range(0 if start is None else start.block + 1, blocks):
        log.append(header(block, log), NOTHING)
    return log


def numbers(log: TransitionLog, start: int = 0) -> list[int]:
    return [head.block for head, _ in log.read(start)]


def test_a_new_log_is_empty(opened: Callable[[], TransitionLog]) -> None:
    log = opened()
    assert (log.last(), log.first(), log.next(), numbers(log), list(log.headers())) == (None, 0, 0, [], [])


def test_blocks_are_read_in_order_from_any_of_them(opened: Callable[[], TransitionLog]) -> None:
    written(opened, 5)
    reader = opened()
    assert numbers(reader) == [0, 1, 2, 3, 4]
    for start in (3, 0, 4, 5, 1):
        assert numbers(reader, start) == list(range(start, 5))
        assert [head.block for head in reader.headers(start)] == list(range(start, 5))
    assert (reader.first(), reader.next()) == (0, 5)


def test_a_reader_finds_what_has_come_since(opened: Callable[[], TransitionLog]) -> None:
    writer, reader = written(opened, 2), opened()
    assert numbers(reader) == [0, 1]
    assert numbers(reader, 2) == []
    writer.append(header(2, writer), NOTHING)
    assert numbers(reader, 2) == [2]
    assert reader.next() == 3


def test_headers_come_back_as_they_were(opened: Callable[[], TransitionLog]) -> None:
    log = written(opened, 3)
    for found in list(log.headers()) + [head for head, _ in opened().read()]:
        assert found.progress == header(found.block).progress
        assert (found.told_before, found.epoch) == (found.block * 100, log.epoch)


def test_whoever_opens_it_again_goes_on_behind_the_last_block(opened: Callable[[], TransitionLog]) -> None:
    written(opened, 2)
    written(opened, 5)
    assert numbers(opened()) == [0, 1, 2, 3, 4]


@pytest.mark.parametrize("number", [0, 1, 3])
def test_a_block_that_is_not_the_next_one_is_refused(
    opened: Callable[[], TransitionLog], number: int
) -> None:
    log = written(opened, 2)
    with pytest.raises(StateError, match=f"block {number} cannot follow block 1"):
        log.append(header(number, log), NOTHING)
    assert numbers(opened()) == [0, 1]


@pytest.mark.parametrize("place", ["files.unsynced", "log.beside", "log.renamed"])
def test_a_block_that_a_full_disk_did_not_take_is_written_again(
    tmp_path: Path, full: Callable[[str], None], place: str
) -> None:
    opened = files(tmp_path)
    log = written(opened, 2)
    full(f"{place}:1")
    with pytest.raises(NotWritten, match="No space left"):
        log.append(header(2), NOTHING)
    assert not [*(tmp_path / "log").glob("*.tmp")]
    log.append(header(2), NOTHING)
    log.append(header(3), NOTHING)
    assert numbers(log) == numbers(opened()) == [0, 1, 2, 3]


def test_another_declaration_is_refused_by_what_differs(opened: Callable[[], TransitionLog]) -> None:
    written(opened, 1)
    with pytest.raises(FingerprintMismatch, match=r"chain\.lateness was 3, is 4"):
        opened().declare({"chain": {"lateness": 4}, "fingerprint": "b"})


def test_a_bookmark_spares_the_way(opened: Callable[[], TransitionLog]) -> None:
    writer = written(opened, 4)
    reader = opened()
    assert numbers(reader) == [0, 1, 2, 3]
    for block in (2, 4):
        for known in (reader, writer):
            again = opened()
            again.resume(known.bookmark(block))
            assert numbers(again, block) == list(range(block, 4))
            assert again.next() == 4
    again = opened()
    again.resume(writer.bookmark(3))
    last = again.last()
    assert last is not None and last.block == 3


def test_readers_stand_where_they_want_at_the_same_time(opened: Callable[[], TransitionLog]) -> None:
    log = written(opened, 6)
    one = log.read(1)
    assert next(one)[0].block == 1
    assert numbers(log, 4) == [4, 5]
    assert next(log.read(2))[0].block == 2


def test_a_topic_that_was_cut_says_so() -> None:
    partition = MemoryPartitionLog()
    log = written(lambda: TopicLog(partition, part_bytes=700), 4)
    mark = log.bookmark(2)
    partition.forget(mark["offset"] + 1)  # inside block 2
    reader = TopicLog(partition)
    assert reader.first() == 3
    assert numbers(reader, 3) == [3]
    with pytest.raises(PositionOutOfRange, match="block 0 is no longer there, the log begins with block 3"):
        numbers(reader)
    with pytest.raises(PositionOutOfRange, match=f"asked for {mark['offset']}"):
        again = TopicLog(partition)
        again.resume(mark)
        numbers(again, 2)

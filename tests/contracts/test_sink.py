"""What every sink promises, once for all of them."""

import io
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import fastavro
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from stream_mtl.connectors.append import AvroContainerSink, JsonLinesSink
from stream_mtl.connectors.base import Sink
from stream_mtl.connectors.containers import zigzag
from stream_mtl.connectors.memory import MemorySink
from stream_mtl.connectors.numbered import hidden
from stream_mtl.errors import Unavailable
from stream_mtl.testing import FaultySink
from tests.topics import Topics

SCHEMA = b'"long"'


@dataclass
class Case:
    """A sink of numbers, and two ways to look at it: what is durable, and what a follower sees."""

    sink: Sink
    encode: Callable[[int], bytes]
    durable: Callable[[], list[int]]
    seen: Callable[[], list[int]]
    close: Callable[[], None] = lambda: None


def text(number: int) -> bytes:
    return b"%d" % number


def memory(folder: Path) -> Case:
    sink = MemorySink()

    def read() -> list[int]:
        return [int(value) for _, value in sink.records]

    return Case(sink, text, read, read)


def of_files(sink: Sink, encode: Callable[[int], bytes], folder: Path, ending: str, read) -> Case:
    def seen() -> list[Path]:
        return sorted(folder.glob(f"[0-9]*{ending}"))

    def rows(paths: list[Path]) -> list[int]:
        return [row for path in paths for row in read(path)]

    return Case(sink, encode, lambda: rows(seen() + hidden(folder, ending)), lambda: rows(seen()))


def json_lines(folder: Path) -> Case:
    return of_files(
        JsonLinesSink(folder, roll=20),
        text,
        folder,
        ".jsonl",
        lambda path: map(int, path.read_bytes().split()),
    )


def avro(folder: Path) -> Case:
    sink = AvroContainerSink(folder, SCHEMA, "deflate", roll=120, fill=3)
    return of_files(
        sink, zigzag, folder, ".avro", lambda path: fastavro.reader(io.BytesIO(path.read_bytes()))
    )


def faulty(folder: Path) -> Case:
    case = json_lines(folder)
    return Case(FaultySink(case.sink, frozenset()), case.encode, case.durable, case.seen)


def kafka(topics: Topics) -> Case:
    topic = topics.new()
    log = topics.kafka.partition(topic, 0)

    def read() -> list[int]:
        return [int(entry.value) for entry in log.read(0)]

    return Case(topics.kafka.sink(topic), text, read, read, log.close)


SINKS = {"memory": memory, "json lines": json_lines, "avro": avro, "faulty": faulty, "kafka": kafka}
every_sink = pytest.mark.parametrize("build", SINKS.values(), ids=SINKS, indirect=True)


@pytest.fixture
def build(request):
    made: list[Case] = []
    topics = request.getfixturevalue("topics") if request.param is kafka else None

    def make(folder: Path) -> Case:
        made.append(request.param(topics or folder))
        return made[-1]

    yield make
    for case in made:
        case.sink.close()
        case.close()


@every_sink
def test_what_was_added_before_a_flush_is_durable_after_it(build, tmp_path):
    case = build(tmp_path)
    for number in range(30):
        case.sink.add(case.encode(number), b"key")
        if number % 4 == 3:
            case.sink.flush()
            assert case.durable() == list(range(number + 1))
    case.sink.close()
    assert case.seen() == list(range(30))


@every_sink
def test_a_follower_sees_no_record_that_is_not_durable_and_none_twice(build, tmp_path):
    case = build(tmp_path)
    for number in range(40):
        case.sink.add(case.encode(number))
        case.sink.flush()
        seen = case.seen()
        assert seen == list(range(len(seen)))
    assert len(case.seen()) > 10
    case.sink.close()


@every_sink
def test_a_sink_may_be_closed_twice_and_flushed_with_nothing(build, tmp_path):
    case = build(tmp_path)
    case.sink.flush()
    case.sink.add(case.encode(1))
    case.sink.close()
    case.sink.flush()
    case.sink.close()
    assert case.seen() == [1]


@every_sink
def test_a_sink_that_got_nothing_leaves_nothing(build, tmp_path):
    case = build(tmp_path)
    case.sink.close()
    assert case.seen() == case.durable() == []
    assert not any(tmp_path.iterdir())


@every_sink
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(flushes=st.lists(st.booleans(), max_size=60))
def test_wherever_it_is_flushed_every_record_is_there_once_and_in_order(build, tmp_path_factory, flushes):
    case = build(tmp_path_factory.mktemp("out"))
    for number, flush in enumerate(flushes):
        case.sink.add(case.encode(number))
        if flush:
            case.sink.flush()
    case.sink.close()
    assert case.seen() == list(range(len(flushes)))


def test_a_flush_that_fails_loses_nothing(tmp_path):
    case = json_lines(tmp_path)
    sink = FaultySink(case.sink, frozenset({0, 2}))
    for number in range(3):
        sink.add(case.encode(number))
        try:
            sink.flush()
        except Unavailable:
            continue
    sink.flush()
    assert case.durable() == [0, 1, 2]
    sink.close()

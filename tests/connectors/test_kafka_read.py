"""Reading Kafka: batches as a whole and records one by one give the same, whatever the log holds."""

import contextlib
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import replace

import pytest

from stream_mtl.connectors.base import Format, Records, Source
from stream_mtl.connectors.kafka_reader import KafkaReader, Topic
from stream_mtl.errors import ConfigError, PositionOutOfRange, Unavailable
from tests.services.plugin import needs
from tests.topics import Topics

CODECS = ["none", "gzip", "snappy", "lz4", "zstd"]
Row = tuple[int, bytes, int]
Reading = Callable[..., Source]

both_ways = pytest.mark.parametrize("whole", [True, False], ids=["whole batches", "record by record"])


@pytest.fixture
def read(topics: Topics) -> Iterator[Reading]:
    """Return a source of one topic."""
    readers: list[KafkaReader] = []

    def make(topic: str, whole: bool = True, follow: bool = False) -> Source:
        wanted = {"s": Topic(topic, Format("json"))}
        readers.append(topics.kafka.reader(wanted, follow=follow, whole_batches=whole))
        return readers[-1].sources["s"]

    yield make
    for reader in readers:
        reader.close()


def drained(source: Source, limit: int = 1_000) -> list[Records]:
    found: list[Records] = []
    while not source.ended():
        found += source.poll(limit)
    return found


def rows(found: list[Records]) -> list[Row]:
    out: list[Row] = []
    for part in found:
        assert part.times is not None
        spans = [part.data[s:e].tobytes() for s, e in zip(part.starts, part.ends, strict=True)]
        out += zip(part.positions.tolist(), spans, part.times.tolist(), strict=True)
    return out


def unreadable(found: list[Records]) -> list[tuple[int, int]]:
    gaps = [part.unreadable for part in found if part.unreadable is not None]
    return [(gap.begin, gap.end) for gap in gaps]


@pytest.mark.parametrize("codec", CODECS)
def test_both_ways_read_the_same_from_any_position_on(topics, read, codec):
    topic = topics.new()
    for batch in range(4):
        values = [None if n % 7 == 6 else b"%d-" % n * (1 + 40 * batch) for n in range(20)]
        marked = [("header", b"x" * batch)] if batch % 2 else None
        topics.write(
            topic,
            values,
            key=lambda n: b"k%d" % n if n % 3 or n % 7 == 6 else None,
            codec=codec,
            headers=marked,
        )
    whole, plain = read(topic, True), read(topic, False)
    for position in (0, 1, 19, 20, 33, 79, 80):
        whole.seek({0: position})
        plain.seek({0: position})
        found = rows(drained(whole))
        assert found == rows(drained(plain, 7))
        assert [row[0] for row in found] == list(range(position, 80))
    whole.seek({0: 0})
    assert {row[1] for row in rows(drained(whole)) if row[0] % 20 % 7 == 6} == {b""}


@needs("transactions")
@both_ways
def test_what_was_aborted_is_not_read_and_markers_are_gaps(topics, read, whole):
    from kafka import KafkaProducer

    topic = topics.new()
    producer = KafkaProducer(
        bootstrap_servers=topics.options.bootstrap_servers,
        transactional_id=uuid.uuid4().hex,
        compression_type="lz4",
    )
    producer.init_transactions()
    for number, commit in enumerate([True, False, True, False]):
        producer.begin_transaction()
        for part in range(3):
            producer.send(topic, b"%d%d" % (number, part))
        producer.flush()
        topics.write(topic, [b"plain"])
        (producer.commit_transaction if commit else producer.abort_transaction)()
    producer.begin_transaction()
    producer.send(topic, b"open").get(timeout=30)
    source = read(topic, whole)
    found = rows(drained(source))
    assert [(row[0], row[1]) for row in found] == [
        (0, b"00"), (1, b"01"), (2, b"02"), (3, b"plain"), (8, b"plain"),
        (10, b"20"), (11, b"21"), (12, b"22"), (13, b"plain"), (18, b"plain"),
    ]  # fmt: skip
    producer.commit_transaction()
    producer.close()
    assert [row[1] for row in rows(drained(read(topic, whole)))][-1] == b"open"


@needs("compaction")
def test_both_ways_read_what_compaction_has_left(topics, read):
    topic = topics.new(
        cleanup_policy="compact",
        segment_ms="100",
        min_cleanable_dirty_ratio="0.001",
        max_compaction_lag_ms="100",
        delete_retention_ms="0",
    )
    topics.write(
        topic, [b"%d" % n for n in range(60)], key=lambda n: b"k%d" % (n % 10) if n % 2 else b"u%d" % n
    )
    found: list[Row] = []
    for _ in range(100):
        topics.write(topic, [b"again"], key=lambda n: b"roll")
        source = read(topic)
        found = rows(drained(source))
        if sum(row[1] != b"again" for row in found) <= 35:
            break
        time.sleep(0.3)
    else:
        pytest.fail("the broker does not compact")
    assert [row[1] for row in found if row[0] >= 50 and row[1] != b"again"] == [
        b"%d" % n for n in range(50, 60)
    ]
    for position in (0, 1, 2, 30, 51):
        whole, plain = read(topic), read(topic, False)
        whole.seek({0: position})
        plain.seek({0: position})
        seen = rows(drained(whole))
        before = {row[0]: row for row in rows(drained(plain))}
        assert all(before.get(row[0], row) == row for row in seen)  # the cleaner goes on meanwhile
        assert [row for row in seen if row[0] < 60] == [row for row in found if position <= row[0] < 60]


@both_ways
def test_a_batch_of_a_codec_that_is_not_there_is_told_and_the_others_are_read(
    topics, read, whole, monkeypatch, caplog
):
    topic = topics.new()
    for number, codec in enumerate(["none", "zstd", "gzip"]):
        topics.write(topic, [b"%d" % number * 50] * 3, codec=codec)
    monkeypatch.setattr("kafka.codec.has_zstd", lambda: False)
    found = drained(read(topic, whole))
    assert [row[0] for row in rows(found)] == [0, 1, 2, 6, 7, 8]
    assert merged(unreadable(found)) == [(3, 6)]
    assert ("is replaced" in caplog.text) == (not whole)
    assert all("zstd" in part.unreadable.reason for part in found if part.unreadable)


@both_ways
@pytest.mark.parametrize("bad", [{0}, {3}, {6}, {0, 3}, {3, 6}, {0, 3, 6}])
def test_a_batch_that_fails_its_checksum_is_told_and_the_others_are_read(
    topics, read, whole, bad, monkeypatch, caplog
):
    from kafka.record.default_records import DefaultRecordBatch

    topic = topics.new()
    for number in range(3):
        topics.write(topic, [b"%d" % number] * 3)
    real = DefaultRecordBatch.validate_crc
    monkeypatch.setattr(
        DefaultRecordBatch, "validate_crc", lambda self: real(self) and self.base_offset not in bad
    )
    found = drained(read(topic, whole))
    assert [row[0] for row in rows(found)] == [n for n in range(9) if n // 3 * 3 not in bad]
    assert ("is replaced" in caplog.text) == (not whole)
    assert merged(unreadable(found)) == merged([(begin, begin + 3) for begin in sorted(bad)])


def merged(gaps: list[tuple[int, int]]) -> list[tuple[int, int]]:
    out: list[tuple[int, int]] = []
    for begin, end in gaps:
        out = [*out[:-1], (out[-1][0], end)] if out and out[-1][1] == begin else [*out, (begin, end)]
    return out


def test_a_partition_that_cannot_be_read_leaves_the_others_alone(topics, monkeypatch):
    one, other = topics.new(2), topics.new()
    topics.write(one, [b"bad"] * 2, 0, codec="none")
    topics.write(one, [b"bad" * 99] * 2, 0, codec="zstd")
    topics.write(one, [b"good"] * 5, 1)
    topics.write(other, [b"good"] * 5)
    monkeypatch.setattr("kafka.codec.has_zstd", lambda: False)
    wanted = {"one": Topic(one, Format("json")), "other": Topic(other, Format("json"))}
    reader = topics.kafka.reader(wanted, follow=False, whole_batches=False)
    found = {name: drained(source) for name, source in reader.sources.items()}
    reader.close()
    assert len(rows(found["other"])) == 5
    assert len(rows([part for part in found["one"] if part.partition == 1])) == 5
    assert [part.unreadable.begin for part in found["one"] if part.unreadable is not None] == [2, 3]


def test_a_version_whose_inside_is_not_known_is_read_record_by_record(topics, read, monkeypatch):
    topic = topics.numbers([range(10)])
    monkeypatch.setattr("stream_mtl.connectors.kafka.__version__", "3.1.0")
    monkeypatch.setattr("stream_mtl.connectors.kafka._WholeBatches", None)
    assert len(rows(drained(read(topic)))) == 10


def test_the_installed_version_is_one_whose_inside_is_known():
    from stream_mtl.connectors.kafka import known_inside

    assert known_inside()


def test_sources_share_a_consumer_and_one_that_is_not_polled_does_not_stop_the_others(topics, monkeypatch):
    monkeypatch.setattr("stream_mtl.connectors.backlog.CAPACITY", 20_000)
    names = [topics.new() for _ in range(3)]
    for name in names:
        for _ in range(30):
            topics.write(name, [b"x" * 1_000] * 10)
    wanted = {name: Topic(name, Format("json")) for name in names}
    reader = topics.kafka.reader(wanted, follow=False)
    idle, *busy = (reader.sources[name] for name in names)
    assert [len(rows(drained(source, 7))) for source in busy] == [300, 300]
    assert not idle.ended()
    assert len(rows(drained(idle))) == 300
    reader.close()


def test_a_live_source_gives_nothing_without_ending_and_then_what_came(topics, read):
    topic = topics.new()
    source = read(topic, follow=True)
    assert source.poll(10) == []
    assert not source.ended()
    topics.write(topic, [b"a"])
    found = next(found for _ in range(1_000) if (found := source.poll(10)))
    assert rows(found)[0][:2] == (0, b"a")
    assert not source.ended()


def test_a_source_ends_where_the_log_ended_when_it_was_opened(topics, read):
    topic = topics.new()
    topics.write(topic, [b"a"] * 3)
    source = read(topic)
    topics.write(topic, [b"b"] * 3)
    assert len(rows(drained(source, 1))) >= 3


def test_the_times_are_those_of_the_broker(topics, read):
    topic = topics.new(message_timestamp_type="LogAppendTime")
    before = int(time.time() * 1_000) - 5_000
    topics.write(topic, [b"a"] * 3)
    assert all(row[2] > before for row in rows(drained(read(topic))))


@needs("delete-records")
@both_ways
def test_a_log_that_was_cut_in_front_of_us_is_told_with_both_numbers(topics, read, whole):
    topic = topics.new()
    topics.write(topic, [b"a"] * 5)
    source = read(topic, whole, follow=True)
    source.seek({0: 2})
    topics.forget(topic, 0, 4)
    with pytest.raises(
        PositionOutOfRange, match=r"log truncated at partition 0: have offset 2, broker starts at 4"
    ):
        for _ in range(1_000):
            source.poll(10)
    assert source.begin() == {0: 4}


@needs("restart", "takeover")  # the small brokers that restart know their topics only a while later
def test_a_live_source_goes_on_when_its_broker_has_come_back(own_broker, own_topics):
    from stream_mtl.connectors.kafka import Kafka

    broker = own_broker()
    topics = own_topics(broker.bootstrap)
    topic = topics.new()
    topics.write(topic, [b"a"] * 3)
    kafka = Kafka(replace(topics.options, request_timeout=2_000))
    with contextlib.closing(kafka.reader({"s": Topic(topic, Format("json"))}, follow=True)) as reader:
        source = reader.sources["s"]
        assert len(rows(until_something(source))) == 3
        broker.kill()
        assert [source.poll(10) for _ in range(100)] == [[]] * 100
        with pytest.raises(Unavailable):
            source.begin()
        broker.start()
        with contextlib.closing(topics.kafka.sink(topic)) as sink:
            sink.add(b"b")
        assert rows(until_something(source))[0][:2] == (3, b"b")


def until_something(source: Source) -> list[Records]:
    return next(found for _ in range(10_000) if (found := source.poll(10)))


def test_a_topic_that_is_missing_is_named_with_what_to_do(topics):
    with pytest.raises(ConfigError, match=r"no topic never-made.*stream-mtl topics create"):
        topics.kafka.reader({"s": Topic("never-made", Format("json"))}, follow=True)
    with pytest.raises(ConfigError, match=r"no topic never-made"):
        topics.kafka.sink("never-made")


def test_a_partition_or_an_encoding_that_cannot_be_is_refused(topics):
    topic = topics.new(2)
    for wrong in (Topic(topic, Format("json"), (0, 2)), Topic(topic, Format("csv"))):
        with pytest.raises(ConfigError):
            topics.kafka.reader({"s": wrong}, follow=True)
    with pytest.raises(ConfigError, match="twice"):
        topics.kafka.reader(
            {"a": Topic(topic, Format("json")), "b": Topic(topic, Format("json"))}, follow=True
        )
    with pytest.raises(ConfigError, match="no partition 2"):
        topics.kafka.partition(topic, 2)


def test_a_broker_that_does_not_answer_is_told_with_what_may_be_the_cause(topics):
    from stream_mtl.connectors.kafka import Kafka

    options = replace(topics.options, bootstrap_servers="127.0.0.1:1", startup_timeout=300)
    with pytest.raises(Unavailable, match=r"127\.0\.0\.1:1 answered.*is it running"):
        Kafka(options).admin()

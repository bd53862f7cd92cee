"""Writing to Kafka, and what is left when it does not work."""

import time
import uuid
from dataclasses import replace

import pytest

from stream_mtl.errors import BlockCorrupt, DataError, Unavailable
from tests.services.plugin import needs
from tests.topics import Topics, answer


def values(topics: Topics, topic: str, partition: int = 0) -> list[bytes]:
    log = topics.kafka.partition(topic, partition)
    found = [entry.value for entry in log.read(0)]
    log.close()
    return found


@pytest.mark.parametrize("codec", ["none", "gzip", "snappy", "lz4", "zstd"])
def test_every_compression_is_written_and_read(topics, codec):
    topic = topics.new()
    sink = topics.kafka.sink(topic, codec)
    for number in range(100):
        sink.add(b"%d" % number * 9)
    sink.close()
    assert values(topics, topic) == [b"%d" % number * 9 for number in range(100)]


def test_a_key_decides_the_partition_as_it_does_for_java(topics):
    topic = topics.new(3)
    sink = topics.kafka.sink(topic)
    hashes = {
        b"21": -973932308,
        b"foobar": -790332482,
        b"a-little-bit-long-string": -985981536,
        b"abc": 479470107,
    }
    for key in hashes:  # as in org.apache.kafka.common.utils.UtilsTest
        sink.add(key, key)
    sink.close()
    assert {key: n for n in range(3) for key in values(topics, topic, n)} == {
        key: (value & 0x7FFFFFFF) % 3 for key, value in hashes.items()
    }


def test_a_record_that_is_too_large_is_refused_at_once_and_costs_no_other(topics):
    topic = topics.new()
    small = replace(topics.options, largest_record=1_000)
    from stream_mtl.connectors.kafka import Kafka

    sink = Kafka(small).sink(topic)
    sink.add(b"before")
    with pytest.raises(DataError, match="2000 bytes"):
        sink.add(bytes(2_000))
    sink.add(b"after")
    sink.close()
    assert values(topics, topic) == [b"before", b"after"]


def test_what_the_broker_finds_too_large_is_said_to_be(topics):
    topic = topics.new(max_message_bytes="1000")
    sink, log = topics.kafka.sink(topic, "none"), topics.kafka.partition(topic, 0)
    sink.add(bytes(2_000))
    with pytest.raises(DataError, match=r"max\.message\.bytes"):
        sink.flush()
    with pytest.raises(DataError, match=r"max\.message\.bytes"):
        log.append([bytes(2_000)])
    assert log.append([b"small"]) == [0]
    log.close()
    with pytest.raises(DataError):
        sink.close()


@needs("restart")
def test_what_could_not_be_written_is_held_until_the_broker_is_back(own_broker, own_topics):
    from stream_mtl.connectors.kafka import Kafka

    broker = own_broker()
    topics = own_topics(broker.bootstrap)
    topic = topics.new(2)
    kafka = Kafka(replace(topics.options, request_timeout=1_000, delivery_timeout=2_000))
    sink, log = kafka.sink(topic), kafka.partition(topic, 1)
    sink.add(b"there", b"key")
    answer(sink.flush)
    answer(lambda: log.append([b"there"]))
    broker.stop()
    sink.add(b"held 1", b"key")
    sink.add(b"held 2", b"key")
    with pytest.raises(Unavailable, match="not durable"):
        sink.flush()
    with pytest.raises(Unavailable):
        log.append([b"lost"])
    sink.add(b"held 3", b"key")
    with pytest.raises(Unavailable):
        sink.flush()
    broker.start()
    answer(sink.flush)
    assert answer(lambda: log.append([b"there again"]))[0] >= 1
    sink.close()
    log.close()
    written = values(topics, topic, 0) + values(topics, topic, 1)
    held = [value for value in written if value.startswith(b"held")]
    assert list(dict.fromkeys(held)) == [b"held 1", b"held 2", b"held 3"]
    assert b"there again" in written


@needs("transactions")
def test_markers_of_transactions_are_gaps_in_a_partition(topics):
    from kafka import KafkaProducer

    topic = topics.new()
    log = topics.kafka.partition(topic, 0)
    producer = KafkaProducer(
        bootstrap_servers=topics.options.bootstrap_servers, transactional_id=uuid.uuid4().hex
    )
    producer.init_transactions()
    offsets = log.append([b"a"])
    for end in (producer.commit_transaction, producer.abort_transaction):
        producer.begin_transaction()
        producer.send(topic, b"in").get(timeout=30)
        end()  # it may return before the marker is there
        offsets += log.append([b"b"])
    producer.begin_transaction()
    producer.send(topic, b"aborted").get(timeout=30)
    producer.abort_transaction()
    producer.close()
    while (end := log.end()) < 9:  # 4 records that count, 2 that do not, and 3 markers
        time.sleep(0.01)
    entries = log.read(0)
    assert [entry.value for entry in entries] == [b"a", b"in", b"b", b"b"]
    assert [entry.offset for entry in entries if entry.value != b"in"] == offsets
    assert end == 9
    assert [log.read(start) for start in range(offsets[-1] + 1, 10)] == [[]] * (9 - offsets[-1])
    assert log.append([b"c"]) == [9]
    assert [entry.offset for entry in log.read(offsets[-1] + 1)] == [9]
    log.close()


def test_a_block_that_fails_its_checksum_is_an_error(topics, monkeypatch):
    from kafka.record.default_records import DefaultRecordBatch

    log = topics.kafka.partition(topics.new(), 0)
    log.append([b"a"])
    log.append([b"b", b"c"])
    monkeypatch.setattr(DefaultRecordBatch, "validate_crc", lambda self: self.base_offset == 0)
    assert [entry.value for entry in log.read(0, 1)] == [b"a"]
    with pytest.raises(BlockCorrupt, match="1 to 2 are not readable"):
        log.read(1)
    log.close()

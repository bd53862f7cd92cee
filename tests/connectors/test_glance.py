"""What a tool sees of a topic without reading it all, and what it can send there."""

import pytest

from stream_mtl.connectors.base import Unreadable
from stream_mtl.errors import DataError
from tests.services.plugin import needs
from tests.topics import Topics


def test_records_are_seen_with_keys_and_times_wherever_one_looks(topics: Topics) -> None:
    topic = topics.new(2)
    with topics.kafka.courier() as courier:
        for number in range(5):
            courier.send(topic, b"v%d" % number, b"k%d" % number, number % 2, 1_000 + number)
        assert sorted(courier.settle()) == [0, 0, 1, 1, 2]
    with topics.kafka.glance([(topic, 0), (topic, 1)]) as glance:
        assert glance.begins() == {(topic, 0): 0, (topic, 1): 0}
        assert glance.ends() == {(topic, 0): 3, (topic, 1): 2}
        seen = [(one.offset, one.value, one.key, one.time) for one in glance.records((topic, 0), 1, 3)]
        assert seen == [(1, b"v2", b"k2", 1_002), (2, b"v4", b"k4", 1_004)]
        first = glance.first((topic, 1), 0, 2)
        assert first is not None and first.value == b"v1"
        assert [one.offset for one in glance.records((topic, 0), 0, 1)] == [0]
        assert glance.first((topic, 1), 2, 2) is None


@needs("transactions")
def test_a_look_does_not_wait_for_what_is_no_record(topics: Topics) -> None:
    from kafka import KafkaProducer

    topic = topics.new()
    producer = KafkaProducer(bootstrap_servers=topics.options.bootstrap_servers, transactional_id=topic)
    producer.init_transactions()
    producer.begin_transaction()
    producer.send(topic, b"in")
    producer.commit_transaction()
    producer.close()
    with topics.kafka.glance([(topic, 0)]) as glance:
        while (end := glance.ends()[topic, 0]) < 2:  # the marker may come a little later
            pass
        values = [
            seen.value for seen in glance.records((topic, 0), 0, end) if not isinstance(seen, Unreadable)
        ]
    assert values == [b"in"]


def test_headers_travel_with_a_record(topics: Topics) -> None:
    from kafka import KafkaConsumer

    topic = topics.new()
    with topics.kafka.courier() as courier:
        courier.send(topic, b"value", headers=[("from", b"here")])
        courier.settle()
    consumer = KafkaConsumer(
        topic, bootstrap_servers=topics.options.bootstrap_servers, auto_offset_reset="earliest"
    )
    record = next(iter(consumer))
    consumer.close()
    assert (record.value, record.headers) == (b"value", [("from", b"here")])


def test_what_does_not_arrive_is_said(topics: Topics) -> None:
    topic = topics.new(max_message_bytes="1000")
    with topics.kafka.courier("none") as courier:
        courier.send(topic, bytes(2_000))
        with pytest.raises(DataError, match=r"max\.message\.bytes"):
            courier.settle()


def test_how_many_brokers_have_a_topic_is_known(topics: Topics) -> None:
    assert topics.admin.replicas(topics.new()) == 1
    assert topics.admin.replicas("no-such-topic") == 0
    assert topics.admin.existing(["no-such-topic"]) == {}

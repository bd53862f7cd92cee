"""The brokers of the tests can do what is said of them."""

import uuid
from collections.abc import Callable, Iterator

import pytest
from kafka import KafkaAdminClient, KafkaConsumer, KafkaProducer, TopicPartition
from kafka.admin import NewTopic

from tests.services import kafka
from tests.services.kafka import Broker, OwnBroker
from tests.services.plugin import needs

VALUES = [b"one", b"two", b"three"]


def new_topic(bootstrap: str, **security: object) -> str:
    name = f"services-{uuid.uuid4().hex}"
    admin = KafkaAdminClient(bootstrap_servers=bootstrap, **security)
    admin.create_topics([NewTopic(name, 1, 1)])
    admin.close()
    return name


def produce(bootstrap: str, topic: str, values: list[bytes], **security: object) -> None:
    producer = KafkaProducer(bootstrap_servers=bootstrap, **security)
    for value in values:
        producer.send(topic, value)
    producer.flush(timeout=60)
    producer.close()


def consume(bootstrap: str, topic: str, number: int, **security: object) -> list[bytes]:
    consumer = KafkaConsumer(bootstrap_servers=bootstrap, enable_auto_commit=False, **security)
    consumer.assign([TopicPartition(topic, 0)])
    consumer.seek_to_beginning()
    try:
        return list(_values(consumer, number))
    finally:
        consumer.close()


def _values(consumer: KafkaConsumer, number: int) -> Iterator[bytes]:
    left = number
    for _ in range(60):
        for records in consumer.poll(timeout_ms=1_000).values():
            yield from (record.value for record in records)
            left -= len(records)
        if left <= 0:
            return


@pytest.mark.parametrize("turn", range(2))  # so that two workers meet
def test_what_is_produced_is_consumed(broker: Broker, turn: int) -> None:
    topic = new_topic(broker.bootstrap)
    produce(broker.bootstrap, topic, VALUES)
    assert consume(broker.bootstrap, topic, 3) == VALUES


@needs("restart", "durable")
def test_a_killed_broker_comes_back_with_its_records(own_broker: Callable[[], OwnBroker]) -> None:
    broker = own_broker()
    topic = new_topic(broker.bootstrap)
    produce(broker.bootstrap, topic, VALUES)
    broker.kill()
    broker.start()
    assert consume(broker.bootstrap, topic, 3) == VALUES


@needs("restart")
def test_a_stopped_broker_comes_back_with_its_records_and_a_wiped_one_without(
    own_broker: Callable[[], OwnBroker],
) -> None:
    broker = own_broker()
    topic = new_topic(broker.bootstrap)
    produce(broker.bootstrap, topic, VALUES)
    broker.stop()
    broker.start()
    assert consume(broker.bootstrap, topic, 3) == VALUES
    broker.wipe()
    broker.start()
    admin = KafkaAdminClient(bootstrap_servers=broker.bootstrap)
    assert topic not in admin.list_topics()
    admin.close()


def test_a_paused_broker_goes_on_where_it_was(own_broker: Callable[[], OwnBroker]) -> None:
    broker = own_broker()
    topic = new_topic(broker.bootstrap)
    producer = KafkaProducer(bootstrap_servers=broker.bootstrap)
    producer.send(topic, VALUES[0]).get(timeout=30)
    broker.pause()
    hanging = producer.send(topic, VALUES[1])
    broker.resume()
    hanging.get(timeout=60)
    producer.close()
    assert consume(broker.bootstrap, topic, 2) == VALUES[:2]


@pytest.mark.parametrize(
    ("protocol", "mechanism", "client_certificate"),
    [("ssl", "plain", True), ("sasl_ssl", "scram-sha-512", False), ("sasl_plaintext", "plain", False)],
)
def test_a_secured_broker_lets_its_user_in(
    own_broker: Callable[..., OwnBroker], protocol: str, mechanism: str, client_certificate: bool
) -> None:
    broker = own_broker(protocol, mechanism, client_certificate)
    known = broker.security.kafka_python()
    topic = new_topic(broker.bootstrap, **known)
    produce(broker.bootstrap, topic, VALUES, **known)
    assert consume(broker.bootstrap, topic, 3, **known) == VALUES


def test_the_first_kind_that_can_do_what_is_needed_is_chosen() -> None:
    small = [kafka.Noida(), kafka.Tansu()]
    assert kafka.chosen(small, ["transactions"]) == small[0]
    assert kafka.chosen(small, ["takeover"]) == small[1]
    assert "tls" in kafka.chosen(small, ["tls"])
    assert "no broker" in kafka.chosen([kafka.Given("there:9092")], [], own=True)

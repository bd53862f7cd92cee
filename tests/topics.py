"""Topics of a real broker for tests: made anew, filled, and read by the product."""

import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Final, TypeVar

import pytest

from stream_mtl.errors import Unavailable

Answer = TypeVar("Answer")

LIMIT: Final = 240.0  # seconds; only a failure takes so long


class Topics:
    """What tests need of one broker. Connections are kept: a new one for every topic takes too long."""

    def __init__(self, bootstrap: str) -> None:
        from kafka import KafkaProducer  # here, not above: it takes long, and most runs need no broker

        from stream_mtl.connectors.kafka import Kafka, KafkaOptions

        self.options = KafkaOptions(
            bootstrap, request_timeout=10_000, delivery_timeout=15_000, startup_timeout=30_000
        )
        self.kafka = Kafka(self.options)
        self.admin = self.kafka.admin()
        self._producers: dict[str, Any] = {}
        self._made: dict[tuple[tuple[int, ...], ...], str] = {}
        self._new: Callable[[str], Any] = lambda codec: KafkaProducer(
            bootstrap_servers=bootstrap,
            compression_type=None if codec == "none" else codec,
            linger_ms=5,
            reconnect_backoff_max_ms=1_000,  # or it is away for half a minute more than its broker
        )

    def new(self, partitions: int = 1, **configs: str) -> str:
        """Return the name of a topic that nobody else uses."""
        name = f"test-{uuid.uuid4().hex}"
        self.admin.create(
            name, partitions, configs={key.replace("_", "."): value for key, value in configs.items()}
        )
        return name

    def write(
        self,
        topic: str,
        values: Sequence[bytes | None],
        partition: int = 0,
        *,
        key: Callable[[int], bytes | None] = lambda number: None,
        codec: str = "none",
        headers: list[tuple[str, bytes]] | None = None,
    ) -> None:
        """Write records; those of one call lie in one batch, or in few."""
        if codec not in self._producers:
            self._producers[codec] = self._new(codec)
        producer = self._producers[codec]
        sent = [
            producer.send(topic, value, key(n), headers=headers, partition=partition)
            for n, value in enumerate(values)
        ]
        producer.flush(timeout=120)
        for one in sent:
            one.get(timeout=0)

    def numbers(self, parts: Sequence[Sequence[int]]) -> str:
        """Return a topic whose partitions hold these numbers, and nothing ever after."""
        wanted = tuple(tuple(part) for part in parts)
        if wanted not in self._made:
            self._made[wanted] = self.new(len(parts))
            for partition, numbers in enumerate(parts):
                self.write(self._made[wanted], [b"%d" % number for number in numbers], partition)
        return self._made[wanted]

    def forget(self, topic: str, partition: int, before: int) -> None:
        """Delete the records before an offset, as retention does."""
        from kafka import KafkaAdminClient, TopicPartition

        admin = KafkaAdminClient(bootstrap_servers=self.options.bootstrap_servers)
        admin.delete_records({TopicPartition(topic, partition): before})
        admin.close()

    def close(self) -> None:
        self.admin.close()
        for producer in self._producers.values():
            producer.close()


def answer(ask: Callable[[], Answer]) -> Answer:
    """Return what a bus says, which may not answer now: our own clients come back a while after a broker does."""
    end = time.monotonic() + LIMIT
    while True:
        try:
            return ask()
        except Unavailable:
            if time.monotonic() > end:
                raise
            time.sleep(0.1)


@pytest.fixture(scope="session")
def all_topics() -> Iterator[Callable[[str], Topics]]:
    """Return the topics of a broker that lives as long as the run, by its address."""
    yield from _opened()


@pytest.fixture
def own_topics() -> Iterator[Callable[[str], Topics]]:
    """Return the topics of a broker of this test: clients of a dead one would try to reach it for ever."""
    yield from _opened()


@pytest.fixture
def topics(broker: Any, all_topics: Callable[[str], Topics]) -> Topics:
    """Topics of the broker that all tests share."""
    return all_topics(broker.bootstrap)


def _opened() -> Iterator[Callable[[str], Topics]]:
    known: dict[str, Topics] = {}

    def of(bootstrap: str) -> Topics:
        if bootstrap not in known:
            known[bootstrap] = Topics(bootstrap)
        return known[bootstrap]

    yield of
    for topics in known.values():
        topics.close()

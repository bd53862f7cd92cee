"""Kafka: the one file that knows kafka-python. What it gives are sources, sinks, partitions, a group and topics.

What is odd about kafka-python 3.0 and handled here: an error while a batch is unpacked leaves a consumer that polls
for ever, so it is replaced by a new one; a wrong password looks like a broker that does not answer; the listener of
a rebalance runs in the client's own thread; a join that a poll did not wait for may be forgotten.
"""

import logging
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from functools import cache
from inspect import signature
from typing import Any, Final, TypeVar

from kafka import (
    ConsumerRebalanceListener,
    KafkaAdminClient,
    KafkaConsumer,
    KafkaProducer,
    OffsetAndMetadata,
    OffsetSpec,
    TopicPartition,
    __version__,
    codec,
)
from kafka import errors as failures
from kafka.admin import ConfigResource, ConfigResourceType
from kafka.consumer.fetcher import Fetcher
from kafka.coordinator.assignors.range import RangePartitionAssignor
from kafka.net.compat import KafkaNetClient
from kafka.record.default_records import DefaultRecordBatch
from kafka.record.util import crc32c_c

from stream_mtl.connectors.backlog import Backlog
from stream_mtl.connectors.base import Positions, Unreadable
from stream_mtl.connectors.codecs import check_codecs
from stream_mtl.connectors.courier import Courier, Header
from stream_mtl.connectors.glance import Glance
from stream_mtl.connectors.kafka_reader import LOST, KafkaReader, Place, Topic
from stream_mtl.connectors.kafka_writer import KafkaPartitionLog, KafkaSink
from stream_mtl.connectors.partition import Bytes
from stream_mtl.connectors.recordbatch import Batch, chunk, nothing, parse
from stream_mtl.connectors.security import (
    Compression,
    KafkaOptions,
    connection,
    consuming,
    producing,
    quiet,
    silence,
)
from stream_mtl.connectors.watchdog import Watchdog
from stream_mtl.errors import ConfigError, DataError, Fenced, PositionOutOfRange, StreamMtlError, Unavailable

log = logging.getLogger(__name__)

Answer = TypeVar("Answer")
Client = TypeVar("Client")
BeforeLost = Callable[[frozenset[int]], None]

_SETTLE: Final = 5  # seconds beyond its own timeout that a producer is waited for
_PROBE: Final = 1_000  # ms that a partition may take to show whether it can be read
_AGAIN: Final = 0.1  # seconds until something is asked again
_REST: Final = 200  # ms of one look at a group that is being put together


class Kafka:
    """Everything at one broker. It connects when something is asked of it.

    kafka = Kafka(KafkaOptions("broker:9092"))
    reader = kafka.reader({"impression": Topic("impressions", Format("confluent-avro"))}, follow=True)
    records = reader.sources["impression"].poll(10_000)
    """

    def __init__(self, options: KafkaOptions) -> None:
        self._options = options

    def reader(
        self,
        topics: Mapping[str, Topic],
        *,
        follow: bool,
        whole_batches: bool = True,
        watchdog: Watchdog | None = None,
    ) -> KafkaReader:
        """Read topics by one consumer, from their beginning until `seek` says otherwise: sources by these names.

        With `follow` they never end. Without `whole_batches`, or with a version of kafka-python whose inside is not
        known, records are read one by one. Raises ConfigError for a topic that is missing or named twice,
        Unavailable.
        """
        found = self._partitions([topic.name for topic in topics.values()])
        resolved = {name: _resolve(name, topic, found[topic.name]) for name, topic in topics.items()}
        places = [(topic.name, n) for topic in resolved.values() for n in topic.partitions or ()]
        if len(set(places)) < len(places):
            raise ConfigError(f"kafka: a topic is named twice among {', '.join(sorted(found))}")
        return KafkaReader(_Intake(self._options, places, whole_batches, watchdog), resolved, follow)

    def sink(self, topic: str, compression: Compression = "lz4") -> KafkaSink:
        """Write to a topic. Raises ConfigError when it is missing, Unavailable."""
        self._partitions([topic])
        return KafkaSink(_Outbox(self._options, topic, compression))

    def partition(self, topic: str, number: int, compression: Compression = "none") -> KafkaPartitionLog:
        """Return one partition as a log. Raises ConfigError when it is missing, Unavailable."""
        if number not in range(self._partitions([topic])[topic]):
            raise ConfigError(f"kafka: topic {topic} has no partition {number}")
        return KafkaPartitionLog(
            topic,
            number,
            _Outbox(self._options, topic, compression),
            lambda places: _Intake(self._options, places, True, None),
            self._options.request_timeout,
        )

    def member(
        self,
        group: str,
        topics: Collection[str],
        before_lost: BeforeLost,
        *,
        instance_id: str | None = None,
        session_timeout: int = 45_000,
        watchdog: Watchdog | None = None,
    ) -> "Membership":
        """Become a member of a group that shares the partitions of topics. Raises ConfigError, Unavailable."""
        found = self._partitions(topics)
        if len(set(found.values())) > 1:
            numbers = ", ".join(f"{topic} has {count}" for topic, count in sorted(found.items()))
            raise ConfigError(f"kafka: topics that are joined need equally many partitions: {numbers}")
        return Membership(
            self._options, group, tuple(topics), before_lost, instance_id, session_timeout, watchdog
        )

    def glance(self, places: Collection[Place]) -> Glance:
        """Look at a few records of places, with their keys. Raises Unavailable."""
        patience = self._options.request_timeout
        return Glance(lambda wanted: _Intake(self._options, wanted, True, None), places, patience)

    def courier(self, compression: Compression = "lz4") -> Courier:
        """Send to any topics, with times and headers. It connects when something is sent."""
        return Courier(lambda topic: _Outbox(self._options, topic, compression))

    def admin(self) -> "KafkaAdmin":
        """Look at topics and groups, and make them. Raises Unavailable."""
        return KafkaAdmin(self._options)

    def _partitions(self, topics: Collection[str]) -> dict[str, int]:
        with closing(self.admin()) as admin:
            return admin.partitions(topics)


class Membership:
    """Which partitions of all topics are ours, as the group decides; nothing is read through it.

    Partition p is ours when p of every topic is. `before_lost` is called with everything that is ours before it may
    go to others, also what comes back at once; meanwhile `poll` (or `close`) waits, in another thread of the client,
    heartbeats rest, and the session timeout is what it may take. It must not call `poll` or `close`.

    A poll that hangs is the watchdog's business, which does not count what `before_lost` takes.

    Two processes with one `instance_id`: kafka-python keeps it to itself until the first one commits; then `poll`
    raises Fenced.
    """

    def __init__(
        self,
        options: KafkaOptions,
        group: str,
        topics: tuple[str, ...],
        before_lost: BeforeLost,
        instance_id: str | None,
        session_timeout: int,
        watchdog: Watchdog | None,
    ) -> None:
        self._topics, self._before_lost = topics, before_lost
        self._watchdog = watchdog or Watchdog()
        self._patience = session_timeout / 1_000
        self._owned: frozenset[int] = frozenset()  # as was told to the caller
        self._moving = True  # the group is being put together
        settings = consuming() | {
            "auto_offset_reset": "latest",  # or a first poll fails: no offset was committed yet
            "group_id": group,
            "group_instance_id": instance_id,
            "partition_assignment_strategy": [RangePartitionAssignor],
            "session_timeout_ms": session_timeout,
            "heartbeat_interval_ms": max(session_timeout // 15, 100),
            "max_poll_records": 1,
        }
        self._consumer = _connect(options, KafkaConsumer, settings)
        self._consumer.subscribe(topics, listener=_Listener(self))

    def poll(self) -> tuple[frozenset[int], frozenset[int]]:
        """Return which partitions were gained and lost since the last time. To be called again and again.

        While partitions move it waits until all members have come, so that nobody works on what is no longer his;
        at most for the session timeout: then all counts as lost until the others have come.
        """
        until = time.monotonic() + self._patience
        self._look(0)
        while self._moving and time.monotonic() < until:
            self._look(_REST)
        owned = frozenset() if self._moving else self._assigned()
        gained, lost = owned - self._owned, self._owned - owned
        self._owned = owned
        return gained, lost

    def commit(self, positions: Mapping[Place, int]) -> None:
        """Tell the group, for tools that show lag, what was read so far. It is never read back, and may be lost."""
        offsets = {TopicPartition(*place): OffsetAndMetadata(at, "", -1) for place, at in positions.items()}
        with suppress(failures.KafkaError):
            self._consumer.commit_async(offsets, callback=_note)

    def close(self) -> None:
        """Let the others have what is ours, and leave. A member with `instance_id` stays until its session ends."""
        try:
            with _answering("leave the group"):
                self._consumer.close(autocommit=False)
        finally:
            self._watchdog.close()

    def revoked(self) -> None:
        """Do what must be done before partitions go. Called by the client."""
        self._moving = True
        if self._owned:
            with self._watchdog.resting():
                self._before_lost(self._owned)

    def gone(self) -> None:
        """Take note that we were put out of the group: it is too late to do anything. Called by the client."""
        self._moving = True

    def assigned(self) -> None:
        """Take note that partitions came. Called by the client."""
        self._consumer.pause(*self._consumer.assignment())
        self._moving = False

    def _look(self, timeout: int) -> None:
        self._go_on_joining()
        try:
            with _answering("be a member of the group"), self._watchdog.watching(timeout / 1_000):
                self._consumer.poll(timeout_ms=timeout)
        except StreamMtlError as error:
            origin = error.__cause__ and error.__cause__.__cause__
            if isinstance(origin, StreamMtlError):  # of before_lost
                raise origin from None
            raise

    def _go_on_joining(self) -> None:
        """Let a join that was begun be ended.

        kafka-python 3.0 joins anew when it learns of partitions, and no longer knows that it does once it has dealt them
        out: if a poll ends just then, nobody ever takes the answer, and the member has nothing for ever.
        """
        coordinator = self._consumer._coordinator
        if getattr(coordinator, "_join_task", None) is not None:
            coordinator.request_rejoin()

    def _assigned(self) -> frozenset[int]:
        ours = self._consumer.assignment()
        numbers = {place.partition for place in ours}
        return frozenset(n for n in numbers if all((topic, n) in ours for topic in self._topics))


class KafkaAdmin:
    """Topics and groups. Nothing is ever deleted here.

    What is only asked is asked again for `request_timeout` where that can help: a client that has lost its broker
    comes back a while after it.
    """

    def __init__(self, options: KafkaOptions) -> None:
        self._client = _connect(options, KafkaAdminClient, {})
        self._patience = options.request_timeout / 1_000

    def topics(self) -> dict[str, int]:
        """Return all topics and how many partitions each has, without Kafka's own."""
        found = self._ask("list topics", self._client.describe_topics)
        return {topic["name"]: len(topic["partitions"]) for topic in found if not topic["is_internal"]}

    def partitions(self, topics: Collection[str]) -> dict[str, int]:
        """Return how many partitions topics have. Raises ConfigError for one that is missing."""
        found = self.existing(topics)
        for name in topics:
            if name not in found:
                raise ConfigError(f"kafka: there is no topic {name}; make it with: stream-mtl topics create")
        return found

    def existing(self, topics: Collection[str]) -> dict[str, int]:
        """Return how many partitions those of the topics have that are there."""
        return {name: len(found["partitions"]) for name, found in self._described(topics).items()}

    def replicas(self, topic: str) -> int:
        """Return on how many brokers a topic's partitions are, of the one that is on the fewest; 0: nowhere."""
        found = self._described([topic]).get(topic, {"partitions": []})
        return min((len(one["replica_nodes"]) for one in found["partitions"]), default=0)

    def create(
        self, topic: str, partitions: int, replication: int = -1, configs: Mapping[str, str] | None = None
    ) -> bool:
        """Make a topic and wait until it can be used. Return whether it is new. Replication -1: as the broker has it.

        Raises ConfigError when the broker does not want it so.
        """
        request = {
            "num_partitions": partitions,
            "replication_factor": replication,
            "configs": dict(configs or {}),
        }
        try:
            with _answering(f"create topic {topic}"):
                self._client.create_topics({topic: request}, wait_for_metadata=True)
        except ConfigError as error:
            if isinstance(error.__cause__, failures.TopicAlreadyExistsError):
                return False
            raise
        return True

    def configs(self, topic: str) -> dict[str, str]:
        """Return every setting of a topic, those that nobody has set too."""
        resource = ConfigResource(ConfigResourceType.TOPIC, topic)
        found = self._ask(
            f"describe topic {topic}", lambda: self._client.describe_configs([resource], config_filter="all")
        )
        return {key: setting["value"] for key, setting in found["topic"][topic].items()}

    def begin(self, topic: str) -> Positions:
        """Return where each partition begins."""
        return self._offsets(topic, OffsetSpec.EARLIEST)

    def end(self, topic: str) -> Positions:
        """Return where each partition ends."""
        return self._offsets(topic, OffsetSpec.LATEST)

    def at(self, topic: str, time: int) -> Positions:
        """Return the first record of each partition whose time (ms) is not before `time`; its end, where none is."""
        ends = self.end(topic)
        return {n: at if at >= 0 else ends[n] for n, at in self._offsets(topic, time).items()}

    def group(self, group: str) -> dict[Place, int]:
        """Return what a group has committed."""
        found = self._ask(
            f"read the offsets of group {group}", lambda: self._client.list_group_offsets({group: None})
        )[group]
        return {tuple(place): at.offset for place, at in found.items() if at.offset >= 0}

    def reset_group(self, group: str, positions: Mapping[Place, int]) -> None:
        """Set what a group has committed. Raises ConfigError while it has members."""
        offsets = {TopicPartition(*place): OffsetAndMetadata(at, "", -1) for place, at in positions.items()}
        with _answering(f"reset group {group}; stop its members first"):
            for failure in self._client.alter_group_offsets(group, offsets).values():
                if failure is not failures.NoError:
                    raise failure

    def close(self) -> None:
        """Let go. May be called twice."""
        self._client.close()

    def _described(self, topics: Collection[str]) -> dict[str, Any]:
        found = self._ask("describe topics", lambda: self._client.describe_topics(list(topics)))
        for topic in found:
            if topic["error_code"] not in (0, _NO_TOPIC):
                with _answering(f"describe topic {topic['name']}"):
                    raise failures.for_code(topic["error_code"])
        return {topic["name"]: topic for topic in found if topic["error_code"] == 0}

    def _offsets(self, topic: str, spec: "OffsetSpec | int") -> Positions:
        wanted = {TopicPartition(topic, n): spec for n in range(self.partitions([topic])[topic])}
        found = self._ask(
            f"read the offsets of topic {topic}", lambda: self._client.list_partition_offsets(wanted)
        )
        return {place.partition: at.offset for place, at in found.items()}

    def _ask(self, what: str, ask: Callable[[], Answer]) -> Answer:
        until = time.monotonic() + self._patience
        while True:
            try:
                with _answering(what):
                    return ask()
            except Unavailable:
                if time.monotonic() > until:
                    raise
                time.sleep(_AGAIN)


class _Intake:
    """A consumer that is assigned to places, and what it has fetched of each: `kafka_reader.Intake`."""

    def __init__(
        self, options: KafkaOptions, places: Iterable[Place], whole: bool, watchdog: Watchdog | None
    ) -> None:
        self._options, self._whole = options, whole and known_inside()
        if whole and not self._whole:
            log.warning(
                "kafka: the inside of kafka-python %s is not known; records are read singly", __version__
            )
        self._watchdog = watchdog or Watchdog()
        self.backlogs = {place: Backlog(0) for place in places}
        self._held: frozenset[Place] = frozenset()  # paused at the consumer
        self._consumer = self._assigned(self.backlogs)
        for place, begin in self.begin(self.backlogs).items():
            self.seek(place, begin)

    def begin(self, places: Iterable[Place]) -> dict[Place, int]:
        """Ask the broker."""
        return self._ask(self._consumer.beginning_offsets, places)

    def end(self, places: Iterable[Place]) -> dict[Place, int]:
        """Ask the broker."""
        return self._ask(self._consumer.end_offsets, places)

    def seek(self, place: Place, position: int) -> None:
        """Drop what was fetched."""
        self.backlogs[place].seek(position)
        self._consumer.seek(TopicPartition(*place), position)

    def fetch(self, timeout: int, held: frozenset[Place]) -> None:
        """Fetch, and replace the consumer when it fails."""
        self._hold(held | {place for place, backlog in self.backlogs.items() if backlog.full})
        try:
            self._poll(self._consumer, self.backlogs, timeout)
        except Exception as error:
            self._fatal(error)
            log.warning("kafka: a batch cannot be read, the consumer is replaced: %s", error)
            self._replace(error)

    def close(self) -> None:
        """Close consumer and watchdog."""
        self._consumer.close(autocommit=False)
        self._watchdog.close()

    def _ask(self, ask: Callable[[list[Any]], dict[Any, int]], places: Iterable[Place]) -> dict[Place, int]:
        with _answering("read offsets"):
            return {tuple(tp): at for tp, at in ask([TopicPartition(*place) for place in places]).items()}

    def _assigned(self, places: Iterable[Place]) -> Any:
        consumer = _connect(self._options, KafkaConsumer, consuming())
        if self._whole:
            consumer._fetcher.PartitionRecords = _WholeBatches
        consumer.assign([TopicPartition(*place) for place in places])
        for place in places:
            consumer.seek(TopicPartition(*place), self.backlogs[place].fetched)
        return consumer

    def _hold(self, held: frozenset[Place]) -> None:
        if held != self._held:
            self._consumer.pause(*(TopicPartition(*place) for place in held - self._held))
            self._consumer.resume(*(TopicPartition(*place) for place in self._held - held))
            self._held = held

    def _poll(self, consumer: Any, places: Collection[Place], timeout: int) -> None:
        with self._watchdog.watching(timeout / 1_000):
            found = consumer.poll(timeout_ms=timeout)
        for place, records in found.items():
            for part in _chunks(records):
                self.backlogs[place].add(part)
        for place in places:
            if not self.backlogs[place]:
                self.backlogs[place].skip(consumer.position(TopicPartition(*place), timeout_ms=0) or 0)

    def _fatal(self, error: Exception) -> None:
        """Raise what a new consumer does not help against."""
        if isinstance(error, failures.OffsetOutOfRangeError | failures.LogTruncationError):
            raise PositionOutOfRange(self._truncated()) from error
        if isinstance(error, failures.AuthorizationError):
            with _answering("read"):
                raise error
        if isinstance(error, failures.IllegalStateError):  # it was closed
            raise error

    def _truncated(self) -> str:
        """Return what happened to the first place whose log does not hold what comes next."""
        begins, ends = self.begin(self.backlogs), self.end(self.backlogs)
        for place, backlog in self.backlogs.items():
            (topic, partition), have = place, backlog.fetched
            if have < begins[place]:
                where = f"broker starts at {begins[place]}"
            elif have > ends[place]:
                where = f"broker ends at {ends[place]}"
            else:
                continue
            return f"{topic}: log truncated at partition {partition}: have offset {have}, {where}; {LOST}"
        return "log truncated: the broker has lost records that were read"

    def _replace(self, error: Exception) -> None:
        """Go on with a new consumer; one that cannot be read at its next offset goes over it, as `unreadable`."""
        self._consumer.close(autocommit=False)
        before = {place: backlog.fetched for place, backlog in self.backlogs.items()}
        for place in self.backlogs:
            while not self._probe(place):
                pass
        self._consumer, self._held = self._assigned(self.backlogs), frozenset()
        if all(self.backlogs[place].fetched == at for place, at in before.items()):
            raise DataError(f"kafka: reading fails, and not because of a record: {error!r}") from error

    def _probe(self, place: Place) -> bool:
        """Return whether a consumer of its own can read on here; if not, one offset is given up."""
        backlog = self.backlogs[place]
        with closing(self._assigned([place])) as consumer:
            if self._ask(consumer.end_offsets, [place])[place] <= backlog.fetched:
                return True
            try:
                self._poll(consumer, [place], _PROBE)
            except Exception as error:
                self._fatal(error)
                at = backlog.fetched
                backlog.add(nothing(Unreadable(at, at + 1, f"{type(error).__name__}: {error}")))
                return False
        return True


class _Outbox:
    """A producer of one topic: `kafka_writer.Outbox`. It connects when something is sent."""

    def __init__(self, options: KafkaOptions, topic: str, compression: Compression) -> None:
        self._options, self._topic = options, topic
        self._settings = producing(options, compression)
        self._producer: Any = None
        self._patience = options.startup_timeout  # ms that a broker is waited for
        self._error: Exception | None = None  # why the last one failed that did

    def send(
        self,
        value: Bytes,
        key: bytes | None,
        partition: int | None = None,
        time: int | None = None,
        headers: Sequence[Header] = (),
    ) -> Any:
        """Hand a record to the producer. Its partitioner hashes keys as Java's does. `time` None: now."""
        if self._producer is None:
            self._producer = _connect(self._options, KafkaProducer, self._settings, self._patience)
            self._patience = self._options.delivery_timeout
        try:
            sent = self._producer.send(
                self._topic,
                value=value,
                key=key,
                partition=partition,
                timestamp_ms=time,
                headers=list(headers) or None,
            )
        except failures.MessageSizeTooLargeError as error:
            raise DataError(f"kafka: a record for {self._topic} has {len(value)} bytes; {error}") from error
        except failures.KafkaError as error:
            self._failed(error)
            return None
        return sent.add_errback(self._failed)

    def settle(self) -> None:
        """Flush the producer."""
        if self._producer is not None:
            with suppress(failures.KafkaTimeoutError):
                self._producer.flush(timeout=self._options.delivery_timeout / 1_000 + _SETTLE)

    def refusal(self) -> Exception:
        """Drop the producer: one that has failed may refuse everything that comes later."""
        error, self._error = self._error, None
        self._drop()
        text = f"kafka: records for {self._topic} are not durable: {error or 'no answer'}"
        if isinstance(error, failures.AuthorizationError):
            return ConfigError(f"{text}; may {self._options.user} write there?")
        if isinstance(error, failures.MessageSizeTooLargeError | failures.RecordListTooLargeError):
            return DataError(f"{text}; raise max.message.bytes of the topic")
        return Unavailable(f"{text}; they are kept and can be sent again")

    def close(self) -> None:
        """Let go of the producer, and of what was not flushed."""
        self._drop()

    def _drop(self) -> None:
        producer, self._producer = self._producer, None
        if producer is not None:
            producer._sender.force_close()  # or it waits for what is on its way to a broker that may be gone
            producer.close(timeout=_SETTLE)

    def _failed(self, error: Exception) -> None:
        self._error = error


class _Listener(ConsumerRebalanceListener):  # type: ignore[misc]
    def __init__(self, member: Membership) -> None:
        self._member = member

    def on_partitions_revoked(self, revoked: Collection[Any]) -> None:
        self._member.revoked()

    def on_partitions_lost(self, lost: Collection[Any]) -> None:
        self._member.gone()

    def on_partitions_assigned(self, assigned: Collection[Any]) -> None:
        self._member.assigned()


@dataclass(slots=True)
class _Whole:
    """What kafka-python takes for one record: a whole batch, or what is known of one that cannot be read."""

    value: list[Batch | Unreadable]  # of one: its length is asked for
    offset: int  # the last one
    size_in_bytes: int
    key: None = None
    headers: tuple[()] = ()
    timestamp: int = -1
    timestamp_type: int = 0
    checksum: None = None

    def validate_crc(self) -> bool:
        return True


class _WholeBatch:
    """A batch that has itself as its only record. All else is asked of the real one: transactions, control."""

    def __init__(self, batch: Any) -> None:
        self._batch = batch

    def __getattr__(self, name: str) -> Any:
        return getattr(self._batch, name)

    def validate_crc(self) -> bool:
        return True  # it was, by _Batches

    def __iter__(self) -> Iterator[_Whole]:
        batch = self._batch
        size, value = batch.size_in_bytes, _unpacked(batch)
        yield _Whole([value], batch.last_offset, size)


class _Broken:
    """A batch that fails its checksum: nothing in its header can be relied on but where it stands."""

    magic, leader_epoch, is_control_batch, is_transactional = 2, -1, False, False

    def __init__(self, unreadable: Unreadable) -> None:
        self._unreadable = unreadable
        self.next_offset = unreadable.end

    def has_producer_id(self) -> bool:
        return False

    def validate_crc(self) -> bool:
        return True  # it is false, and said so

    def __iter__(self) -> Iterator[_Whole]:
        yield _Whole([self._unreadable], self.next_offset - 1, len(self._unreadable.value))


class _Batches:
    """The batches of one fetch, each of which has itself as its only record."""

    def __init__(self, records: Any, position: Callable[[], int]) -> None:
        self._records, self._position = records, position
        self._ahead: list[Any] = []

    def next_batch(self) -> Any:
        batch = self._ahead.pop() if self._ahead else self._records.next_batch()
        if batch is None or batch.magic != 2:
            return batch
        if not batch.validate_crc():
            return self._broken(batch)
        return batch if batch.is_control_batch else _WholeBatch(batch)

    def _broken(self, batch: Any) -> _Broken:
        """Take it to reach to where the next one begins; without a next one, over a single offset."""
        begin = max(batch.base_offset, self._position())
        end = begin + 1
        with suppress(failures.KafkaError):
            after = self._records.next_batch()
            if after is not None:
                self._ahead.append(after)
                end = max(after.base_offset, end)
        return _Broken(Unreadable(begin, end, "the checksum of the batch is wrong", bytes(batch._buffer)))


_Reading: Any = getattr(Fetcher, "PartitionRecords", object)


class _WholeBatches(_Reading):  # type: ignore[misc]
    """Reads a fetch batch by batch, where kafka-python's own goes record by record; the rest is its own work."""

    def _unpack_records(self, tp: Any, records: Any, *deserializers: Any) -> Any:
        return super()._unpack_records(tp, _Batches(records, lambda: self.next_fetch_offset), None, None)


def known_inside() -> bool:
    """Return whether kafka-python's inside is what reading whole batches leans on."""
    try:
        unpack = list(signature(Fetcher.PartitionRecords._unpack_records).parameters)
        slots = {*DefaultRecordBatch.__slots__}
    except AttributeError:
        return False
    expected = ["self", "tp", "records", "key_deserializer", "value_deserializer"]
    return __version__.startswith("3.0.") and unpack == expected and {"_buffer", "_pos"} <= slots


def _unpacked(batch: Any) -> Batch | Unreadable:
    base, after = batch.base_offset, batch.next_offset
    packed = batch._buffer
    try:
        iter(batch)  # it is unpacked
    except Exception as error:  # each codec has its own
        return Unreadable(base, after, f"{type(error).__name__}: {error}", bytes(packed))
    appended = bool(batch.timestamp_type)
    moment = batch.max_timestamp if appended else batch.first_timestamp
    records = memoryview(batch._buffer)[batch._pos :]
    return Batch(records, batch.records_count, base, after, moment, appended)


def _chunks(records: Sequence[Any]) -> Iterable[Any]:
    """Return what one partition gave, batches or (in the log's oldest part, or as a fallback) records."""
    whole = [record.value for record in records if isinstance(record.value, list)]
    if len(whole) == len(records):
        return parse([part for value in whole for part in value])
    if whole:
        return [part for record in records for part in _chunks([record])]
    values, keys = [record.value for record in records], [record.key for record in records]
    offsets, times = [record.offset for record in records], [record.timestamp for record in records]
    return [chunk(values, keys, offsets, times, [record.headers for record in records])]


def _resolve(name: str, topic: Topic, count: int) -> Topic:
    """Return the topic with its partitions. Raises ConfigError for what is not there or cannot be in a topic."""
    if topic.format.encoding not in ("avro", "confluent-avro", "json"):
        raise ConfigError(f"{name}: a topic holds avro, confluent-avro or json, not {topic.format.encoding}")
    numbers = tuple(range(count)) if topic.partitions is None else topic.partitions
    for number in numbers:
        if number not in range(count):
            raise ConfigError(f"{name}: topic {topic.name} has {count} partitions, no partition {number}")
    return Topic(topic.name, topic.format, numbers)


_NO_LEADER = (failures.UnknownBrokerIdError,)  # of a partition without one, which may be chosen yet
_NO_TOPIC = failures.UnknownTopicOrPartitionError.errno


def _connect(
    options: KafkaOptions,
    kind: Callable[..., Client],
    settings: Mapping[str, Any],
    patience: int | None = None,
) -> Client:
    """Make a client. It tries again, less and less often, for `startup_timeout` or `patience`. Raises Unavailable."""
    made: list[Any] = []

    def network(**configs: Any) -> Any:  # what a client that cannot start would leave behind
        made.append(KafkaNetClient(**configs))
        return made[-1]

    quiet()
    _check()
    started = time.monotonic()
    try:
        return kind(
            **connection(options),
            **settings,
            bootstrap_timeout_ms=options.startup_timeout if patience is None else patience,
            kafka_client=network,
        )
    except failures.KafkaError as error:
        for client in made:
            client.close()
        if isinstance(error, failures.RetriableError):
            waited = int(1_000 * (time.monotonic() - started))
            raise Unavailable(silence(options, waited)) from error
        raise ConfigError(f"kafka: cannot connect to {options.bootstrap_servers}: {error}") from error
    finally:
        quiet()


@cache
def _check() -> None:
    """Check once a process that every compression works. Raises ConfigError."""
    check_codecs(
        {
            "gzip": (codec.gzip_encode, codec.gzip_decode),
            "snappy": (codec.snappy_encode, codec.snappy_decode),
            "lz4": (codec.lz4_encode, codec.lz4_decode),
            "zstd": (codec.zstd_encode, codec.zstd_decode),
        },
        crc32c_c,
    )


@contextmanager
def _answering(what: str) -> Iterator[None]:
    """Turn what kafka-python raises into errors of ours."""
    try:
        yield
    except failures.AuthorizationError as error:
        raise ConfigError(
            f"kafka: we are not allowed to {what}: {error}; docs/kafka.md lists the rights that each role needs"
        ) from error
    except failures.FencedInstanceIdError as error:
        raise Fenced(f"kafka: cannot {what}: another process has our instance id") from error
    except (failures.RetriableError, *_NO_LEADER) as error:
        raise Unavailable(f"kafka: cannot {what}: {error or type(error).__name__}") from error
    except failures.KafkaError as error:
        raise ConfigError(f"kafka: cannot {what}: {error}") from error


def _note(offsets: Any, answer: Any) -> None:
    if isinstance(answer, Exception):
        log.info("kafka: offsets for lag tools were not committed: %s", answer)

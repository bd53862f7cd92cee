"""The join through Kafka: topics in, the topic of transitions out, beside a plain loop; a process for every run."""

import uuid
from collections.abc import Callable, Mapping
from contextlib import closing
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from stream_mtl.bench.apart import apart
from stream_mtl.bench.fill import fill
from stream_mtl.bench.joins import DEFAULT, Labels, Tally
from stream_mtl.bench.measure import Compared, Run, by_turns, peak_megabytes, timed
from stream_mtl.bench.plain_bus import Told, plain_join
from stream_mtl.bench.spans import Spans
from stream_mtl.bench.workload import Expected, Plan, expected, framed_streams, plan
from stream_mtl.clock import SECOND, system_clock
from stream_mtl.connectors import kafka as kafka_client
from stream_mtl.connectors.base import Format
from stream_mtl.connectors.kafka import Kafka
from stream_mtl.connectors.kafka_reader import Topic
from stream_mtl.connectors.letters import DeadLetters
from stream_mtl.connectors.memory import MemorySink
from stream_mtl.connectors.security import KafkaOptions
from stream_mtl.errors import StreamMtlError
from stream_mtl.events.codec import Codec
from stream_mtl.events.types import Limits
from stream_mtl.generate.fields import KINDS
from stream_mtl.generate.generated import Generated, generate
from stream_mtl.join import topic as topic_log
from stream_mtl.join.store import SegmentStore
from stream_mtl.join.topic import TopicLog
from stream_mtl.join.worker import JoinWorker

FOR_EVER = {"retention.ms": "-1"}
"""Of every topic: event times lie in the past, and a broker would delete what it was just given."""


@dataclass(frozen=True, slots=True)
class BusJoin:
    """What was measured, and where the CPU seconds of ours went in the last round, whole batches and singly."""

    compared: Compared
    spent: Mapping[str, Mapping[str, float]]


@dataclass(frozen=True, slots=True)
class Shape:
    """What the runs have in common; every process makes the declarations anew from it."""

    bootstrap: str
    topics: Mapping[str, str]  # by kind
    impressions: int
    windows: str


@dataclass(frozen=True, slots=True)
class Joined:
    """Where our transitions are, and what the parts of the work took."""

    topic: str
    spent: dict[str, float]  # CPU seconds


def bench_bus_join(
    bootstrap: str,
    impressions: int,
    rounds: int,
    windows: str = "24h",
    batch_bytes: int = 16 << 10,
    sending: bool = True,
) -> BusJoin:
    """Fill topics and join them in every way, by turns; each is compared with the truth. Raises StreamMtlError.

    With `sending`, also by a plain loop that sends what it found, which takes three times as long.
    """
    generated = generate(plan(impressions, windows).options)
    shape = Shape(bootstrap, filled(bootstrap, generated, batch_bytes), impressions, windows)
    truth, spent = expected(generated), dict[str, Mapping[str, float]]()
    ways: dict[str, Callable[[], Run[Any]]] = {
        "kafka-python, fastavro, dict": partial(_plain, shape, False),
        "ours": partial(_ours, shape, True),
        "ours, records one by one": partial(_ours, shape, False),
    }
    if sending:
        ways["the plain loop, a record a row sent"] = partial(_plain, shape, True)

    def check(name: str, found: Told | Joined) -> None:
        if isinstance(found, Joined):
            spent[name] = found.spent
            labels = labels_of(bootstrap, found.topic)
        else:
            labels = _in_order(found, truth)
        if not np.array_equal(labels, truth.labels):
            raise StreamMtlError(f"{name}: what came out differs from the truth; this is a bug")

    events = sum(map(len, generated.streams.values()))
    rates = by_turns(ways, events, rounds, check)
    about = f"{events:,} events from Kafka, batches of {batch_bytes:,} bytes, windows {windows}"
    return BusJoin(Compared(about, "events", rates, peak_megabytes()), spent)


def filled(bootstrap: str, generated: Generated, batch_bytes: int) -> dict[str, str]:
    """Return a topic of one partition for each kind, which holds its records in order of arrival."""
    topics = {}
    for kind, (data, starts, ends) in framed_streams(generated).items():
        topics[kind] = new_topic(bootstrap, kind)
        times = generated.streams[kind].table.column("ts").to_numpy()
        fill(bootstrap, topics[kind], data, starts, ends, times, batch_bytes)
    return topics


def new_topic(bootstrap: str, what: str) -> str:
    """Return the name of a topic that nobody else uses. Raises ConfigError, Unavailable."""
    name = f"bench-{what}-{uuid.uuid4().hex[:12]}"
    with closing(Kafka(KafkaOptions(bootstrap)).admin()) as admin:
        admin.create(name, 1, configs=FOR_EVER)
    return name


def labels_of(bootstrap: str, topic: str) -> Labels:
    """Return the final labels that a topic of transitions tells, by exposure number."""
    tally = Tally()
    with closing(TopicLog(Kafka(KafkaOptions(bootstrap)).partition(topic, 0))) as log:
        for header, transitions in log.read():
            tally.append(header, transitions)
    return tally.labels()


def _in_order(told: Told, truth: Expected) -> Labels:
    names, flat = told
    rows = dict(zip(names, np.frombuffer(flat, np.int8).reshape(-1, 2).tolist(), strict=True))
    return np.array([rows.get(name, (-1, -1)) for name in truth.ids], np.int8)


def _plain(shape: Shape, sends: bool) -> Run[Told]:
    into = new_topic(shape.bootstrap, "rows") if sends else None
    return apart(plain_join, shape.bootstrap, shape.topics, shape.impressions, shape.windows, into)


def _ours(shape: Shape, whole: bool) -> Run[Joined]:
    return apart(join_topics, shape, new_topic(shape.bootstrap, "transitions"), whole)


def join_topics(shape: Shape, into: str, whole: bool) -> Run[Joined]:
    """Join topics as `run join` does, with segments and their syncs, until every window has closed."""
    planned, spans = plan(shape.impressions, shape.windows), Spans()
    with TemporaryDirectory() as folder:
        run = timed(lambda: _join(shape, planned, into, Path(folder), whole, spans))
    rest = run.cpu - sum(spans.seconds.values())
    return Run(Joined(into, {**spans.seconds, "the rest": rest}), run.cpu, run.wall)


def _join(shape: Shape, planned: Plan, into: str, folder: Path, whole: bool, spans: Spans) -> None:
    kafka = Kafka(KafkaOptions(shape.bootstrap))
    format_ = Format("confluent-avro")
    topics = {kind: Topic(shape.topics[kind], format_) for kind in KINDS}
    reader = kafka.reader(topics, follow=False, whole_batches=whole)
    codec = Codec(planned.specs, Limits(), system_clock, schema_of=planned.schemas.__getitem__)
    log, store = TopicLog(kafka.partition(into, 0)), SegmentStore(folder)
    worker = JoinWorker(
        planned.chain,
        planned.specs,
        list(reader.sources.values()),
        codec,
        log,
        store,
        DeadLetters(MemorySink()),
        system_clock,
        replace(DEFAULT, checkpoint_every=SECOND),  # by default a minute: longer than these runs
    )
    for source in reader.sources.values():
        spans.watch(source, "poll", "fetch")
    spans.watch(kafka_client, "parse", "parse")
    spans.watch(codec, "decode", "decode")
    spans.watch(log, "append", "send")
    spans.watch(topic_log, "encode", "encode")
    spans.watch(store, "save", "checkpoint")
    worker.recover()
    spans.watch(worker.joiner, "admit", "join")
    spans.watch(worker.joiner, "tell", "join")
    while not worker.ended():
        worker.step()
    worker.finish(worker.joiner.end() + planned.life + 1)
    worker.close()
    log.close()

"""Recorded events into the input topics, in the order of their time: to try a bus out, or to rehearse a backfill."""

import heapq
from collections.abc import Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any, TypeAlias

from stream_mtl.clock import Clock, Millis
from stream_mtl.config.formats import topic_formats
from stream_mtl.config.load import Loaded
from stream_mtl.config.registry import schema_registry
from stream_mtl.config.sections import Config
from stream_mtl.config.units import format_duration
from stream_mtl.connectors.base import Format
from stream_mtl.connectors.kafka import Kafka
from stream_mtl.errors import ConfigError
from stream_mtl.processes.bus import kafka_of
from stream_mtl.processes.event_files import EventFiles, Recorded, in_folder, of_configuration
from stream_mtl.processes.readable import iso
from stream_mtl.processes.rewriting import Rewrite, framed, rewriting

Timed: TypeAlias = tuple[Millis, int, Recorded]
"""A record behind the time of its place in the files, and the number of its source."""


@dataclass(slots=True)
class Filled:
    """What was sent to one topic."""

    topic: str
    records: int = 0
    keyless: int = 0  # records whose key is not known: they are no events
    first: Millis | None = None
    last: Millis | None = None


@dataclass(slots=True)
class _Way:
    """From one source of files to one topic."""

    topic: str
    rewrites: "_Rewrites"
    filled: Filled
    time: Millis | None = field(default=None)  # of the last event


def fill(
    loaded: Loaded, clock: Clock, events: Path | None, other: Loaded | None, limit: int | None
) -> list[Filled]:
    """Send the events of a folder, or of another configuration's files, as records with key and time.

    What is no event goes as it is, without a key, at the time of the one before it. Nothing gets a time to come.
    Raises ConfigError, DataError, Unavailable: then some of it may be there, and sending all again does no harm, for
    repeats are known by their ids.
    """
    config = loaded.config
    chosen = _chosen(loaded, events, other)
    kafka = kafka_of(config)
    ways = [_way(config, kind, files) for kind, files in chosen.items()]
    readers = [files.records(other or loaded, clock) for files in chosen.values()]
    merged = heapq.merge(*(_timed(records, n) for n, records in enumerate(readers)), key=lambda one: one[:2])
    kept = _retentions(kafka, [way.topic for way in ways])
    with kafka.courier() as courier:
        for _, number, record in islice(merged, limit):
            way = ways[number]
            if way.time is None and record.time is not None:
                _refuse_to_lose(way.topic, record.time, kept[way.topic], clock())
            way.time = record.time if record.time is not None else way.time
            value = way.rewrites.of(record.format)(record.value)
            time = None if way.time is None else min(way.time, clock())
            courier.send(way.topic, value, record.key, time=time)
            _count(way.filled, record)
        courier.settle()
    return _by_topic([way.filled for way in ways])


def _chosen(loaded: Loaded, events: Path | None, other: Loaded | None) -> dict[str, EventFiles]:
    """Return the files of each kind whose source is a topic; a source of several kinds once."""
    on_topics = [kind for kind, event in loaded.config.events.items() if event.source.startswith("kafka:")]
    if not on_topics:
        raise ConfigError('no source is a topic, so there is nothing to fill; write source = "kafka:clicks"')
    if (events is None) == (other is None):
        raise ConfigError("say where the events are: --events FOLDER, or --from CONFIG, one of them")
    found = in_folder(loaded, events) if events is not None else of_configuration(_given(other), on_topics)
    chosen: dict[tuple[str, str], tuple[str, EventFiles]] = {}
    for kind, files in found.items():
        if kind in on_topics:
            chosen.setdefault((loaded.config.events[kind].source, files.pattern), (kind, files))
    return dict(chosen.values())


def _given(other: Loaded | None) -> Loaded:
    assert other is not None
    return other


def _timed(records: Iterator[Recorded], number: int) -> Iterator[Timed]:
    """Give each record the latest time so far: the order of the files stays."""
    latest = -(1 << 62)
    for record in records:
        latest = max(latest, record.time if record.time is not None else latest)
        yield latest, number, record


class _Rewrites:
    """How the rows of one source become values of a topic; a registry learns their schema on the way."""

    def __init__(self, config: Config, kind: str, files: EventFiles) -> None:
        event = config.events[kind]
        self._topic = event.source.partition(":")[2]
        self._target = topic_formats(config)[event.source]
        self._types = {name: kind for spec in files.specs for name, kind in spec.fields.items()}
        self._registry = schema_registry(config.kafka) if self._target == "confluent-avro" else None
        self._schema = event.schema_path.read_text() if event.schema_path is not None else None
        self._known: dict[bytes | None, Rewrite] = {}

    def of(self, rows: Format) -> Rewrite:
        """Return it for rows of a format. Raises ConfigError, Unavailable."""
        if rows.schema not in self._known:
            try:
                self._known[rows.schema] = self._made(rows)
            except ConfigError as error:
                raise ConfigError(f"{self._topic}: {error}") from None
        return self._known[rows.schema]

    def _made(self, rows: Format) -> Rewrite:
        schema = self._schema
        if rows.encoding == "avro-container" and (schema is None or self._registry is not None):
            schema = (rows.schema or b"").decode()
        rewrite = rewriting(rows, self._types, self._target, schema)
        if self._registry is None:
            return rewrite
        return framed(rewrite, self._registry.register(f"{self._topic}-value", schema or ""))


def _way(config: Config, kind: str, files: EventFiles) -> _Way:
    topic = config.events[kind].source.partition(":")[2]
    return _Way(topic, _Rewrites(config, kind, files), Filled(topic))


def _retentions(kafka: Kafka, topics: list[str]) -> dict[str, Millis | None]:
    """Return how long each topic keeps records, None: for ever. Raises ConfigError for one that is missing."""
    with closing(kafka.admin()) as admin:
        admin.partitions(topics)
        said = {topic: int(admin.configs(topic)["retention.ms"]) for topic in topics}
    return {topic: None if millis < 0 else millis for topic, millis in said.items()}


def _refuse_to_lose(topic: str, time: Millis, kept: Millis | None, now: Millis) -> None:
    """Raise ConfigError if the broker would delete what it is given."""
    if kept is not None and time < now - kept:
        raise ConfigError(
            f"topic {topic} keeps records for {format_duration(kept)} by their time, and these events begin at "
            f"{iso(time)}: the broker would delete them. Set its retention.ms to -1 (kafka-configs.sh --alter), or make "
            "it with: stream-mtl topics create --replay"
        )


def _count(filled: Filled, record: Recorded) -> None:
    filled.records += 1
    filled.keyless += record.key is None
    if record.time is not None:
        filled.first = record.time if filled.first is None else min(filled.first, record.time)
        filled.last = record.time if filled.last is None else max(filled.last, record.time)


def _by_topic(several: list[Filled]) -> list[Filled]:
    total: dict[str, Filled] = {}
    for one in several:
        held = total.setdefault(one.topic, Filled(one.topic))
        held.records += one.records
        held.keyless += one.keyless
        held.first = _least(held.first, one.first)
        held.last = None if held.last is None and one.last is None else max(held.last or 0, one.last or 0)
    return list(total.values())


def _least(one: Millis | None, other: Millis | None) -> Millis | None:
    known = [time for time in (one, other) if time is not None]
    return min(known, default=None)


def as_plain(filled: Filled) -> Mapping[str, Any]:
    """Return it as JSON has it."""
    return {
        "topic": filled.topic,
        "records": filled.records,
        "without_key": filled.keyless,
        "first_ms": filled.first,
        "last_ms": filled.last,
    }

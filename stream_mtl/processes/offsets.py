"""How far the inputs were read: by the log, which is the truth, and by the group, which mirrors it for lag tools."""

import re
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from stream_mtl.clock import Millis
from stream_mtl.config.sections import Config
from stream_mtl.config.units import parse_duration
from stream_mtl.connectors.glance import Glance, places_of
from stream_mtl.connectors.kafka import Kafka, KafkaAdmin
from stream_mtl.connectors.kafka_reader import Place
from stream_mtl.errors import ConfigError, Unavailable
from stream_mtl.join.block import Header
from stream_mtl.join.log import FileLog
from stream_mtl.processes.bus import kafka_of, log_of
from stream_mtl.processes.declared import Declared
from stream_mtl.processes.tail import last_in_folder, last_on_topic
from stream_mtl.processes.topics import on_topic, planned

_REST: Final = 0.5  # seconds between two questions about a group
_NUMBER: Final = re.compile(r"\d{1,16}", re.ASCII)


@dataclass(frozen=True, slots=True)
class Standing:
    """One partition of an input: what the broker has of it, and how far it was read."""

    topic: str
    partition: int
    begin: int
    end: int
    committed: int | None  # by the last durable block: the truth. None: there is no block yet
    group: int | None  # what the group says: a mirror
    lag: int  # records that are not committed
    behind_ms: Millis | None  # how much older the next record is than the newest; None: not known


@dataclass(frozen=True, slots=True)
class Change:
    """What a reset writes for one partition."""

    topic: str
    partition: int
    now: int | None
    then: int


def standings(made: Declared) -> list[Standing]:
    """Return how far every partition of every input was read. Raises ConfigError, Unavailable."""
    kafka, inputs = kafka_of(made.config), _inputs(made)
    with closing(kafka.admin()) as admin:
        counts = admin.partitions(inputs)
        mirror = _group(made, admin)
    places = places_of(counts)
    committed = committed_of(made, kafka)
    with kafka.glance(places) as glance:
        begins, ends = glance.begins(), glance.ends()
        return [
            _standing(glance, place, begins[place], ends[place], committed.get(place), mirror.get(place))
            for place in places
        ]


def committed_of(made: Declared, kafka: Kafka) -> dict[Place, int]:
    """Return the positions of the last durable block of every joiner partition. Raises ConfigError, Unavailable."""
    headers = [header for header in last_headers(made.config, kafka) if header is not None]
    return {
        (progress.source.partition(":")[2], progress.partition): progress.next
        for header in headers
        for progress in header.progress
    }


def changes(made: Declared, to: str) -> list[Change]:
    """Return what a reset of the group to `to` would write: committed, earliest, latest, or a time.

    Raises ConfigError, Unavailable.
    """
    kafka, inputs = kafka_of(made.config), _inputs(made)
    with closing(kafka.admin()) as admin:
        admin.partitions(inputs)
        mirror = _group(made, admin)
        wanted = _wanted(made, kafka, admin, inputs, to)
    return [Change(*place, mirror.get(place), at) for place, at in sorted(wanted.items())]


def reset(made: Declared, changed: list[Change]) -> None:
    """Write them to the group. Raises ConfigError while it has members, Unavailable."""
    with closing(kafka_of(made.config).admin()) as admin:
        positions = {(change.topic, change.partition): change.then for change in changed}
        admin.reset_group(made.config.kafka.group, positions)


def time_of(text: str) -> Millis:
    """Return the instant of "2026-03-05T14:00:00Z" (UTC if it says no zone) or of ms since 1970. Raises ConfigError."""
    if _NUMBER.fullmatch(text):
        return int(text)
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise ConfigError(
            f'"{text}" is no time; write one like 2026-03-05T14:00:00Z, or milliseconds since 1970'
        ) from None
    zoned = moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)
    return round(zoned.timestamp() * 1_000)


def since(text: str, now: Millis) -> Millis:
    """Return the instant of a time, or of a duration like "2h" before now. Raises ConfigError."""
    try:
        return now - parse_duration(text)
    except ValueError:
        return time_of(text)


def _group(made: Declared, admin: KafkaAdmin) -> dict[Place, int]:
    """Return what the group has committed. The first question a broker is ever asked of groups it answers late."""
    until = time.monotonic() + made.config.kafka.connect_timeout / 1_000
    while True:
        try:
            return admin.group(made.config.kafka.group)
        except Unavailable:
            if time.monotonic() > until:
                raise
            time.sleep(_REST)


def _inputs(made: Declared) -> list[str]:
    inputs = [one.name for one in planned(made) if one.role == "input"]
    if not inputs:
        raise ConfigError(
            "the sources are files, which have no offsets; stream-mtl status says how far they are read"
        )
    return inputs


def last_headers(config: Config, kafka: Kafka) -> Iterator[Header | None]:
    """Yield the header of the newest block of every joiner partition. Raises ConfigError, Unavailable."""
    topic = on_topic(config.join.path)
    if topic is None:
        for number in range(config.join.partitions):
            log = log_of(config, number)
            assert isinstance(log, FileLog)
            yield last_in_folder(log)
        return
    with closing(kafka.admin()) as admin:
        places = places_of({topic: admin.partitions([topic])[topic]})
    with kafka.glance(places) as glance:
        begins, ends = glance.begins(), glance.ends()
        for place in places[: config.join.partitions]:
            yield last_on_topic(glance, place, begins[place], ends[place])


def _standing(
    glance: Glance, place: Place, begin: int, end: int, committed: int | None, group: int | None
) -> Standing:
    at = begin if committed is None else max(committed, begin)
    lag = max(end - at, 0)
    return Standing(*place, begin, end, committed, group, lag, _behind(glance, place, at, end) if lag else 0)


def _behind(glance: Glance, place: Place, at: int, end: int) -> Millis | None:
    next_, newest = glance.first(place, at, end), glance.first(place, end - 1, end)
    if next_ is None or newest is None or next_.time < 0 or newest.time < 0:
        return None
    return max(newest.time - next_.time, 0)


def _wanted(
    made: Declared, kafka: Kafka, admin: KafkaAdmin, inputs: list[str], to: str
) -> Mapping[Place, int]:
    if to == "committed":  # below zero it is in the history before the topic
        return {place: at for place, at in committed_of(made, kafka).items() if at >= 0}
    ask: Callable[[str], Mapping[int, int]]
    if to in ("earliest", "latest"):
        ask = admin.begin if to == "earliest" else admin.end
    else:
        moment = time_of(to)
        ask = lambda topic: admin.at(topic, moment)  # noqa: E731
    return {(topic, number): at for topic in inputs for number, at in ask(topic).items()}

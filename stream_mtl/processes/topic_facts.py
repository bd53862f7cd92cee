"""What a broker says of the topics of a configuration, and what a few of their records look like."""

from collections.abc import Collection, Mapping
from contextlib import closing
from dataclasses import dataclass, field
from typing import Final

from stream_mtl.clock import SECOND, Clock, Millis
from stream_mtl.connectors.base import Unreadable
from stream_mtl.connectors.glance import Glance, places_of
from stream_mtl.connectors.kafka import Kafka, KafkaAdmin
from stream_mtl.connectors.kafka_reader import Place
from stream_mtl.connectors.keys import record_key
from stream_mtl.connectors.partition import Entry
from stream_mtl.errors import ConfigError
from stream_mtl.processes.bus import kafka_of
from stream_mtl.processes.declared import Declared
from stream_mtl.processes.decoding import Decoding
from stream_mtl.processes.topics import Planned, planned

_SAMPLE: Final = 4  # records at either end of a partition
_PARTITIONS: Final = 8  # of a topic that are looked into


@dataclass(frozen=True, slots=True)
class Sampled:
    """One record: where it lies, and the key that its chain has (None: it is no event, or does not carry it)."""

    partition: int
    key: bytes | None  # of the record
    chain: bytes | None
    size: int  # bytes
    kept: int  # bytes of its fields that are kept
    fault: str | None = None  # why it is no event


@dataclass(frozen=True, slots=True)
class TopicFacts:
    """One topic as it is. `settings` is None where we may not see them."""

    planned: Planned
    partitions: int | None  # None: it is not there
    replicas: int = 0
    settings: Mapping[str, str] | None = None
    records: int = 0  # offsets between begin and end, all partitions
    rate: float | None = None  # records a second, by offsets and times; None: not known
    samples: tuple[Sampled, ...] = field(default=())

    def setting(self, name: str) -> str:
        """Return a setting, "" where it is not known."""
        return (self.settings or {}).get(name, "")

    def number(self, name: str) -> int | None:
        """Return a setting that is a number, None where it is not known."""
        text = self.setting(name)
        return int(text) if text.removeprefix("-").isdecimal() else None


def facts_of(made: Declared, clock: Clock) -> list[TopicFacts]:
    """Look at every topic that the configuration names. Raises ConfigError, Unavailable."""
    kafka = kafka_of(made.config)
    wanted = planned(made)
    with closing(kafka.admin()) as admin:
        there = admin.existing([one.name for one in wanted])
        bare = [_described(admin, one, there.get(one.name)) for one in wanted]
    inputs = {one.planned.name for one in bare if one.partitions and one.planned.role == "input"}
    looks = _look(kafka, made, {name: there[name] for name in inputs}, clock) if inputs else {}
    return [looks[one.planned.name].laid_on(one) if one.planned.name in looks else one for one in bare]


def _described(admin: KafkaAdmin, wanted: Planned, partitions: int | None) -> TopicFacts:
    if partitions is None:
        return TopicFacts(wanted, None)
    try:
        settings = admin.configs(wanted.name)
    except ConfigError:  # we may describe it, but not its settings
        settings = None
    return TopicFacts(wanted, partitions, admin.replicas(wanted.name), settings)


@dataclass(slots=True)
class _Look:
    """What was seen of one topic."""

    records: int = 0
    rate: float = 0.0
    timed: bool = False
    samples: list[Sampled] = field(default_factory=list)

    def laid_on(self, facts: TopicFacts) -> TopicFacts:
        rate = self.rate if self.timed else None
        return TopicFacts(
            facts.planned,
            facts.partitions,
            facts.replicas,
            facts.settings,
            self.records,
            rate,
            tuple(self.samples),
        )


def _look(kafka: Kafka, made: Declared, topics: Mapping[str, int], clock: Clock) -> dict[str, _Look]:
    decoding, looks = Decoding(made, clock), {name: _Look() for name in topics}
    places = places_of(topics)
    with kafka.glance(places) as glance:
        begins, ends = glance.begins(), glance.ends()
        for place in places:
            looks[place[0]].records += ends[place] - begins[place]
        for name, count in topics.items():
            for number in _spread(count):
                _look_into(glance, decoding, made, (name, number), begins, ends, looks[name], count)
    return looks


def _spread(count: int) -> Collection[int]:
    """Return a few of so many partitions."""
    step = max(1, -(-count // _PARTITIONS))
    return range(0, count, step)


def _look_into(
    glance: Glance,
    decoding: Decoding,
    made: Declared,
    place: Place,
    begins: Mapping[Place, int],
    ends: Mapping[Place, int],
    look: _Look,
    count: int,
) -> None:
    begin, end = begins[place], ends[place]
    first = list(_entries(glance, place, begin, min(begin + _SAMPLE, end)))
    last = list(_entries(glance, place, max(end - _SAMPLE, begin + _SAMPLE), end))
    look.samples += [
        sampled for entry in [*first, *last] for sampled in _sampled(decoding, made, place, entry)
    ]
    lapse = _lapse([*first, *last])
    if lapse:
        look.rate += (end - begin) * SECOND / lapse * count / len(_spread(count))
        look.timed = True


def _entries(glance: Glance, place: Place, start: int, end: int) -> list[Entry]:
    return [seen for seen in glance.records(place, start, end) if not isinstance(seen, Unreadable)]


def _lapse(entries: list[Entry]) -> Millis:
    times = [entry.time for entry in entries if entry.time >= 0]
    return max(times) - min(times) if times else 0


def _sampled(decoding: Decoding, made: Declared, place: Place, entry: Entry) -> list[Sampled]:
    arrivals = decoding.arrivals(f"kafka:{place[0]}", place[1], [entry])
    size = len(entry.value)
    found = [
        Sampled(place[1], entry.key, _chain_key(events.fields, made.chain.key), size, events.fields.nbytes)
        for events in arrivals.events
    ]
    bad = arrivals.malformed
    faults = [
        Sampled(place[1], entry.key, None, size, 0, f"{reason}: {detail}")
        for reason, detail in zip(bad.reason, bad.detail, strict=True)
    ]
    return found[:1] or faults[:1]


def _chain_key(fields: object, names: tuple[str, ...]) -> bytes | None:
    columns = fields.schema.names  # type: ignore[attr-defined]
    if not names or not all(name in columns for name in names):
        return None
    values = [fields.column(name)[0].as_py() for name in names]  # type: ignore[attr-defined]
    return None if None in values else record_key(values)

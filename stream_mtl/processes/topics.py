"""The topics that a configuration names: what each is for, how it must be made, and which of them are there."""

from collections.abc import Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass, field
from typing import Final, Literal, TypeAlias

from stream_mtl.clock import DAY, Millis
from stream_mtl.config.problems import nearest
from stream_mtl.config.sections import Config
from stream_mtl.config.values import Topic as TopicName
from stream_mtl.connectors.kafka import KafkaAdmin
from stream_mtl.errors import ConfigError
from stream_mtl.join.shape import shape_of
from stream_mtl.processes.bus import kafka_of
from stream_mtl.processes.declared import Declared

Role: TypeAlias = Literal["input", "scores", "transitions", "dead letters", "announcements", "readings"]

MARGIN: Final[Millis] = 7 * DAY
"""How long a joiner may be down, beyond what it must read again, before it finds its place gone."""

LETTER_BYTES: Final = 8 << 20
"""Of one dead letter: it holds the record as base64 and, where it is text, as text too."""

BLOCK_BYTES: Final = 1_048_588
"""Of one part of a block with all that is around it, as brokers take it unless told otherwise."""


@dataclass(frozen=True, slots=True)
class Planned:
    """A topic as it should be. `kinds` are the kinds of event that are read from it."""

    name: str
    role: Role
    partitions: int
    settings: Mapping[str, str]
    kinds: tuple[str, ...] = field(default=())

    @property
    def what(self) -> str:
        """What it is for, in a few words."""
        return ", ".join(self.kinds) or self.role


@dataclass(frozen=True, slots=True)
class Made:
    """A planned topic that is there now."""

    planned: Planned
    partitions: int
    new: bool


def planned(made: Declared, partitions: int | None = None, replay: bool = False) -> list[Planned]:
    """Return every topic that the configuration names, inputs first. `replay`: what is kept is kept for ever.

    Raises ConfigError where there is none, or where one is to be two things.
    """
    config = made.config
    wanted = [*_inputs(made, _count(config, partitions), replay), *_others(made, replay)]
    if not wanted:
        raise ConfigError('the configuration names no topic; write one like source = "kafka:clicks"')
    seen: dict[str, str] = {}
    for one in wanted:
        if one.name in seen:
            raise ConfigError(f"topic {one.name} is {seen[one.name]} and {one.role}; name two topics")
        seen[one.name] = one.role
    return wanted


def planned_topic(made: Declared, name: str) -> Planned:
    """Return the topic of that name. Raises ConfigError."""
    wanted = {one.name: one for one in planned(made)}
    if name not in wanted:
        raise ConfigError(f'the configuration names no topic "{name}"; {nearest(name, wanted)}')
    return wanted[name]


def create(made: Declared, partitions: int | None, replication: int | None, replay: bool) -> list[Made]:
    """Make the topics that are missing; those that are there stay as they are. Raises ConfigError, Unavailable."""
    wanted = planned(made, partitions, replay)
    with closing(kafka_of(made.config).admin()) as admin:
        there = admin.existing([one.name for one in wanted])
        return [_create(admin, one, there.get(one.name), replication) for one in wanted]


def lifetime(made: Declared) -> Millis:
    """Return how much of inputs and log must be kept to make a joiner's lost state anew (decision 8)."""
    return shape_of(made.chain).reach if made.chain.key else 0


def on_topic(place: object) -> str | None:
    """Return the name of a topic, None for a folder or nothing."""
    return place.name if isinstance(place, TopicName) else None


def _create(admin: KafkaAdmin, wanted: Planned, there: int | None, replication: int | None) -> Made:
    if there is not None:
        return Made(wanted, there, False)
    settings = dict(wanted.settings)
    if replication is not None and replication >= 3:
        settings["min.insync.replicas"] = "2"  # or an acknowledged record may be on one disk only
    new = admin.create(wanted.name, wanted.partitions, -1 if replication is None else replication, settings)
    return Made(wanted, wanted.partitions, new)


def _count(config: Config, partitions: int | None) -> int:
    """Return how many partitions inputs get."""
    joiners = config.join.partitions
    if partitions is not None and joiners > 1 and partitions != joiners:
        raise ConfigError(
            f"--partitions {partitions}: each of the {joiners} joiners (join.partitions) owns one partition of every "
            f"input; leave it out, or set join.partitions = {partitions}"
        )
    return partitions or joiners


def _inputs(made: Declared, partitions: int, replay: bool) -> Iterator[Planned]:
    kinds: dict[str, list[str]] = {}
    for spec in made.specs:
        scheme, _, name = spec.source.partition(":")
        if scheme == "kafka":
            kinds.setdefault(name, []).append(spec.kind)
    for name, own in kinds.items():
        yield Planned(name, "input", partitions, _kept(_retention(made, replay)), tuple(own))
    scores = on_topic(made.config.serve.log)
    if scores is not None and scores not in kinds:
        yield Planned(scores, "scores", partitions, _kept(_retention(made, replay)))


def _others(made: Declared, replay: bool) -> Iterator[Planned]:
    config = made.config
    if (name := on_topic(config.join.path)) is not None:
        settings = _kept(_retention(made, replay)) | {"max.message.bytes": str(BLOCK_BYTES)}
        yield Planned(name, "transitions", config.join.partitions, settings)
    if (name := on_topic(config.dead_letters.path)) is not None:
        yield Planned(name, "dead letters", 1, _letters(config))
    if (name := on_topic(config.publish.announce)) is not None:
        yield Planned(name, "announcements", 1, _kept(7 * DAY))
    if (name := on_topic(config.watch.readings)) is not None:
        yield Planned(name, "readings", 1, _kept(30 * DAY))


def _retention(made: Declared, replay: bool) -> Millis:
    """Return what is kept of inputs and log: what must be read again, and a week of being away; -1: everything."""
    return -1 if replay else -(-(lifetime(made) + MARGIN) // DAY) * DAY


def _kept(retention: Millis) -> dict[str, str]:
    return {
        "cleanup.policy": "delete",
        "retention.ms": str(retention),
        "retention.bytes": "-1",
        "message.timestamp.type": "CreateTime",
    }


def _letters(config: Config) -> dict[str, str]:
    """Each letter is kept once, for as long and as many bytes as the configuration says."""
    return {
        "cleanup.policy": "compact,delete",
        "retention.ms": str(config.dead_letters.keep),
        "retention.bytes": str(config.dead_letters.max_bytes),
        "message.timestamp.type": "CreateTime",
        "max.message.bytes": str(LETTER_BYTES),
    }

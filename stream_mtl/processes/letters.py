"""Where the dead letters of a configuration go: a topic, or a folder that keeps them for a while."""

from contextlib import closing
from pathlib import Path
from typing import Final

from stream_mtl.clock import Clock
from stream_mtl.config.sections import Config
from stream_mtl.connectors.kafka import Kafka
from stream_mtl.connectors.kept import KeptLines
from stream_mtl.connectors.letters import DeadLetters
from stream_mtl.errors import ConfigError
from stream_mtl.processes.bus import kafka_of

_FRAME: Final = 1_024  # bytes of a batch around its only record, and its key
_USUAL: Final = 1_000_000  # bytes of a batch that every broker takes unless it was told otherwise


def dead_letters(config: Config, number: int, clock: Clock) -> DeadLetters:
    """Open where a joiner's dead letters go. A folder has one writer: of several joiners each has its own below it.

    A folder keeps what [dead_letters] says; a topic's broker does that by itself, and letters larger than it takes
    are cut. Raises ConfigError, Unavailable.
    """
    letters, joiners = config.dead_letters, config.join.partitions
    place = letters.path
    if not isinstance(place, Path):
        kafka = kafka_of(config)
        return DeadLetters(kafka.sink(place.name), _largest(kafka, place.name))
    folder = place / str(number) if joiners > 1 else place
    return DeadLetters(KeptLines(folder, letters.max_bytes // joiners, letters.keep, clock), clock=clock)


def _largest(kafka: Kafka, topic: str) -> int:
    """Return how large a letter may be; what every broker takes, where we may not ask."""
    try:
        with closing(kafka.admin()) as admin:
            return int(admin.configs(topic)["max.message.bytes"]) - _FRAME
    except (ConfigError, KeyError, ValueError):
        return _USUAL - _FRAME

"""Where the dead letters of a configuration go: a topic, or a folder that keeps them for a while."""

from pathlib import Path

from stream_mtl.clock import Clock
from stream_mtl.config.sections import Config
from stream_mtl.connectors.base import Sink
from stream_mtl.connectors.kept import KeptLines
from stream_mtl.processes.bus import kafka_of


def letter_sink(config: Config, number: int, clock: Clock) -> Sink:
    """Open where a joiner's dead letters go. A folder has one writer: of several joiners each has its own below it.

    A folder keeps what [dead_letters] says; a topic's broker does that by itself. Raises ConfigError, Unavailable.
    """
    letters, joiners = config.dead_letters, config.join.partitions
    place = letters.path
    if not isinstance(place, Path):
        return kafka_of(config).sink(place.name)
    folder = place / str(number) if joiners > 1 else place
    return KeptLines(folder, letters.max_bytes // joiners, letters.keep, clock)

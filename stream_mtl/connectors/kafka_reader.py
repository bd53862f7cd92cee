"""Several topics read by one consumer, each a source of its own; what comes for another source waits for it."""

import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final, Protocol, TypeAlias

from stream_mtl.connectors.backlog import CAPACITY, Backlog
from stream_mtl.connectors.base import Format, Positions, Records
from stream_mtl.connectors.recordbatch import Chunk
from stream_mtl.errors import PositionOutOfRange

Place: TypeAlias = tuple[str, int]
"""A topic and one of its partitions."""

PATIENCE: Final = 5  # ms that a poll waits where records may come
LOST: Final = "the broker has dropped or lost what comes next: put it back, or join anew with another join.path and join.state"
"""What to do about it."""

_SURE: Final = 1_000  # ms that it waits where they are known to be there
_LOW = CAPACITY // 4  # bytes at hand, below which more is fetched


@dataclass(frozen=True, slots=True)
class Topic:
    """A topic to be read as a source. `partitions` None are all that it has."""

    name: str
    format: Format
    partitions: tuple[int, ...] | None = None


class Intake(Protocol):
    """A consumer that is assigned to places, and what it has fetched of each."""

    backlogs: dict[Place, Backlog]

    def begin(self, places: Iterable[Place]) -> dict[Place, int]:
        """Return where places begin. Raises Unavailable."""
        ...

    def end(self, places: Iterable[Place]) -> dict[Place, int]:
        """Return where places end for whoever reads only what was committed. Raises Unavailable."""
        ...

    def seek(self, place: Place, position: int) -> None:
        """Go on at a position, which must be there."""
        ...

    def fetch(self, timeout: int, held: frozenset[Place]) -> None:
        """Add to the backlogs what came, waiting up to `timeout` ms for something; but nothing for places held."""
        ...

    def close(self) -> None:
        """Let go. May be called twice."""
        ...


class KafkaReader:
    """The sources, by their name, of one consumer. One thread owns them all.

    Without `follow` a source ends where the log ended when it was opened. A source that is not polled fills its
    backlog and then costs nothing more.
    """

    def __init__(self, intake: Intake, topics: Mapping[str, Topic], follow: bool) -> None:
        """Read topics whose partitions are all named."""
        self._intake = intake
        self._paused: dict[str, frozenset[Place]] = {}
        ends = None if follow else intake.end(intake.backlogs)
        self.sources = {name: KafkaSource(name, topic, self, intake, ends) for name, topic in topics.items()}
        self._open = set(self.sources)

    def fetch(self, source: str, timeout: int, paused: frozenset[Place]) -> None:
        """Fetch for all sources. `paused` are the places that this one does not want now."""
        self._paused[source] = paused
        self._intake.fetch(timeout, frozenset().union(*self._paused.values()))

    def leave(self, source: str) -> None:
        """Close the consumer when its last source is closed."""
        self._open.discard(source)
        if not self._open:
            self._intake.close()

    def close(self) -> None:
        """Close every source."""
        for source in self.sources.values():
            source.close()


class KafkaSource:
    """One topic. A position is an offset; a tombstone is an empty span.

    What cannot be read (a checksum that fails, a codec that is not installed) comes as Records of its own, with
    `unreadable` and no record, and reading goes on behind it.
    """

    def __init__(
        self,
        name: str,
        topic: Topic,
        reader: KafkaReader,
        intake: Intake,
        ends: Mapping[Place, int] | None,
    ) -> None:
        """Read from where the partitions stand; to `ends`, None: for ever."""
        self.name = name
        self._topic, self._reader, self._intake, self._ends = topic, reader, intake, ends
        self._backlogs = {n: intake.backlogs[topic.name, n] for n in topic.partitions or ()}
        self._turn = 0

    def partitions(self) -> tuple[int, ...]:
        """Return the partitions that were asked for."""
        return tuple(self._backlogs)

    def begin(self) -> Positions:
        """Return the offset of the oldest record of each partition that the broker keeps."""
        begins = self._intake.begin(self._places(self._backlogs))
        return {number: begins[self._topic.name, number] for number in self._backlogs}

    def seek(self, positions: Mapping[int, int]) -> None:
        """Continue each named partition at its offset. Raises PositionOutOfRange, Unavailable."""
        for number in positions:
            if number not in self._backlogs:
                held = ", ".join(map(str, self._backlogs))
                raise PositionOutOfRange(f"{self.name} does not read partition {number}; it reads {held}")
        begins, ends = (ask(self._places(positions)) for ask in (self._intake.begin, self._intake.end))
        for number, position in positions.items():
            place = self._topic.name, number
            if not begins[place] <= position <= ends[place]:
                raise PositionOutOfRange(
                    f"{self.name}, partition {number}: holds positions {begins[place]} to {ends[place]}, "
                    f"asked for {position}; {LOST}"
                )
            self._intake.seek(place, position)

    def poll(self, limit: int, paused: frozenset[int] = frozenset()) -> list[Records]:
        """Return up to `limit` records, the partitions by turns: each poll begins with the next one.

        Waits a few milliseconds when there are none; longer only where the end is known and not reached.
        Raises PositionOutOfRange when the broker has dropped what comes next.
        """
        numbers = [*self._backlogs][self._turn :] + [*self._backlogs][: self._turn]
        self._turn = (self._turn + 1) % len(self._backlogs)
        wanted = [number for number in numbers if number not in paused]
        self._fill(wanted, self._places(paused & self._backlogs.keys()))
        out: list[Records] = []
        for number in wanted:
            while limit > 0 and (chunk := self._backlogs[number].take(limit)) is not None:
                out.append(self._records(number, chunk))
                limit -= len(chunk)
        return out

    def ended(self) -> bool:
        """Return whether everything was read that was there when the source was opened; never, when it follows."""
        return self._ends is not None and all(map(self._finished, self._backlogs))

    def close(self) -> None:
        """Let go of the consumer, when it was the last one to hold it."""
        self._reader.leave(self.name)

    def _fill(self, wanted: list[int], paused: frozenset[Place]) -> None:
        at_hand = sum(self._backlogs[number].size for number in wanted)
        if at_hand:
            if at_hand < _LOW:
                self._reader.fetch(self.name, 0, paused)
            return
        patience = PATIENCE if self._ends is None else _SURE
        until = time.monotonic() + patience / 1_000
        while not all(map(self._finished, wanted)):
            left = int(1_000 * (until - time.monotonic()))
            self._reader.fetch(self.name, max(left, 0), paused)
            if left <= 0 or any(self._backlogs[number] for number in wanted):
                return

    def _finished(self, number: int) -> bool:
        backlog = self._backlogs[number]
        return (
            self._ends is not None and not backlog and backlog.fetched >= self._ends[self._topic.name, number]
        )

    def _places(self, numbers: Iterable[int]) -> frozenset[Place]:
        return frozenset((self._topic.name, number) for number in numbers)

    def _records(self, number: int, chunk: Chunk) -> Records:
        return Records(
            self.name,
            number,
            self._topic.format,
            chunk.data,
            chunk.starts,
            chunk.ends,
            chunk.positions,
            chunk.next,
            times=chunk.times,
            unreadable=chunk.unreadable,
        )

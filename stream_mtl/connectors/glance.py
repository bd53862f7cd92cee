"""A few records here and there on a bus, with their keys: for whoever looks, and reads nothing in order."""

import time
from collections.abc import Callable, Collection, Iterator, Mapping
from typing import Final, TypeAlias

from stream_mtl.connectors.base import Unreadable
from stream_mtl.connectors.kafka_reader import Intake, Place
from stream_mtl.connectors.kafka_writer import entries_of
from stream_mtl.connectors.partition import Entry
from stream_mtl.errors import Unavailable

Seen: TypeAlias = Entry | Unreadable

_FETCH: Final = 100  # ms
_PIECE: Final = 1_000  # records taken at a time


class Glance:
    """One consumer over several places. It looks at one place at a time."""

    def __init__(
        self, connect: Callable[[Collection[Place]], Intake], places: Collection[Place], patience: int
    ):
        """Wait up to `patience` ms for what is known to be there. Raises Unavailable."""
        self._places, self._patience = frozenset(places), patience
        self._intake = connect(places)

    def begins(self) -> dict[Place, int]:
        """Return where each place begins."""
        return self._intake.begin(self._places)

    def ends(self) -> dict[Place, int]:
        """Return where each place ends, for whoever reads only what was committed."""
        return self._intake.end(self._places)

    def records(self, place: Place, start: int, end: int) -> Iterator[Seen]:
        """Yield what lies at offsets [start, end), of which nothing needs to be left. Raises Unavailable."""
        backlog, others = self._intake.backlogs[place], self._places - {place}
        self._intake.seek(place, start)
        until = time.monotonic() + self._patience / 1_000
        while backlog or backlog.fetched < end:
            if not backlog:
                self._intake.fetch(_FETCH, others)
                if not backlog and backlog.fetched < end and time.monotonic() > until:
                    raise Unavailable(
                        f"{place[0]}/{place[1]}: offset {backlog.fetched} did not come in {self._patience} ms"
                    )
                continue
            chunk = backlog.take(_PIECE)
            assert chunk is not None
            if chunk.unreadable is not None and chunk.unreadable.begin < end:
                yield chunk.unreadable
            for entry in entries_of(chunk):
                if entry.offset >= end:
                    return
                yield entry
            until = time.monotonic() + self._patience / 1_000

    def first(self, place: Place, start: int, end: int) -> Entry | None:
        """Return the first record that can be read at offsets [start, end)."""
        return next((seen for seen in self.records(place, start, end) if isinstance(seen, Entry)), None)

    def close(self) -> None:
        """Let go. May be called twice."""
        self._intake.close()

    def __enter__(self) -> "Glance":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def places_of(partitions: Mapping[str, int]) -> list[Place]:
    """Return all places of topics with so many partitions."""
    return [(topic, number) for topic, count in partitions.items() for number in range(count)]

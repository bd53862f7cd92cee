"""History, then the bus: files that hold the beginning of a topic, read first, and the topic from where they end.

A record of the history has a negative position: that of its row, less `SPAN`. Behind it come the topic's own offsets. So
what was read does not depend on the files any more once they are behind, and they may go.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Final

from stream_mtl.connectors.base import Positions, Records, Source
from stream_mtl.connectors.files import FileSource
from stream_mtl.connectors.folders import listings
from stream_mtl.errors import ConfigError

SPAN: Final = 1 << 48
"""More rows than any history has."""

Start = Callable[[int, int], int]
"""(partition, rows of its history) -> the offset from which the topic goes on."""

_NAMED: Final = re.compile(r"(?P<topic>.+)\+(?P<partition>\d+)\+(?P<offset>\d+)\.")


class History:
    """A source whose partitions each begin with that of another one, where it has any. It owns both."""

    def __init__(self, before: Mapping[int, Source], then: Source, start: Start) -> None:
        """`before` are sources of one partition each, which end; `start` is asked when they have."""
        if unknown := before.keys() - set(then.partitions()):
            raise ConfigError(
                f"{then.name}: the history has partition {min(unknown)}, the topic has only "
                f"{', '.join(map(str, then.partitions()))}"
            )
        self.name = then.name
        self._before, self._then, self._start = dict(before), then, start
        self._rows = dict.fromkeys(before, 0)  # of the history, read so far
        self._left = set(before)  # partitions whose history is not behind yet

    def partitions(self) -> tuple[int, ...]:
        """Return the topic's."""
        return self._then.partitions()

    def begin(self) -> Positions:
        """Return where the history begins, or the topic, where there is none."""
        return self._then.begin() | dict.fromkeys(self._before, -SPAN)

    def seek(self, positions: Mapping[int, int]) -> None:
        """Continue each named partition at its position, of the history or of the topic."""
        for number, position in positions.items():
            if position < 0 and number in self._before:
                self._before[number].seek({number: position + SPAN})
                self._rows[number] = position + SPAN
                self._left.add(number)
            else:
                self._left.discard(number)
                self._then.seek({number: position})

    def poll(self, limit: int, paused: frozenset[int] = frozenset()) -> list[Records]:
        """Return records of either; a partition goes on in the topic when its history has ended."""
        found: list[Records] = []
        for number in sorted(self._left - paused):
            some = self._before[number].poll(limit - sum(map(len, found)))
            found += [self._moved(records) for records in some]
            if not some and self._before[number].ended():
                self._then.seek({number: self._start(number, self._rows[number])})
                self._left.discard(number)
        if sum(map(len, found)) < limit and self._left != set(self.partitions()):
            found += self._then.poll(limit, paused | self._left)
        return found

    def ended(self) -> bool:
        """Return whether both have ended."""
        return not self._left and self._then.ended()

    def close(self) -> None:
        """Close both."""
        for source in (*self._before.values(), self._then):
            source.close()

    def _moved(self, records: Records) -> Records:
        self._rows[records.partition] = records.next
        return replace(
            records, source=self.name, positions=records.positions - SPAN, next=records.next - SPAN
        )


def histories(name: str, pattern: str) -> dict[int, Source]:
    """Open the files of a history, a source for each partition. Raises ConfigError when nothing matches."""
    return {number: FileSource(name, pattern, only=number) for number in listings(pattern, live=False)}


def named_start(name: str, pattern: str) -> Start | None:
    """Return where a topic goes on behind files that are named TOPIC+PARTITION+OFFSET.*, as Kafka Connect names them.

    None where they have other names. Raises ConfigError for names that contradict themselves.
    """
    firsts: dict[int, int] = {}
    for number, listing in listings(pattern, live=False).items():
        found = [_NAMED.match(path.name) for path in listing()]
        if not all(found) or not found:
            return None
        offsets = [int(match["offset"]) for match in found if match is not None]
        if offsets != sorted(set(offsets)):
            raise ConfigError(
                f"{name}: the files of {pattern} are not in the order of the offsets in their names"
            )
        firsts[number] = offsets[0]
    return lambda number, rows: firsts[number] + rows

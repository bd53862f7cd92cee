"""Silence: which source partitions no longer hold the watermark back because nothing has come from them for long.

A partition whose siblings (of the same source) move is passed over after `idle_after`. A whole source that falls
silent while others move holds the watermark for its `patience` and is then passed over too, with an alarm: an
outage of the conversions would otherwise teach a flood of false negatives at once. Where nothing moves at all,
time stands still. This reads the clock, so it is for live sources only; what it does is written into the blocks.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass

import structlog

from stream_mtl.clock import Millis
from stream_mtl.join.joiner import Partition


@dataclass(frozen=True, slots=True)
class SilenceOptions:
    """How long silence is borne. Times are of the clock."""

    idle_after: Millis  # of a partition whose siblings move
    patience: Mapping[str, Millis]  # of a whole source, by its name


class Silence:
    """When each partition was last heard of."""

    def __init__(self, places: Collection[Partition], options: SilenceOptions, now: Millis) -> None:
        self._heard = dict.fromkeys(places, now)
        self._options = options
        self.silent: frozenset[str] = frozenset()  # the sources that are passed over now

    def hear(self, places: Collection[Partition], now: Millis) -> None:
        """Note that these partitions gave records, or were not asked for any."""
        self._heard.update(dict.fromkeys(places, now))

    def floors(self, marks: Mapping[Partition, Millis | None], now: Millis) -> dict[Partition, Millis]:
        """Return the watermarks that silent partitions are given: the least of those that move. `marks` are all."""
        idle = {place for place, heard in self._heard.items() if now - heard >= self._options.idle_after}
        stalled = frozenset(name for name in self._options.patience if self._stalls(name, now))
        moving = [place for place in self._heard if place[0] not in stalled and place not in idle]
        if moving:
            self._alarm(stalled)
        floors = {}
        for place in self._heard:
            leaders = moving if place[0] in stalled else [other for other in moving if other[0] == place[0]]
            floor = _least([marks[other] for other in leaders])
            mark = marks[place]
            if place not in moving and floor is not None and (mark is None or floor > mark):
                floors[place] = floor
        return floors

    def _stalls(self, name: str, now: Millis) -> bool:
        patience = self._options.patience[name]
        return all(now - heard >= patience for (source, _), heard in self._heard.items() if source == name)

    def _alarm(self, stalled: frozenset[str]) -> None:
        for name in stalled - self.silent:
            structlog.get_logger().warning(
                "source_silent", source=name, patience_ms=self._options.patience[name], effect="passed over"
            )
        for name in self.silent - stalled:
            structlog.get_logger().info("source_heard_again", source=name)
        self.silent = stalled


def _least(marks: Collection[Millis | None]) -> Millis | None:
    known = [mark for mark in marks if mark is not None]
    return min(known) if known and len(known) == len(marks) else None

"""How far event time has come in each source partition, and which records come too late for it."""

from collections.abc import Iterator, Mapping
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from stream_mtl.clock import Millis

Plain: TypeAlias = dict[str, int | None]


class Watermark:
    """The watermark of one source partition (decision 1, section 1).

    At record i it is max(t_0..t_i) - lateness, and never below the floor. A record below the watermark at
    its own position is late. None of this depends on how the records were cut into batches.
    """

    def __init__(self, lateness: Millis) -> None:
        self.lateness = lateness
        self.greatest: Millis | None = None  # event time so far
        self._floor: Millis | None = None

    @property
    def value(self) -> Millis | None:
        """The watermark now; None before the first record or floor."""
        if self.greatest is None:
            return self._floor
        reached = self.greatest - self.lateness
        return reached if self._floor is None else max(reached, self._floor)

    def advance(self, times: npt.NDArray[np.int64]) -> npt.NDArray[np.bool_]:
        """Take the event times (n,) of the next valid records, in position order; return which are late."""
        if not len(times):
            return np.zeros(0, bool)
        reached = np.maximum.accumulate(times)
        if self.greatest is not None:
            reached = np.maximum(reached, self.greatest)
        self.greatest = int(reached[-1])
        marks = reached - self.lateness
        if self._floor is not None:
            marks = np.maximum(marks, self._floor)
        late: npt.NDArray[np.bool_] = times < marks
        return late

    def floor(self, value: Millis) -> None:
        """Let the watermark be at least `value` from the next record on: a tick. It never falls."""
        self._floor = value if self._floor is None else max(value, self._floor)

    def to_dict(self) -> Plain:
        """Return all that `from_dict` needs."""
        return {"lateness": self.lateness, "greatest": self.greatest, "floor": self._floor}

    @classmethod
    def from_dict(cls, plain: Mapping[str, int | None]) -> "Watermark":
        """Return the watermark that `to_dict` was asked of."""
        mark = cls(plain["lateness"] or 0)
        mark.greatest, mark._floor = plain["greatest"], plain["floor"]
        return mark


class Watermarks:
    """The watermarks of all source partitions of one joiner, and the least of them."""

    def __init__(self, pairs: Mapping[tuple[str, int], Millis]) -> None:
        """Begin with the lateness of each (source, partition)."""
        self._marks = {pair: Watermark(lateness) for pair, lateness in pairs.items()}

    def __getitem__(self, pair: tuple[str, int]) -> Watermark:
        return self._marks[pair]

    def __iter__(self) -> Iterator[tuple[str, int]]:
        return iter(self._marks)

    def least(self) -> Millis | None:
        """Return how far all partitions have come; None while one has neither record nor floor."""
        values = [mark.value for mark in self._marks.values()]
        known = [value for value in values if value is not None]
        return min(known) if known and len(known) == len(values) else None

    def greatest(self) -> Millis | None:
        """Return the greatest event time seen in any partition; None before the first record."""
        seen = [mark.greatest for mark in self._marks.values() if mark.greatest is not None]
        return max(seen, default=None)

    def to_dict(self) -> dict[str, dict[str, Plain]]:
        """Return source -> partition -> watermark, fit for JSON."""
        plain: dict[str, dict[str, Plain]] = {}
        for (source, partition), mark in self._marks.items():
            plain.setdefault(source, {})[str(partition)] = mark.to_dict()
        return plain

    @classmethod
    def from_dict(cls, plain: Mapping[str, Mapping[str, Mapping[str, int | None]]]) -> "Watermarks":
        """Return the watermarks that `to_dict` was asked of."""
        marks = cls({})
        for source, partitions in plain.items():
            for partition, mark in partitions.items():
                marks._marks[source, int(partition)] = Watermark.from_dict(mark)
        return marks

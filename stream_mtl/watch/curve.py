"""A curve over a run of unknown length: sums as they stood at certain moments, never more than so many."""

from collections.abc import Mapping
from itertools import pairwise

from stream_mtl.clock import Millis
from stream_mtl.measures import Sums, count, since

Stand = Mapping[str, Sums]
"""The sums so far, by output."""


class Curve:
    """Keeps the sums at the borders of equal intervals. When there are too many, every other border is dropped.

    What is kept are sums since the beginning, so nothing is lost by that but resolution.
    """

    def __init__(self, nothing: Stand, every: Millis, most: int = 128) -> None:
        self._every, self._most = every, most
        self._stands: list[tuple[Millis, Stand]] = []
        self._nothing = nothing

    def pass_by(self, time: Millis, stand: Stand) -> None:
        """Note the sums if this is the first moment of a new interval. Times do not fall."""
        if self._stands and time // self._every == self._stands[-1][0] // self._every:
            return
        self._stands.append((time, stand))
        if len(self._stands) > self._most:
            self._stands = self._stands[::2]
            self._every *= 2

    def intervals(self, end: Millis, last: Stand) -> list[tuple[Millis, dict[str, Sums]]]:
        """Return the end of every interval and what was added in it, up to the end of the run."""
        stands = [(end, self._nothing), *self._stands, (end, last)]
        return [(time, since(stand, before)) for (_, before), (time, stand) in pairwise(stands)]

    def second_half(self, last: Stand) -> dict[str, Sums]:
        """Return what was added behind the border at which about half of all examples had been counted."""
        half = _examples(last) / 2
        stands = [self._nothing, *(stand for _, stand in self._stands)]
        return since(last, min(stands, key=lambda stand: abs(_examples(stand) - half)))


def _examples(stand: Stand) -> int:
    return max(map(count, stand.values()), default=0)

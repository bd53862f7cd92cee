"""Outcomes of products, held back until all of their time are in.

A product along a chain is told early where the answer is no (unclicked) and late where it can still be yes. Counted as
told, the newest exposures would show misses only. So its sums are held in cohorts of exposure time until the last label
of the cohort must have been told, and are counted then.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from stream_mtl.clock import Millis
from stream_mtl.learn.arrays import Arrays, put_under, under
from stream_mtl.measures import BinarySums

COHORTS = 64
"""Into so many the life of a label is cut."""

Ints = npt.NDArray[np.int64]


class Held:
    """The sums of one output that are not ripe yet, by cohort."""

    def __init__(self, life: Millis) -> None:
        """`life`: how long after an exposure its label is told at the latest."""
        self._life, self._width = life, max(life // COHORTS, 1)
        self._cohorts: dict[int, BinarySums] = {}

    def add(self, time: Ints, prediction: npt.NDArray[np.float32], truth: npt.NDArray[np.float64]) -> None:
        """Take outcomes of exposures shown at `time`. (n,) each"""
        cohort = time // self._width
        for number in np.unique(cohort).tolist():
            rows = cohort == number
            sums = BinarySums.of(prediction[rows], truth[rows])
            held = self._cohorts.get(number)
            self._cohorts[number] = sums if held is None else held + sums

    def ripe(self, told: Millis) -> BinarySums:
        """Return, once, the sums of the cohorts all of whose labels were told before this event time."""
        total = BinarySums.nothing()
        for number in sorted(self._cohorts):
            if (number + 1) * self._width + self._life <= told:
                total = total + self._cohorts.pop(number)
        return total

    def arrays(self) -> Arrays:
        """Return the state by name, to be saved."""
        return put_under(**{str(number): sums.arrays() for number, sums in self._cohorts.items()})

    def restore(self, arrays: Mapping[str, npt.NDArray[Any]]) -> None:
        """Take back what `arrays` gave."""
        numbers = {int(name.split(".")[0]) for name in arrays}
        self._cohorts = {n: BinarySums.of_arrays(under(arrays, str(n))) for n in sorted(numbers)}

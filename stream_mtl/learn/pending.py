"""Predictions that wait for their labels, by the number of the exposure that they were made for."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from stream_mtl.learn.predict import Predictions

Ints = npt.NDArray[np.int64]

_ROOM = 1 << 10


class Pending:
    """Predictions of one joiner partition, whose exposure numbers rise in the order of telling.

    They are columns that grow behind; what nothing waits for any more is swept out when it is half of them.
    """

    def __init__(self, outputs: int, tasks: int) -> None:
        self._all = (1 << tasks) - 1
        self._outputs = outputs
        self._count = self._gone = 0
        self._columns = self._room(_ROOM)

    def __len__(self) -> int:
        """Return how many predictions wait."""
        return self._count - self._gone

    def add(self, exposures: Ints, predictions: Predictions) -> None:
        """Keep predictions of exposures that come after all kept so far."""
        stop = self._count + len(exposures)
        if stop > len(self._columns["exposure"]):
            self._columns = self._moved(np.arange(self._count), 2 * stop)
        added = {"exposure": exposures, "prediction": predictions, "left": self._all}
        for name, values in added.items():
            self._columns[name][self._count : stop] = values
        self._count = stop

    def settle(self, exposures: Ints, tasks: Ints) -> Predictions:
        """Return the predictions made for these exposures, nan where there is none, and note what is over.

        `tasks` has bit i for task i. A prediction for which no task is left is dropped.
        """
        held, left = self._columns["exposure"][: self._count], self._columns["left"]
        place = np.searchsorted(held, exposures)
        known = place < self._count
        known[known] = (held[place[known]] == exposures[known]) & (left[place[known]] != 0)
        found = np.full((len(exposures), self._outputs), np.nan, np.float32)
        found[known] = self._columns["prediction"][place[known]]
        np.bitwise_and.at(left, place[known], ~tasks[known])
        self._gone += int((left[np.unique(place[known])] == 0).sum())
        if 2 * self._gone > self._count:
            self._sweep()
        return found

    def arrays(self) -> dict[str, npt.NDArray[Any]]:
        """Return what waits, by name, to be saved."""
        self._sweep()
        return {name: column[: self._count].copy() for name, column in self._columns.items()}

    def restore(self, arrays: Mapping[str, npt.NDArray[Any]]) -> None:
        """Take back what `arrays` gave."""
        self._count, self._gone = len(arrays["exposure"]), 0
        self._columns = self._room(max(2 * self._count, _ROOM))
        for name, column in self._columns.items():
            column[: self._count] = arrays[name]

    def _sweep(self) -> None:
        kept = np.flatnonzero(self._columns["left"][: self._count])
        self._columns = self._moved(kept, max(2 * len(kept), _ROOM))
        self._count, self._gone = len(kept), 0

    def _moved(self, rows: Ints, size: int) -> dict[str, npt.NDArray[Any]]:
        room = self._room(size)
        for name, column in room.items():
            column[: len(rows)] = self._columns[name][rows]
        return room

    def _room(self, size: int) -> dict[str, npt.NDArray[Any]]:
        return {
            "exposure": np.zeros(size, np.int64),
            "prediction": np.zeros((size, self._outputs), np.float32),
            "left": np.zeros(size, np.int64),
        }

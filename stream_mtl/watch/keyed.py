"""Sums under whole numbers: a small table of two arrays, in the order of its keys."""

from typing import Any, Self

import numpy as np
import numpy.typing as npt

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]

_MOST = 2**62  # beyond every key


class Keyed:
    """So many sums under each key that ever got some."""

    def __init__(self, columns: int) -> None:
        self.keys: Ints = np.zeros(0, np.int64)  # (m,) ascending
        self.sums: Floats = np.zeros((0, columns))  # (m, columns)

    def __len__(self) -> int:
        """Return how many keys there are."""
        return len(self.keys)

    def add(self, keys: Ints, *columns: Any) -> None:
        """Add rows: a key (n,) and a value of each column, (n,) or one for all."""
        if len(keys) == 0:
            return
        rows = np.stack([np.broadcast_to(np.asarray(column, np.float64), len(keys)) for column in columns], 1)
        self._merge(keys, rows)

    def merge(self, other: "Keyed") -> None:
        """Add the sums of another table of as many columns."""
        if len(other):
            self._merge(other.keys, other.sums)

    def pop_before(self, key: int) -> "Keyed":
        """Take out what stands under keys below this one."""
        stop = int(np.searchsorted(self.keys, min(max(key, -_MOST), _MOST)))
        gone = Keyed(self.sums.shape[1])
        gone.keys, gone.sums = self.keys[:stop], self.sums[:stop]
        self.keys, self.sums = self.keys[stop:].copy(), self.sums[stop:].copy()
        return gone

    def arrays(self) -> dict[str, npt.NDArray[Any]]:
        """Return everything, to be saved."""
        return {"keys": self.keys, "sums": self.sums}

    @classmethod
    def of_arrays(cls, keys: npt.NDArray[Any], sums: npt.NDArray[Any]) -> Self:
        """Take back what `arrays` gave."""
        made = cls(sums.shape[1])
        made.keys, made.sums = np.array(keys, np.int64), np.array(sums, np.float64)
        return made

    def _merge(self, keys: Ints, rows: Floats) -> None:
        self.keys, place = np.unique(np.concatenate([self.keys, keys]), return_inverse=True)
        rows = np.concatenate([self.sums, rows])
        place = place.reshape(-1)
        columns = [summed(place, rows[:, i], len(self.keys)) for i in range(rows.shape[1])]
        self.sums = np.stack(columns, axis=1)


def summed(place: npt.NDArray[Any], values: Floats, size: int) -> Floats:
    """Return the sum of the values at each place from 0 on. (size,)"""
    return np.bincount(place, values, size).astype(np.float64, copy=False)

"""Features as columns of numbers: 64-bit ids, bags of ids, and reals; what batches are cut from."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from stream_mtl.learn.arrays import Arrays, put_under, under

Ids = npt.NDArray[np.int64]
Rows = npt.NDArray[np.integer[Any]]  # (k,) row numbers


@dataclass(frozen=True, slots=True)
class Bag:
    """A list of ids a row, without padding: row i has ids[offsets[i] : offsets[i + 1]]."""

    ids: Ids  # (m,)
    offsets: Ids  # (n + 1,) from 0 to m

    @property
    def lengths(self) -> Ids:
        """Return the number of ids of every row. (n,)"""
        return np.diff(self.offsets)

    def take(self, rows: Rows) -> "Bag":
        """Return these rows."""
        return gather(self.ids, self.offsets[:-1][rows], self.lengths[rows])


@dataclass(frozen=True, slots=True)
class Encoded:
    """The features of n rows, in the layout of a `FeatureSpec`."""

    ids: Ids  # (n, id columns)
    bags: tuple[Bag, ...]
    numbers: npt.NDArray[np.float64]  # (n, number columns), not yet scaled; nan: missing
    bad: npt.NDArray[np.bool_]  # (n,) a cell was infinite or not a number: the row teaches nothing

    def __len__(self) -> int:
        return len(self.bad)

    def take(self, rows: Rows) -> "Encoded":
        """Return these rows."""
        return Encoded(
            self.ids[rows], tuple(bag.take(rows) for bag in self.bags), self.numbers[rows], self.bad[rows]
        )

    def arrays(self) -> Arrays:
        """Return the columns by name, to be saved."""
        bags = {f"bag.{i}": {"ids": bag.ids, "offsets": bag.offsets} for i, bag in enumerate(self.bags)}
        return {"ids": self.ids, "numbers": self.numbers, "bad": self.bad} | put_under(**bags)

    @classmethod
    def of_arrays(cls, arrays: Mapping[str, npt.NDArray[Any]]) -> "Encoded":
        """Take back what `arrays` gave."""
        bags = sum(name.endswith(".offsets") for name in arrays)
        return cls(
            arrays["ids"],
            tuple(Bag(**under(arrays, f"bag.{i}")) for i in range(bags)),
            arrays["numbers"],
            arrays["bad"],
        )


def gather(ids: Ids, starts: Ids, lengths: Ids) -> Bag:
    """Return the bag whose row i is ids[starts[i] : starts[i] + lengths[i]]."""
    offsets = np.concatenate([np.zeros(1, np.int64), np.cumsum(lengths)])
    places = np.repeat(starts - offsets[:-1], lengths) + np.arange(offsets[-1])
    return Bag(ids[places], offsets)


def concat(parts: Sequence[Encoded]) -> Encoded:
    """Put rows one after another; all parts are of one layout, and there is at least one."""
    if len(parts) == 1:
        return parts[0]
    return Encoded(
        np.concatenate([part.ids for part in parts]),
        tuple(_concat_bags(bags) for bags in zip(*(part.bags for part in parts), strict=True)),
        np.concatenate([part.numbers for part in parts]),
        np.concatenate([part.bad for part in parts]),
    )


def _concat_bags(bags: Sequence[Bag]) -> Bag:
    lengths = np.concatenate([bag.lengths for bag in bags])
    offsets = np.concatenate([np.zeros(1, np.int64), np.cumsum(lengths)])
    return Bag(np.concatenate([bag.ids for bag in bags]), offsets)

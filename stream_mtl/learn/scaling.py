"""Running standardisation of numbers: mean and spread of all rows learned so far, part of the checkpoint."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

Numbers = npt.NDArray[np.float64]  # (n, columns)

LIMIT = 10.0
"""Standardised values are clipped here; and beyond it, once `SURE` rows are known, a value moves the mean no more."""
SURE = 100
CONSTANT = 1e-7
"""A column that spreads less than this part of its mean is taken for constant: the rest is rounding."""


class Scaler:
    """Mean and variance by column. Columns that are not `moving` pass as they are."""

    def __init__(self, moving: npt.NDArray[np.bool_]) -> None:
        self._moving = moving
        self._count = np.zeros(len(moving))
        self._mean = np.zeros(len(moving))
        self._squares = np.zeros(len(moving))  # sum of squared distances from the mean
        self._factors = self._standard()

    def scale(self, numbers: Numbers) -> npt.NDArray[np.float32]:
        """Return the columns with mean 0 and variance 1, as far as known; a missing value becomes the mean."""
        shift, factor = self._factors
        scaled = np.clip((numbers - shift) * factor, -LIMIT, LIMIT).astype(np.float32)
        scaled[np.isnan(scaled)] = 0
        return scaled

    def learn(self, numbers: Numbers) -> None:
        """Take rows into the mean and the variance, missing values left out."""
        if not self._moving.any() or len(numbers) == 0:
            return
        values = np.where(self._moving, numbers, np.nan)
        sure = self._varies() & (self._count >= SURE)
        reach = np.where(sure, LIMIT * self._spread(), np.inf)
        values = np.clip(values, self._mean - reach, self._mean + reach)
        known = ~np.isnan(values)
        count = known.sum(axis=0)
        mean = np.where(known, values, 0).sum(axis=0) / np.maximum(count, 1)
        squares = np.where(known, np.square(values - mean), 0).sum(axis=0)
        total = np.maximum(self._count + count, 1)
        gap = np.where(count > 0, mean - self._mean, 0)
        self._squares += squares + np.square(gap) * self._count * count / total
        self._mean += gap * count / total
        self._count += count
        self._factors = self._standard()

    def arrays(self) -> dict[str, npt.NDArray[Any]]:
        """Return the state by name, to be saved."""
        return {"count": self._count.copy(), "mean": self._mean.copy(), "squares": self._squares.copy()}

    def restore(self, arrays: Mapping[str, npt.NDArray[Any]]) -> None:
        """Take back what `arrays` gave."""
        self._count, self._mean, self._squares = (arrays[n].copy() for n in ("count", "mean", "squares"))
        self._factors = self._standard()

    def _spread(self) -> npt.NDArray[np.float64]:
        return np.sqrt(self._squares / np.maximum(self._count, 1))

    def _varies(self) -> npt.NDArray[np.bool_]:
        return self._spread() > CONSTANT * np.abs(self._mean)

    def _standard(self) -> tuple[Numbers, Numbers]:
        """Return (shift, factor) by column: the standardised value is (x - shift) * factor."""
        spread = self._spread()
        usable = self._moving & self._varies()
        return np.where(self._moving, self._mean, 0), 1 / np.where(usable, spread, 1)

"""The exposures that a batch of tellings speaks of: their keys, and in front of them those that carry fields."""

from collections.abc import Iterable
from typing import TypeAlias

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from stream_mtl.join.exposures import Exposures, Touched
from stream_mtl.join.rows import Rows
from stream_mtl.join.search import Ints

Range: TypeAlias = tuple[int, int]
"""Exposures of the log: the first, and the one after the last."""

_POOR = -(1 << 50)  # added to places among the exposures without fields, until all with fields are counted


class Payload:
    """Collects exposures. Give the ranges of the log first, all at once: what they share is held once.

    What is told without fields has its place behind those with them, even where the same exposure has both:
    a reader sees by the place that there are none.
    """

    def __init__(
        self,
        exposures: Exposures,
        touched: Touched,
        key: list[str],
        rich: Iterable[Range],
        poor: Iterable[Range],
    ) -> None:
        self._exposures = exposures
        self._touched = touched
        self._key = key
        self._rich: list[pa.RecordBatch] = []
        self._poor: list[pa.RecordBatch] = []
        self._rich_rows = 0
        self._poor_rows = 0
        self._held: list[tuple[int, int, int]] = []  # range, and the place of its first less its number
        self._bare: list[
            tuple[int, int, int]
        ] = []  # the same of those without fields, which are never shared
        for start, stop in united(rich):
            self._held.append((start, stop, self._hold(start, stop, True)))
        for start, stop in united(poor):
            self._bare.append((start, stop, self._hold(start, stop, False)))

    def of_range(self, start: int, stop: int, rich: bool) -> int:
        """Return the place of the exposures [start, stop), when the exposure's number is added."""
        held = self._held if rich else self._bare
        return next(place for low, high, place in held if low <= start and stop <= high)

    def of_touched(self, rows: Rows, rich: npt.NDArray[np.bool_], poor: npt.NDArray[np.bool_]) -> Ints:
        """Add touched exposures, with fields or without, and return their places. (n,)"""
        place = np.zeros(len(rows), np.int64)
        for chosen, names in ((np.flatnonzero(rich), None), (np.flatnonzero(poor & ~rich), self._key)):
            if len(chosen):
                batch = self._touched.pile.take(rows[chosen], names)
                place[chosen] = self._add([batch], len(chosen), names is None) + np.arange(len(chosen))
        return place

    def settled(self, places: Ints) -> Ints:
        """Return final places: those without fields come after those with them."""
        return np.where(places < _POOR // 2, places + (self._rich_rows - _POOR), places)

    def tables(self, keys: pa.Schema, fields: pa.Schema) -> tuple[pa.Table, pa.Table]:
        """Return (keys of all places, fields of those that have them)."""
        every = [batch.select(self._key) for batch in self._rich + self._poor]
        return pa.Table.from_batches(every, keys), pa.Table.from_batches(self._rich, fields)

    def _hold(self, start: int, stop: int, fields: bool) -> int:
        return self._add(self._exposures.pile.slices(start, stop), stop - start, fields) - start

    def _add(self, batches: list[pa.RecordBatch], n: int, fields: bool) -> int:
        if fields:
            self._rich += batches
            self._rich_rows += n
            return self._rich_rows - n
        self._poor += batches
        self._poor_rows += n
        return self._poor_rows - n + _POOR


def united(ranges: Iterable[Range]) -> list[Range]:
    """Return ranges, ascending and apart, that cover just what these cover."""
    out: list[Range] = []
    for start, stop in sorted(ranges):
        if out and start <= out[-1][1]:
            out[-1] = (out[-1][0], max(stop, out[-1][1]))
        else:
            out.append((start, stop))
    return out

"""The ledger of one output: its sums over the life, windows, snapshots and slices, and the cohorts it holds back."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from stream_mtl.clock import Millis
from stream_mtl.measures import BinarySums, Sums, ValueSums
from stream_mtl.watch.cells import (
    OLDER,
    SNAPSHOT,
    Arrays,
    Cell,
    Cells,
    add,
    merge,
    merge_older,
    pack,
    total,
    unpack,
    versions,
)
from stream_mtl.watch.outcomes import Coded, Ints

PARTS = 12
"""Parts of a window, and of the time for which cohorts are held back."""

_LIFE, _SLICE, _WINDOW = Cell("life", ""), "slice.", "window."


@dataclass(frozen=True, slots=True)
class Scored:
    """Examples of one output: scores that were served, and their final label or value. (n,) each."""

    told: Ints  # ms
    time: Ints  # ms, of the exposure
    snapshot: Ints  # -1 where there is none
    served: npt.NDArray[np.float64]
    truth: npt.NDArray[np.float64]
    slices: Mapping[str, Coded]  # by field

    def __len__(self) -> int:
        return len(self.told)

    def take(self, rows: npt.NDArray[Any]) -> "Scored":
        """Return some of the rows."""
        return Scored(
            told=self.told[rows],
            time=self.time[rows],
            snapshot=self.snapshot[rows],
            served=self.served[rows],
            truth=self.truth[rows],
            slices={field: Coded(coded.values, coded.codes[rows]) for field, coded in self.slices.items()},
        )

    def split(self, key: Ints) -> Iterator[tuple[int, "Scored"]]:
        """Give the rows of each value of a key, in their order. (n,)"""
        order = np.argsort(key, kind="stable")
        values, first = np.unique(key[order], return_index=True)
        for value, rows in zip(values.tolist(), np.split(order, first[1:]), strict=False):
            yield value, self.take(rows)


class Ledger:
    """The sums of one output."""

    def __init__(
        self, sums: type[BinarySums] | type[ValueSums], life: Millis, held: bool, windows: tuple[Millis, ...]
    ) -> None:
        """`life`: how long after an exposure its label is told at the latest; `held`: count whole cohorts only."""
        self.unserved = self.impossible = 0
        self._sums, self._life, self._held, self._windows = sums, life, held, windows
        self._width = part_of(life)
        self._cells: Cells = {}
        self._cohorts: dict[int, Cells] = {}
        self._newest: dict[int | None, Millis] = {}  # by cohort held back, None: of what is counted

    @property
    def life(self) -> Sums:
        """The sums over everything counted."""
        return self._cells.get(_LIFE, self._sums.nothing())

    @property
    def newest(self) -> Millis | None:
        """When the newest exposure that is counted was shown; None if none is."""
        return self._newest.get(None)

    def window(self, window: Millis) -> Sums:
        """Return the sums over a window."""
        parts = [sums for cell, sums in self._cells.items() if cell.group == _WINDOW + str(window)]
        return total(parts) or self._sums.nothing()

    def snapshots(self) -> dict[str, Sums]:
        """Return the sums by snapshot: those before the newest together, then the oldest first."""
        names = [OLDER, *map(str, versions(self._cells))]
        return {name: self._cells[cell] for name in names if (cell := Cell(SNAPSHOT, name)) in self._cells}

    def slices(self, field: str) -> dict[str, Sums]:
        """Return the sums by value of a slice's field."""
        return {cell.name: sums for cell, sums in self._cells.items() if cell.group == _SLICE + field}

    def ripe_before(self, told_before: Millis) -> Millis:
        """Return the time before which every exposure is counted."""
        ripe = told_before - self._life
        return ripe // self._width * self._width if self._held else ripe

    def add(self, scored: Scored, told_before: Millis) -> None:
        """Count examples, or hold them back, and go on to this event time."""
        cohort = scored.time // self._width
        moment = self._ripe(cohort) - 1 if self._held else scored.told
        ripe = (moment < told_before) | (not self._held)
        self._count(scored.take(ripe), moment[ripe], told_before)
        self._shown(None, scored.time[ripe])
        for number, some in scored.take(~ripe).split(cohort[~ripe]):
            self._shown(number, some.time)
            self._put(self._cohorts.setdefault(number, {}), some)
        self._release(told_before)
        self._forget(told_before)

    def state(self) -> tuple[dict[str, npt.NDArray[Any]], dict[str, Any]]:
        """Return everything: arrays by name, and facts that are JSON."""
        everything = [(None, self._cells), *self._cohorts.items()]
        names = [[cohort, *cell] for cohort, cells in everything for cell in cells]
        arrays = pack([sums for _, cells in everything for sums in cells.values()])
        facts = {"cells": names, "unserved": self.unserved, "impossible": self.impossible}
        return arrays, facts | {"newest": [[cohort, time] for cohort, time in self._newest.items()]}

    def restore(self, arrays: Arrays, facts: Mapping[str, Any]) -> None:
        """Take back what `state` gave."""
        self.unserved, self.impossible = facts["unserved"], facts["impossible"]
        self._cells, self._cohorts = {}, {}
        self._newest = dict(facts["newest"])
        for (cohort, group, name), sums in zip(facts["cells"], unpack(arrays), strict=True):
            cells = self._cells if cohort is None else self._cohorts.setdefault(cohort, {})
            cells[Cell(group, name)] = sums

    def _shown(self, cohort: int | None, time: Ints) -> None:
        """Note the newest of these exposures. (n,)"""
        if len(time):
            newest = int(time.max())
            self._newest[cohort] = max(self._newest.get(cohort, newest), newest)

    def _put(self, cells: Cells, scored: Scored) -> None:
        add(cells, _LIFE, self._of(scored))
        for version, some in scored.split(scored.snapshot):
            if version >= 0:
                add(cells, Cell(SNAPSHOT, str(version)), self._of(some))
        merge_older(cells)
        for field, coded in scored.slices.items():
            for code, some in scored.split(coded.codes):
                add(cells, Cell(_SLICE + field, coded.values[code]), self._of(some))

    def _count(self, scored: Scored, moment: Ints, told_before: Millis) -> None:
        """Count examples, each in the part of a window in which its moment lies. (n,)"""
        if len(scored) == 0:
            return
        self._put(self._cells, scored)
        for window in self._windows:
            part = moment // part_of(window)
            within = part >= first_part(window, told_before)
            for number, some in scored.take(within).split(part[within]):
                add(self._cells, Cell(_WINDOW + str(window), str(number)), self._of(some))

    def _release(self, told_before: Millis) -> None:
        """Count the cohorts whose last label is in, as of the moment at which it had to be."""
        for cohort in sorted(self._cohorts):
            ripe = self._ripe(cohort)
            if ripe > told_before:
                break
            cells = self._cohorts.pop(cohort)
            self._shown(None, np.array([self._newest.pop(cohort)]))
            for window in self._windows:
                number = (ripe - 1) // part_of(window)
                add(cells, Cell(_WINDOW + str(window), str(number)), cells[_LIFE])
            merge(self._cells, cells)
            merge_older(self._cells)

    def _forget(self, told_before: Millis) -> None:
        """Drop the parts that left their window."""
        for window in self._windows:
            first = first_part(window, told_before)
            group = _WINDOW + str(window)
            for cell in [cell for cell in self._cells if cell.group == group and int(cell.name) < first]:
                del self._cells[cell]

    def _ripe(self, cohort: Any) -> Any:
        """Return the moment before which the last label of a cohort, or of each of several, is told."""
        return (cohort + 1) * self._width + self._life

    def _of(self, scored: Scored) -> Sums:
        return self._sums.of(scored.served, scored.truth)


def part_of(whole: Millis) -> Millis:
    """Return the length of a part of a window."""
    return max(-(-whole // PARTS), 1)


def first_part(window: Millis, told_before: Millis) -> int:
    """Return the number of the first part that a window reaches back to."""
    return (told_before - 1) // part_of(window) - PARTS + 1

"""Which events of a kind stand, where others may take them back: as runs, per exposure, as of any moment of a slice."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from stream_mtl.clock import END, Millis
from stream_mtl.join.exposures import Touched
from stream_mtl.join.hold import Facts
from stream_mtl.join.rows import Ring, Rows
from stream_mtl.join.search import Ints, last_at_or_before, runs
from stream_mtl.join.shape import Shape

Bools = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Runs:
    """The run that a kind is in, or that it was in last. (n,) each; END is never."""

    standing: Ints  # how many events stand
    came: Ints
    until: Ints
    gone: Ints

    def since(self) -> Ints:
        """Return since when some event stands, END where none does. (n,)"""
        return np.where(self.standing > 0, self.came, END)


class Standing:
    """The events of one kind, for as long as another may take them back. Rows are in order of time.

    Columns: time (ms, joined), taken (whether it was taken back).
    """

    def __init__(self, kind: str, shape: Shape, touched: Touched) -> None:
        self.kind = kind
        self.ring = Ring(time=np.int64, taken=np.bool_)
        self._touched = touched
        self._longest = max(one.within or 0 for one in shape.chain.retracting(kind))
        self._came: list[tuple[Rows, Ints]] = []  # of this slice: touched row, time
        self._taken: list[tuple[Rows, Rows, Ints]] = []  # event, touched row, time
        self.slice = _nothing()

    def add(self, touched: Rows, time: Ints, facts: Facts) -> Rows:
        """Take the events of a slice; returns their rows."""
        order = np.lexsort((facts.position, facts.partition, facts.time, time))
        rows = np.empty(len(order), np.int64)
        rows[order] = self.ring.append(len(order), {"time": time[order], "taken": False})
        # Of each exposure the first in order; `unique` returns the first place of each.
        whose, place = np.unique(touched[order], return_index=True)
        new = self._touched.ring.get(f"event.{self.kind}", whose) < 0
        self._touched.ring.put(f"event.{self.kind}", whose[new], rows[order][place[new]])
        self._came.append((touched, time))
        return rows

    def first(self, touched: Rows) -> Rows:
        """Return the row of the first event of these exposures."""
        rows: Rows = self._touched.ring.get(f"event.{self.kind}", touched)
        return rows

    def take_back(self, rows: Rows, touched: Rows, time: Ints) -> None:
        """Note that these events of these exposures were taken back, at these times."""
        self._taken.append((rows, touched, time))

    def settle(self) -> tuple[Rows, Ints]:
        """Work out the runs of the slice; returns the (touched row, time) at which one begins or ends."""
        rows, time, delta = self._changes()
        self.slice = _nothing()
        if len(rows) == 0:
            return rows, time
        ring, heads = self._touched.ring, runs(rows)
        held = Runs(*(ring.get(f"{name}.{self.kind}", rows) for name in _RUN))
        count = np.cumsum(delta)
        start = np.maximum.accumulate(np.where(heads, np.arange(len(rows)), 0))
        standing = held.standing + count - (count - delta)[start]
        before = np.where(heads, held.standing, np.concatenate([[0], standing[:-1]]))
        begins, ends = (standing > 0) & (before == 0), (standing == 0) & (before > 0)
        came = _latest(begins, start, time, held.came)
        until = np.where(standing > 0, END, _latest(ends, start, time, held.until))
        gone = np.minimum(held.gone, _first(ends, start, time))
        self.slice = _Slice(rows, time, Runs(standing, came, until, gone))
        turns = begins | ends
        return rows[turns], time[turns]

    def as_of(self, rows: Rows, at: Ints) -> Runs:
        """Return the runs of these touched rows at these moments of the slice."""
        found, ring = self.slice, self._touched.ring
        held = Runs(*(ring.get(f"{name}.{self.kind}", rows) for name in _RUN))
        if len(found.time) == 0:
            return held
        place = last_at_or_before(found.touched, found.time, rows, at)
        known, place = place >= 0, np.maximum(place, 0)
        return Runs(
            *(np.where(known, getattr(found.runs, name)[place], getattr(held, name)) for name in _RUN)
        )

    def keep(self, before: Millis) -> None:
        """Hold what the slice has come to, and forget what nothing at or after `before` can take back."""
        found = self.slice
        if len(found.touched):
            last = np.append(found.touched[1:] != found.touched[:-1], True)
            for name in _RUN:
                values = getattr(found.runs, name)[last]
                self._touched.ring.put(f"{name}.{self.kind}", found.touched[last], values)
        self.slice = _nothing()
        self.ring.drop_before(self.ring.bisect("time", before - self._longest, self.ring.first))

    def _changes(self) -> tuple[Rows, Ints, Ints]:
        """Return (touched row, time, events more or less), sorted, one for each row and time."""
        taken = self._fresh()
        rows = np.concatenate([_NONE, *(rows for rows, _ in self._came), *(rows for rows, _ in taken)])
        time = np.concatenate([_NONE, *(time for _, time in self._came), *(time for _, time in taken)])
        delta = np.ones(len(rows), np.int64)
        delta[sum(len(rows) for rows, _ in self._came) :] = -1
        self._came, self._taken = [], []
        order = np.lexsort((time, rows))
        rows, time = rows[order], time[order]
        heads = np.flatnonzero(runs(rows) | runs(time))
        sums = np.add.reduceat(delta[order], heads) if len(heads) else delta
        return rows[heads], time[heads], sums

    def _fresh(self) -> list[tuple[Rows, Ints]]:
        """Return the (touched row, time) at which events are taken back that were not yet, and note that they are."""
        if not self._taken:
            return []
        events, touched, time = (np.concatenate(column) for column in zip(*self._taken, strict=True))
        order = np.lexsort((time, events))
        first = order[runs(events[order])]
        first = first[~self.ring.get("taken", events[first])]
        self.ring.put("taken", events[first], True)
        return [(touched[first], time[first])]


@dataclass(frozen=True, slots=True)
class _Slice:
    """The runs after each change of a slice, sorted by (touched row, time)."""

    touched: Rows
    time: Ints
    runs: Runs


_NONE = np.zeros(0, np.int64)
_RUN = tuple(Runs.__slots__)


def _nothing() -> _Slice:
    return _Slice(_NONE, _NONE, Runs(_NONE, _NONE, _NONE, _NONE))


def _latest(when: Bools, start: Rows, time: Ints, held: Ints) -> Ints:
    """Return, in each group (from `start` on), the time of the last row so far where it is so, else what was held."""
    place = np.maximum.accumulate(np.where(when, np.arange(len(time)), -1))
    return np.where(place >= start, time[np.maximum(place, 0)], held)


def _first(when: Bools, start: Rows, time: Ints) -> Ints:
    """Return, in each group, the time of the first row so far where it is so, END before."""
    past = np.cumsum(when)
    often: Ints = past - (past - when)[start]
    place = np.maximum.accumulate(np.where(when & (often == 1), np.arange(len(time)), -1))
    return np.where(often > 0, time[np.maximum(place, 0)], END)

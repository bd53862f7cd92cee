"""The run-off of one output: clocks that started, in cohorts, and how long after that the log told of their events.

State is sums, in cells of time: a cell is a 128th of the time for which a label may be open. Of cohorts that wait for
labels it keeps their clocks, and their events by lag; of those whose last label is in, the events by lag over a sliding
window (the longest window of the readings or the time for which a label may be open, whichever is longer), and, for windows
that reach behind the clocks that wait, sums. All of it is bounded, and none depends on where the log was cut into blocks.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from stream_mtl.clock import Millis
from stream_mtl.watch.corrected import Seen
from stream_mtl.watch.course import Course
from stream_mtl.watch.early import Early
from stream_mtl.watch.keyed import Keyed, summed
from stream_mtl.watch.ledger import first_part, part_of

CELLS = 128
"""Cells of the time for which a label may be open."""

# Sums of a cohort: clocks, those that ended, scores, their squares; then events, and the middles of their cells.
_CLOCKS, _ENDED, _PROMISED, _SQUARED, _KNOWN, _BEGAN = range(6)
_LOOKS_LIFE = 0  # the window of the sums over everything


class Runoff:
    """Cohorts of clocks, until their labels are final, and the delays of those before them."""

    def __init__(self, course: Course, windows: Sequence[Millis]) -> None:
        self.course, self._windows = course, tuple(windows)
        self.width = max(-(-course.open // CELLS), 1)  # ms, of a cell
        self._lags = course.open // self.width + 2
        self._remembered = max(course.open, *windows, 1)  # how far back delays are taken from
        self._cohorts = Keyed(_SQUARED + 1)  # by cell
        self._came = Keyed(1)  # by cell * lags + lag: events
        self._delays = Keyed(1)  # by part * lags + lag: events of whole cohorts
        beyond = [window for window in windows if window > course.open]
        self._ripe = {window: Keyed(_BEGAN + 1) for window in beyond}  # by part
        self.looks = (
            () if course.joint else course.looks
        )  # of which sums are kept, by part: clocks, scores, events
        self._seen = {(look, w): Keyed(3) for look in self.looks for w in (_LOOKS_LIFE, *windows)}

    def add(self, early: Early, told_before: Millis) -> None:
        """Count what rows say, and go on to this event time."""
        served = ~np.isnan(early.served)
        cell = early.clock // self.width
        self._start(early, cell, self._entering(early) & served)
        known = served & np.isin(cell, self._cohorts.keys)  # a log may begin in the middle of a life
        self._end(early, cell, known)
        if self.course.tells_of_events:
            self._tell(early, cell, known)
            self._look(early, served, told_before)
        self._ripen(told_before)
        self._forget(told_before)

    def waiting(self) -> int | None:
        """Return how many clocks wait for their label; None where the log does not tell."""
        if not self.course.tells_of_clocks:
            return None
        return round(float(self._cohorts.sums[:, _CLOCKS].sum() - self._cohorts.sums[:, _ENDED].sum()))

    def mature(self, window: Millis | None, told_before: Millis) -> float | None:
        """Return the share of the clocks of a window, or of all cohorts that wait (None), whose label is final.

        None of no clock.
        """
        inside = self._cohorts.sums
        if window is not None:
            inside = inside[self._inside(self._cohorts.keys, window, told_before)]
        sums = inside.sum(axis=0)
        clocks, ended = sums[_CLOCKS], sums[_ENDED]
        if window in self._ripe:
            gone = self._ripe[window].sums.sum(axis=0)
            clocks, ended = clocks + gone[_CLOCKS], ended + gone[_ENDED]
        return float(ended / clocks) if clocks and self.course.tells_of_clocks else None

    def seen(self, window: Millis | None, told_before: Millis) -> Seen:
        """Return the cohorts that started in a window, or all that wait (None), as of `border`.

        The newest are left out until all their clocks have been told of.
        """
        border = self._border(told_before)
        keys = self._cohorts.keys
        whole = keys + 1 + self._untold() <= border
        rows = np.flatnonzero(whole if window is None else whole & self._inside(keys, window, told_before))
        cell, sums = keys[rows], self._cohorts.sums[rows]
        seen = Seen(
            clocks=sums[:, _CLOCKS],
            promised=sums[:, _PROMISED],
            squared=sums[:, _SQUARED],
            known=self._known(cell, border),
            lag=np.minimum(border - 1 - cell, self._lags - 1),
            age=((border - cell) * self.width - self.width / 2).astype(np.float64),
        )
        return seen if window not in self._ripe else self._with_ripe(seen, window, border)

    def border(self, told_before: Millis) -> Millis:
        """Return the end of the last whole cell: what was told after it is not counted yet."""
        return self._border(told_before) * self.width

    def delays(self) -> npt.NDArray[np.float64]:
        """Return the events of whole cohorts by lag. (lags,)"""
        return summed(self._delays.keys % self._lags, self._delays.sums[:, 0], self._lags)

    def looked(self, look: Millis, window: Millis | None) -> npt.NDArray[np.float64]:
        """Return clocks, sum of scores and events as the looks of a window, or all of them (None), saw them. (3,)"""
        sums: npt.NDArray[np.float64] = self._seen[look, window or _LOOKS_LIFE].sums.sum(axis=0)
        return sums

    def state(self) -> dict[str, npt.NDArray[Any]]:
        """Return everything, by name."""
        return {
            f"{name}/{key}": array
            for name, one in self._tables().items()
            for key, array in one.arrays().items()
        }

    def restore(self, arrays: Mapping[str, npt.NDArray[Any]]) -> None:
        """Take back what `state` gave."""
        for name, table in self._tables().items():
            saved = Keyed.of_arrays(arrays[f"{name}/keys"], arrays[f"{name}/sums"])
            table.keys, table.sums = saved.keys, saved.sums

    def _tables(self) -> dict[str, Keyed]:
        ripe = {f"ripe.{window}": table for window, table in self._ripe.items()}
        seen = {f"seen.{look}.{window}": table for (look, window), table in self._seen.items()}
        return {"cohorts": self._cohorts, "came": self._came, "delays": self._delays, **ripe, **seen}

    def _entering(self, early: Early) -> npt.NDArray[np.bool_]:
        if not self.course.given:
            return early.exposed()
        looks = self.course.looks
        return early.task.looks(looks[0]) if looks else np.zeros(len(early.served), np.bool_)

    def _start(self, early: Early, cell: npt.NDArray[np.int64], rows: npt.NDArray[np.bool_]) -> None:
        score = early.served[rows]
        self._cohorts.add(cell[rows], 1, 0, score, np.square(score))

    def _end(self, early: Early, cell: npt.NDArray[np.int64], known: npt.NDArray[np.bool_]) -> None:
        ended = early.ended() & known
        if self.course.given:
            ended &= self._told_of(early)
        self._cohorts.add(cell[ended], 0, 1, 0, 0)

    def _told_of(self, early: Early) -> npt.NDArray[np.bool_]:
        """Return the rows whose clock had been told of: a window that closes before the first look tells of none."""
        if not self.course.looks:
            return np.zeros(len(early.served), np.bool_)
        return early.task.start + self.course.looks[0] <= early.task.told

    def _tell(self, early: Early, cell: npt.NDArray[np.int64], known: npt.NDArray[np.bool_]) -> None:
        look = self.course.looks[0]
        known = known & self._told_of(early) if self.course.given else known
        for rows, events in ((early.comes(look), 1), (early.taken_back(look), -1)):
            rows = rows & known
            lag = np.clip(early.task.told[rows] // self.width - cell[rows], 0, self._lags - 1)
            self._came.add(cell[rows] * self._lags + lag, events)

    def _look(self, early: Early, served: npt.NDArray[np.bool_], told_before: Millis) -> None:
        for look in self.looks:
            rows = np.flatnonzero(early.task.looks(look) & served)
            told, score, label = early.task.told[rows], early.served[rows], early.task.happened[rows]
            for window in (_LOOKS_LIFE, *self._windows):
                part = told // part_of(window) if window else np.zeros_like(told)
                within = part >= (first_part(window, told_before) if window else 0)
                self._seen[look, window].add(part[within], 1, score[within], label[within])

    def _ripen(self, told_before: Millis) -> None:
        """Take cohorts whose last label is in out of those that wait; what came of them says how late events are."""
        first = (told_before - self.course.open) // self.width
        gone, came = self._cohorts.pop_before(first), self._came.pop_before(first * self._lags)
        cell, lag = np.divmod(came.keys, self._lags)
        part = cell * self.width // part_of(self._remembered)
        self._delays.add(part * self._lags + lag, came.sums[:, 0])
        for window, table in self._ripe.items():
            began = gone.sums[:, _CLOCKS] * (gone.keys + 0.5) * self.width
            table.add(gone.keys * self.width // part_of(window), *gone.sums.T, 0, began)
            table.add(cell * self.width // part_of(window), 0, 0, 0, 0, came.sums[:, 0], 0)

    def _forget(self, told_before: Millis) -> None:
        self._delays.pop_before(first_part(self._remembered, told_before - self.course.open) * self._lags)
        for window, table in self._ripe.items():
            table.pop_before(first_part(window, told_before))
        for (_, window), table in self._seen.items():
            if window:
                table.pop_before(first_part(window, told_before))

    def _known(self, cell: npt.NDArray[np.int64], border: int) -> npt.NDArray[np.float64]:
        """Return the events of these cohorts that were told before the border. (len(cell),)"""
        of, lag = np.divmod(self._came.keys, self._lags)
        rows = (of + lag < border) & np.isin(of, cell)
        return summed(np.searchsorted(cell, of[rows]), self._came.sums[rows, 0], len(cell))

    def _with_ripe(self, seen: Seen, window: Millis, border: int) -> Seen:
        """Add the cohorts of a window whose last label is in."""
        sums = self._ripe[window].sums
        sums = sums[sums[:, _CLOCKS] > 0]
        return Seen(
            clocks=np.concatenate([seen.clocks, sums[:, _CLOCKS]]),
            promised=np.concatenate([seen.promised, sums[:, _PROMISED]]),
            squared=np.concatenate([seen.squared, sums[:, _SQUARED]]),
            known=np.concatenate([seen.known, sums[:, _KNOWN]]),
            lag=np.concatenate([seen.lag, np.full(len(sums), self._lags - 1)]),
            age=np.concatenate([seen.age, border * self.width - sums[:, _BEGAN] / sums[:, _CLOCKS]]),
        )

    def _inside(
        self, keys: npt.NDArray[np.int64], window: Millis, told_before: Millis
    ) -> npt.NDArray[np.bool_]:
        inside: npt.NDArray[np.bool_] = keys * self.width // part_of(window) >= first_part(
            window, told_before
        )
        return inside

    def _untold(self) -> int:
        """Return for how many cells not all clocks of a cohort have been told of."""
        return -(-self.course.looks[0] // self.width) if self.course.given and self.course.looks else 0

    def _border(self, told_before: Millis) -> int:
        return told_before // self.width

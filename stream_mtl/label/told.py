"""What a batch of transitions says of one task: the state columns of its rows, read once."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from stream_mtl.clock import END, Millis
from stream_mtl.errors import ConfigError
from stream_mtl.join.spec import TaskSpec
from stream_mtl.join.transitions import Telling, Transitions

Ints = npt.NDArray[np.int64]  # (n,)
Floats = npt.NDArray[np.float32]  # (n,)
Bools = npt.NDArray[np.bool_]  # (n,)


@dataclass(frozen=True, slots=True)
class Foreseen:
    """The final label of the task at every row, read ahead in the log. (n,) each."""

    known: Bools  # the task is defined on the row's exposure, and the log tells its end
    label: Bools
    delay: Ints  # ms from the start of the clock to the event, or to the end


@dataclass(frozen=True, slots=True)
class Told:
    """One task over the rows of a batch. (n,) each."""

    kind: npt.NDArray[np.int8]  # Telling
    about: Bools  # the row is about this task
    wait: Ints  # ms, of looks
    told: Ints  # ms
    start: Ints  # ms, where `defined`
    at: Ints  # ms, where `happened`
    defined: Bools  # what the task is given has happened
    known: Bools  # the label is known
    happened: Bools  # and is 1
    value: npt.NDArray[np.float64] | None  # of a regression task; nan where there is none
    came: Ints | None = (
        None  # ms, where labels may be taken back: since when its event stands, or stood until now
    )
    gone: Ints | None = None  # ms: when first none stood any more. END where there is none
    foreseen: Foreseen | None = None

    def __len__(self) -> int:
        return len(self.kind)

    def looks(self, wait: Millis) -> Bools:
        """Return the rows that look at the task this long after its start."""
        rows: Bools = self._of(Telling.LOOK) & (self.wait == wait)
        return rows

    def events(self, after: Millis) -> Bools:
        """Return the rows that tell of an event more than `after` past the start (looks show the others)."""
        return self._of(Telling.EVENT) & self.happened & (self.at > self.start + after)

    def finals(self) -> Bools:
        """Return the rows that tell the final label."""
        return self._of(Telling.FINAL) & self.known

    def later(self, wait: Millis) -> Bools:
        """Return the rows that know, or foresee, an event more than `wait` past the start."""
        later = self.happened & (self.at > self.start + wait)
        if self.came is not None:
            later |= (self.came < END) & (self.came > self.start + wait)
        return later if self.foreseen is None else later | self.foreseen.label & (self.foreseen.delay > wait)

    def retracted(self) -> Bools:
        """Return the rows that tell that the event was taken back, and no other stands."""
        return self._of(Telling.RETRACTED)

    def breaks(self) -> Bools:
        """Return the rows that tell it for the first time, whatever the task is given."""
        assert self.gone is not None
        rows: Bools = (self.kind == Telling.RETRACTED) & (self.gone == self.told)
        return rows

    def broken(self, since: Millis = 0) -> Bools:
        """Return the rows that know that it has been so, and at least for so long."""
        if self.gone is None:
            return np.zeros(len(self), np.bool_)
        rows: Bools = self.gone <= self.told - since
        return rows

    def delay(self, rows: Ints) -> Ints:
        """Return ms from the start of the task's clock to the event or, before it, to the telling."""
        until = np.where(self.happened[rows], self.at[rows], self.told[rows])
        return np.maximum(until - self.start[rows], 0)

    def _of(self, kind: Telling) -> Bools:
        rows: Bools = (self.kind == kind) & self.about & self.defined
        return rows


def ahead_of(told: Told) -> Foreseen:
    """Return what is foreseen. Raises ConfigError where nobody reads ahead."""
    if told.foreseen is None:
        raise ConfigError("it reads ahead, which only a replay of a whole log can; choose another method")
    return told.foreseen


def tell(transitions: Transitions, tasks: Sequence[TaskSpec], task: TaskSpec) -> Told:
    """Read one task's columns. `tasks` are all tasks of the chain, in its order.

    Raises KeyError for a column that is not there.
    """
    rows = transitions.rows
    known, label = _column(rows, f"label.{task.name}", 0)
    happened = known & (label == 1)
    bit = next(i for i, other in enumerate(tasks) if other.name == task.name)
    given = next((other for other in tasks if other.name == task.given), None)
    start, defined = _start(rows, given)
    return Told(
        kind=_column(rows, "kind", 0)[1],
        about=(_column(rows, "tasks", 0)[1] >> bit & 1).astype(np.bool_),
        wait=_column(rows, "wait", -1)[1],
        told=_column(rows, "told", 0)[1],
        start=start,
        at=_column(rows, f"at.{task.name}", 0)[1],
        defined=defined,
        known=known & defined,
        happened=happened & defined,
        value=_column(rows, f"value.{task.name}", np.nan)[1] if task.regression else None,
        came=_column(rows, f"came.{task.name}", END)[1] if task.unsure else None,
        gone=_column(rows, f"gone.{task.name}", END)[1] if task.unsure else None,
    )


def _start(rows: pa.RecordBatch, given: TaskSpec | None) -> tuple[Ints, Bools]:
    """Return when the task's clock started (or had, where that was just taken back), and where it has."""
    if given is None:
        return _column(rows, "time", 0)[1], np.ones(rows.num_rows, np.bool_)
    known, label = _column(rows, f"label.{given.name}", 0)
    defined, start = known & (label == 1), _column(rows, f"at.{given.name}", 0)[1]
    if given.unsure:
        start = np.where(defined, start, _column(rows, f"came.{given.name}", END)[1])
    return start, defined


def _column(rows: pa.RecordBatch, name: str, absent: float) -> tuple[Bools, npt.NDArray[Any]]:
    """Return where a column is known, and its values with `absent` elsewhere."""
    column = rows.column(name)
    if column.null_count == 0:
        return np.ones(len(column), np.bool_), column.to_numpy(zero_copy_only=False)
    known = column.is_valid().to_numpy(zero_copy_only=False)
    return known, column.fill_null(pa.scalar(absent, column.type)).to_numpy(zero_copy_only=False)

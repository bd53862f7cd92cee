"""What the events of one kind add up to, per exposure and value task, as of any moment of a slice."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from stream_mtl.join.exposures import Touched
from stream_mtl.join.hold import Facts
from stream_mtl.join.rows import Rows
from stream_mtl.join.search import Ints, last_at_or_before, ranks, runs
from stream_mtl.join.spec import Aggregate, TaskSpec

Floats = npt.NDArray[np.float64]


def _or_new(combine: Callable[[Floats, Floats], Floats]) -> Callable[[Floats, Floats], Floats]:
    def step(held: Floats, value: Floats) -> Floats:
        return np.where(np.isnan(held), value, np.where(np.isnan(value), held, combine(held, value)))

    return step


STEPS: dict[Aggregate, Callable[[Floats, Floats], Floats]] = {
    "first": _or_new(lambda held, value: held),
    "last": _or_new(lambda held, value: value),
    "sum": _or_new(np.add),
    "max": _or_new(np.maximum),
    "count": lambda held, value: np.where(np.isnan(held), 1.0, held + 1.0),
}
"""(held so far, next value) -> held then; nan is nothing. One step at a time, so that sums do not depend on slices."""


@dataclass(frozen=True, slots=True)
class Sums:
    """The running values of one kind's events of a slice: rows sorted by (touched row, time)."""

    touched: Rows
    time: Ints
    values: dict[str, Floats]  # task -> its value after each event

    def as_of(self, task: str, held: Floats, rows: Rows, at: Ints) -> Floats:
        """Return the task's value of these touched rows at these moments; `held` is what it was before the slice."""
        place = last_at_or_before(self.touched, self.time, rows, at)
        return np.where(place >= 0, self.values[task][np.maximum(place, 0)] if len(self.time) else held, held)


def add_up(
    kind: str, tasks: Sequence[TaskSpec], touched: Touched, rows: Rows, time: Ints, facts: Facts, most: int
) -> Sums:
    """Run the events of one kind through every value task, in their order; counts them in `touched`.

    `rows` and `time` are the touched row and the joined time of each fact. Only the first `most` events of
    an exposure change values.
    """
    order = np.lexsort((facts.position, facts.partition, facts.time, time, rows))
    by, begins = rows[order], runs(rows[order])
    rank = ranks(begins)
    counts = touched.ring.get(f"count.{kind}", by)
    counted = counts + rank < most
    heads = np.flatnonzero(begins)
    sizes = np.diff(np.append(heads, len(by)))
    touched.ring.put(f"count.{kind}", by[heads], counts[heads] + sizes)
    values = {task.name: _run(task, touched, by, rank, counted, order, facts) for task in tasks}
    return Sums(by, time[order], values)


def _run(
    task: TaskSpec,
    touched: Touched,
    by: Rows,
    rank: Ints,
    counted: npt.NDArray[np.bool_],
    order: Rows,
    facts: Facts,
) -> Floats:
    column = _numbers(facts.column(task.value))[order] if task.value else np.ones(len(by))
    out = touched.ring.get(f"value.{task.name}", by)
    step = STEPS[task.how]
    places = np.argsort(rank, kind="stable")
    last_round = int(rank[counted].max(initial=-1))
    for r, part in enumerate(np.split(places, np.cumsum(np.bincount(rank))[:-1])):
        if r > 0:
            out[part] = out[part - 1]
        if r <= last_round:
            active = part[counted[part]]
            out[active] = step(out[active], column[active])
        elif r > last_round:
            break
    if last_round >= 0 and len(rank) and int(rank.max()) > last_round:
        _carry_on(out, rank, last_round)
    return out


def _carry_on(out: Floats, rank: Ints, last_round: int) -> None:
    """Give the events beyond the cap the value that the last counted one left."""
    places = np.arange(len(rank))
    source = np.maximum.accumulate(np.where(rank <= max(last_round, 0), places, 0))
    out[:] = out[source]


def _numbers(column: pa.Array) -> Floats:
    wide = column.cast(pa.float64())
    return np.array(wide.fill_null(np.nan).to_numpy(zero_copy_only=False), dtype=np.float64)

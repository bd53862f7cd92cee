"""What became of exposures: the final label or value of every output, from final rows or from labelled rows."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from stream_mtl.join.transitions import Telling, Transitions
from stream_mtl.label.plan import Labels, Plan, narrow
from stream_mtl.label.told import tell
from stream_mtl.measures import BinarySums, Sums, ValueSums

Truths = npt.NDArray[np.float64]  # (n, outputs), nan where nothing is known: not yet, or not defined


def final_rows(transitions: Transitions) -> npt.NDArray[np.int64]:
    """Return which rows tell final labels."""
    return np.flatnonzero(transitions.rows.column("kind").to_numpy() == Telling.FINAL)


def final_truths(plan: Plan, transitions: Transitions, rows: npt.NDArray[np.int64]) -> Truths:
    """Return what final rows say of every output. (len(rows), outputs)

    A product along a chain is known when its last task's window ends: 0 if that task never began.
    """
    truths: dict[str, npt.NDArray[np.float64]] = {}
    for lesson in plan.lessons:
        told = tell(transitions, plan.tasks, lesson.task)
        final, about = told.finals()[rows], told.about[rows]
        happened = told.happened[rows].astype(np.float64)
        if lesson.task.absent:
            happened = 1 - happened
        if told.value is not None:
            value = told.value[rows]
            truths[lesson.task.name] = np.where(final & np.isfinite(narrow(value)), value, np.nan)
            continue
        truths[lesson.task.name] = np.where(final, happened, np.nan)
        if lesson.joint:
            truths[lesson.name] = np.where(about, happened, np.nan)
    return np.stack([truths[name] for name in plan.outputs], axis=1)


def given_truths(plan: Plan, labels: Labels) -> Truths:
    """Return what labelled rows say of every output. (n, outputs)"""
    alone, together = Plan(plan.tasks).label(labels), plan.label(labels)
    columns = []
    for name in plan.outputs:
        told = (alone if name in alone.lessons else together).of(name)
        columns.append(np.where(told.weight > 0, told.label.astype(np.float64), np.nan))
    return np.stack(columns, axis=1)


def no_truths(plan: Plan, rows: int) -> Truths:
    """Return that nothing is known of these rows. (rows, outputs)"""
    return np.full((rows, len(plan.outputs)), np.nan)


def nothing_measured(plan: Plan) -> dict[str, Sums]:
    """Return empty sums for every output."""
    values = {task.name for task in plan.tasks if task.regression}
    return {name: (ValueSums if name in values else BinarySums).nothing() for name in plan.outputs}


def measured(
    sums: Mapping[str, Sums], predictions: npt.NDArray[np.float32], truths: Truths
) -> dict[str, Sums]:
    """Return the sums with these rows added; those without a prediction or without a truth are left out."""
    out = dict(sums)
    for i, (name, one) in enumerate(sums.items()):
        rows = np.flatnonzero(~np.isnan(truths[:, i]) & ~np.isnan(predictions[:, i]))
        if len(rows):
            out[name] = _added(one, predictions[rows, i], truths[rows, i])
    return out


def _added(sums: Sums, prediction: npt.NDArray[np.float32], truth: npt.NDArray[np.float64]) -> Sums:
    if isinstance(sums, BinarySums):
        return sums + BinarySums.of(prediction, truth)
    return sums + ValueSums.of(prediction, truth)


def measure_arrays(sums: Mapping[str, Sums]) -> dict[str, npt.NDArray[Any]]:
    """Return sums by name, to be saved."""
    return {f"{name}/{key}": array for name, one in sums.items() for key, array in one.arrays().items()}


def measures_of_arrays(plan: Plan, arrays: Mapping[str, npt.NDArray[Any]]) -> dict[str, Sums]:
    """Take back what `measure_arrays` gave."""
    sums = nothing_measured(plan)
    return {
        name: type(one).of_arrays({key: arrays[f"{name}/{key}"] for key in one.arrays()})
        for name, one in sums.items()
    }

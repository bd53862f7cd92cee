"""Rows that arrive with their labels: whether these are such, and the labels that their fields make."""

from collections.abc import Iterator, Mapping
from typing import TypeAlias

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from stream_mtl.config.declarations import Task
from stream_mtl.config.sections import Config

Labels: TypeAlias = dict[str, npt.NDArray[np.float64]]
"""Task -> label or value of each row (n,), nan where it is not known."""


def is_labelled(config: Config) -> bool:
    """Return whether the events are rows that bring their labels: there is no second kind to wait for."""
    return len(config.events) == 1


def labels(config: Config, fields: pa.Table) -> Labels:
    """Return what each task is told by rows, whatever the task that it is given is told.

    A label is 1 where every field of the task's `where` has one of its values, 0 where one has not, and nan
    where one is null; a value is that of its field.
    """
    return {name: _of_task(task, fields) for name, task in config.tasks.items()}


def label_fields(config: Config) -> Iterator[tuple[str, str]]:
    """Give each field of the rows that makes a label, with its task."""
    if is_labelled(config):
        for name, task in config.tasks.items():
            yield from ((field, name) for field in (*task.where, *([task.value] if task.value else ())))


def _of_task(task: Task, fields: pa.Table) -> npt.NDArray[np.float64]:
    if task.value is None:
        return _matches(task.where, fields)
    values: npt.NDArray[np.float64] = np.asarray(fields.column(task.value).cast(pa.float64()))
    return values


def _matches(where: Mapping[str, tuple[object, ...]], fields: pa.Table) -> npt.NDArray[np.float64]:
    label = np.ones(fields.num_rows)
    for name, values in where.items():
        column = fields.column(name)
        found = pc.is_in(column, value_set=pa.array(values).cast(column.type))
        label *= np.where(np.asarray(column.is_valid()), np.asarray(found), np.nan)
    return label

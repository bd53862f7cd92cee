"""Outcomes: what served scores promised beside what became of it, as columns; and what is known of it before."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from stream_mtl.errors import ConfigError, StateError
from stream_mtl.join.scores import PREFIX
from stream_mtl.join.transitions import Transitions
from stream_mtl.label.plan import Plan, narrow
from stream_mtl.learn.outcomes import final_rows, final_truths
from stream_mtl.watch.early import Early, early

Ints = npt.NDArray[np.int64]  # (n,)
Floats = npt.NDArray[np.float64]  # (n, outputs)

SNAPSHOT = PREFIX + "snapshot"
UNKNOWN = "unknown"
"""The slice of exposures whose field is null."""


class Coded(NamedTuple):
    """Texts of rows, each held once, in the order in which they first come."""

    values: list[str]
    codes: Ints  # (n,) places in `values`


@dataclass(frozen=True, slots=True)
class Outcomes:
    """Rows whose label is final for one output at least, and `early`: what all rows say before it is.

    Columns of `served` and `truth` are as `Plan.outputs`.
    """

    told: Ints  # ms: when the label was told
    time: Ints  # ms: the exposure's time
    snapshot: Ints  # the version that served, -1 where there is none
    served: Floats  # nan where no score was served, or none that can be one
    truth: Floats  # nan where it is not known, or not by this row
    impossible: Ints  # (outputs,) scores of known truth that are no probability, or no number
    slices: Mapping[str, Coded]  # by field
    early: Mapping[str, Early]  # by output, over all rows of the batch

    def __len__(self) -> int:
        return len(self.told)


def outcomes(plan: Plan, transitions: Transitions, slices: Sequence[str] = ()) -> Outcomes:
    """Return the outcomes that a batch of transitions tells. `slices` are fields of the exposure or of its key.

    An exposure may come back in another row for another output, but each of its outputs is known in one row only.
    Raises StateError if a slice asks for fields that final rows do not carry, ConfigError if none has that name.
    """
    rows = final_rows(transitions)
    truth = final_truths(plan, transitions, rows)
    known = ~np.isnan(truth).all(axis=1)
    rows, truth = rows[known], truth[known]
    everywhere = transitions.rows.column("row").to_numpy()
    place = everywhere[rows]
    said = _served(plan, transitions.keys, everywhere)
    refused = _impossible(plan, said)
    wrong = refused[rows] & ~np.isnan(truth)
    said = np.where(refused, np.nan, said)
    return Outcomes(
        told=transitions.rows.column("told").to_numpy()[rows],
        time=transitions.rows.column("time").to_numpy()[rows],
        snapshot=_column(transitions.keys, SNAPSHOT, place, -1, pa.int64()),
        served=said[rows],
        truth=truth,
        impossible=wrong.sum(axis=0),
        slices={field: _slice(transitions, field, place) for field in slices},
        early=early(plan, transitions, said),
    )


def score_column(output: str) -> str:
    """Return the column that tells what was served for an output: "joint.cvr" is told in "scored.joint_cvr"."""
    return PREFIX + output.replace(".", "_")


def _served(plan: Plan, keys: pa.Table, place: Ints) -> Floats:
    columns = [_column(keys, score_column(name), place, np.nan, pa.float64()) for name in plan.outputs]
    return np.stack(columns, axis=1)


def _impossible(plan: Plan, served: Floats) -> npt.NDArray[np.bool_]:
    """Return which scores are too great for a value, or outside [0, 1] where they claim to be probabilities."""
    values = [task.name for task in plan.tasks if task.regression]
    regression = np.array([name in values for name in plan.outputs])
    outside = ~regression & ((served < 0) | (served > 1))
    wrong: npt.NDArray[np.bool_] = ~np.isnan(served) & (outside | ~np.isfinite(narrow(served)))
    return wrong


def _column(table: pa.Table, name: str, place: Ints, absent: float, dtype: pa.DataType) -> npt.NDArray[Any]:
    """Return a column at these places; `absent` where it is null, or not in the table. (len(place),)"""
    if name not in table.column_names:
        return np.full(len(place), absent, dtype.to_pandas_dtype())
    column = table.column(name).take(pa.array(place)).cast(dtype)
    filled: npt.NDArray[Any] = column.fill_null(absent).to_numpy()
    return filled


def _slice(transitions: Transitions, field: str, place: Ints) -> Coded:
    table = transitions.keys if field in transitions.keys.column_names else transitions.fields
    if field not in table.column_names or pa.types.is_nested(table.schema.field(field).type):
        raise ConfigError(
            f"slices: an exposure has no plain field {field}; it has {', '.join(table.column_names)}"
        )
    if len(place) and int(place.max()) >= table.num_rows:
        raise StateError(
            f"the log's final rows carry no features, but {field} is to be sliced by; join it again with "
            "features_on_final, or slice by what is served beside the score"
        )
    texts = table.column(field).take(pa.array(place)).cast(pa.string()).fill_null(UNKNOWN)
    coded = texts.combine_chunks().dictionary_encode()
    return Coded(coded.dictionary.to_pylist(), coded.indices.to_numpy().astype(np.int64))

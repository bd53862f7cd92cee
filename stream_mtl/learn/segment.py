"""The rows from one step to the next: exposures to be predicted, final rows to be scored.

The model stands still within a segment. So its exposures are predicted in portions of a fixed size, counted from its
beginning, and the rest when it ends; then its final rows are scored against what was predicted for their
exposures. None of this depends on how the log was cut into batches.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from stream_mtl.join.transitions import Telling, Transitions
from stream_mtl.learn.arrays import Arrays, put_under, under
from stream_mtl.learn.encoded import Encoded, concat
from stream_mtl.learn.held import Held
from stream_mtl.learn.outcomes import (
    Truths,
    final_rows,
    final_truths,
    measure_arrays,
    measured,
    measures_of_arrays,
    nothing_measured,
)
from stream_mtl.learn.pending import Pending
from stream_mtl.learn.predict import Predictions
from stream_mtl.learn.recipe import Recipe

Ints: TypeAlias = npt.NDArray[np.int64]
Predict: TypeAlias = Callable[[Encoded], Predictions]
Grade: TypeAlias = Callable[[Ints, Predictions, Truths], None]
"""Is told of final rows: when each was exposed (n,), what was predicted then and what became of it (n, outputs), nan
where nothing is known."""


@dataclass(frozen=True, slots=True)
class Exposed:
    """Exposures that are still to be predicted."""

    partition: Ints  # (n,)
    exposure: Ints  # (n,)
    features: Encoded

    def arrays(self) -> Arrays:
        """Return the columns by name, to be saved."""
        features = put_under(features=self.features.arrays())
        return {"partition": self.partition, "exposure": self.exposure} | features


@dataclass(frozen=True, slots=True)
class Final:
    """Final rows that are still to be scored. (n,) each"""

    partition: Ints
    exposure: Ints
    tasks: Ints  # bit i: it ends task i
    time: Ints  # ms: of the exposure
    told: Ints  # ms
    truth: Truths  # (n, outputs)

    def arrays(self) -> Arrays:
        """Return the columns by name, to be saved."""
        return {name: getattr(self, name) for name in _FINAL}


_FINAL = ("partition", "exposure", "tasks", "time", "told", "truth")


class Block:
    """A batch of transitions, read once, from which segments take their rows."""

    def __init__(
        self,
        recipe: Recipe,
        transitions: Transitions,
        partition: int | Ints,
        features: Encoded | None = None,
    ) -> None:
        """`features`: the fields, encoded already."""
        rows = transitions.rows
        self.features = recipe.features.encode(transitions.fields) if features is None else features
        self._partition = np.broadcast_to(np.asarray(partition, np.int64), (len(transitions),))
        self._place = rows.column("row").to_numpy()
        self._exposure = rows.column("exposure").to_numpy()
        self._tasks = rows.column("tasks").to_numpy()
        self._time, self._told = rows.column("time").to_numpy(), rows.column("told").to_numpy()
        self._exposed = np.flatnonzero(rows.column("kind").to_numpy() == Telling.EXPOSED)
        self._final = final_rows(transitions)
        self._truth = final_truths(recipe.plan, transitions, self._final)

    def exposed(self, start: int, stop: int) -> Exposed:
        """Return the exposures among rows [start, stop)."""
        low, high = np.searchsorted(self._exposed, (start, stop))
        rows = self._exposed[low:high]
        features = self.features.take(self._place[rows])
        return Exposed(self._partition[rows], self._exposure[rows], features)

    def final(self, start: int, stop: int) -> Final:
        """Return the final rows among rows [start, stop)."""
        low, high = np.searchsorted(self._final, (start, stop))
        rows = self._final[low:high]
        return Final(
            self._partition[rows],
            self._exposure[rows],
            self._tasks[rows],
            self._time[rows],
            self._told[rows],
            self._truth[low:high],
        )


class Segment:
    """The segment that is open now, the predictions that wait for their label, and what has been measured."""

    def __init__(self, recipe: Recipe, grade: Grade | None = None) -> None:
        self._recipe, self._grade = recipe, grade
        self.measures = nothing_measured(recipe.plan)
        self._exposed: list[Exposed] = []
        self._final: list[Final] = []
        self._pending: dict[int, Pending] = {}
        outputs = recipe.plan.outputs
        self._held = {name: Held(recipe.lives[name]) for name in outputs if name in recipe.lives}

    @property
    def waiting(self) -> int:
        """How many predictions wait for a label."""
        return sum(len(pending) for pending in self._pending.values())

    def observe(self, block: Block, start: int, stop: int, predict: Predict) -> None:
        """Take rows [start, stop) of a block into the segment."""
        exposed, final = block.exposed(start, stop), block.final(start, stop)
        if len(final.exposure):
            self._final.append(final)
        if len(exposed.exposure):
            self._exposed.append(exposed)
            self._predict(predict, self._recipe.learn.predict_rows)

    def close(self, predict: Predict) -> None:
        """Predict what is left, score the final rows; the next row begins a new segment."""
        self._predict(predict, 1)
        if self._final:
            self._settle(_join_final(self._final))
            self._final = []

    def score(self, predictions: Predictions, truth: Truths) -> None:
        """Take predictions and truths of the same rows into the measures."""
        self.measures = measured(self.measures, predictions, truth)

    def arrays(self) -> Arrays:
        """Return the state by name, to be saved."""
        pending = {str(number): one.arrays() for number, one in self._pending.items()}
        held = {str(place): one.arrays() for place, one in enumerate(self._held.values())}
        return put_under(
            held=put_under(**held),
            pending=put_under(**pending),
            measures=measure_arrays(self.measures),
            exposed=_join_exposed(self._exposed).arrays() if self._exposed else {},
            final=_join_final(self._final).arrays() if self._final else {},
        )

    def restore(self, arrays: Mapping[str, npt.NDArray[Any]]) -> None:
        """Take back what `arrays` gave."""
        self.measures = measures_of_arrays(self._recipe.plan, under(arrays, "measures"))
        held = under(arrays, "held")
        for place, one in enumerate(self._held.values()):
            one.restore(under(held, str(place)))
        self._pending = {}
        waiting = under(arrays, "pending")
        for number in sorted({int(name.split(".")[0]) for name in waiting}):
            self._pending_of(number).restore(under(waiting, str(number)))
        exposed, final = under(arrays, "exposed"), under(arrays, "final")
        self._exposed, self._final = [], []
        if exposed:
            features = Encoded.of_arrays(under(exposed, "features"))
            self._exposed = [Exposed(exposed["partition"], exposed["exposure"], features)]
        if final:
            self._final = [Final(**final)]

    def _predict(self, predict: Predict, least: int) -> None:
        """Predict portions of the queue as long as it holds at least so many."""
        most, count = self._recipe.learn.predict_rows, sum(len(one.exposure) for one in self._exposed)
        if count < least:
            return
        queue, start = _join_exposed(self._exposed), 0
        while count - start >= least:
            rows = np.arange(start, min(start + most, count))
            self._keep(queue.partition[rows], queue.exposure[rows], predict(queue.features.take(rows)))
            start += len(rows)
        rest = np.arange(start, count)
        left = Exposed(queue.partition[rest], queue.exposure[rest], queue.features.take(rest))
        self._exposed = [left] if len(rest) else []

    def _keep(self, partition: Ints, exposure: Ints, predictions: Predictions) -> None:
        for number in np.unique(partition).tolist():
            rows = np.flatnonzero(partition == number)
            self._pending_of(number).add(exposure[rows], predictions[rows])

    def _settle(self, final: Final) -> None:
        predictions = np.full(final.truth.shape, np.nan, np.float32)
        for number in np.unique(final.partition).tolist():
            rows = np.flatnonzero(final.partition == number)
            predictions[rows] = self._pending_of(number).settle(final.exposure[rows], final.tasks[rows])
        if self._grade is not None:
            self._grade(final.time, predictions, final.truth)
        self.score(predictions, self._hold(final, predictions))

    def _hold(self, final: Final, predictions: Predictions) -> Truths:
        """Keep the outcomes of products until they are ripe; return the others'."""
        if not self._held:
            return final.truth
        truth, upto = final.truth.copy(), int(final.told.max())
        for name, held in self._held.items():
            i = self._recipe.plan.outputs.index(name)
            rows = ~np.isnan(truth[:, i]) & ~np.isnan(predictions[:, i])
            held.add(final.time[rows], predictions[rows, i], truth[rows, i])
            truth[:, i] = np.nan
            counted: Any = self.measures[name]
            self.measures = {**self.measures, name: counted + held.ripe(upto)}
        return truth

    def _pending_of(self, partition: int) -> Pending:
        if partition not in self._pending:
            self._pending[partition] = Pending(len(self._recipe.plan.outputs), len(self._recipe.tasks))
        return self._pending[partition]


def _join_exposed(parts: Sequence[Exposed]) -> Exposed:
    return Exposed(
        np.concatenate([part.partition for part in parts]),
        np.concatenate([part.exposure for part in parts]),
        concat([part.features for part in parts]),
    )


def _join_final(parts: Sequence[Final]) -> Final:
    return Final(*(np.concatenate([getattr(part, name) for part in parts]) for name in _FINAL))

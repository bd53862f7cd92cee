"""The learner's way through a log: predict every exposure when it is told, learn in minibatches, score at the end.

A minibatch is the next N examples of the log, wherever a batch of transitions ended. So what is learned, predicted and
measured does not depend on how the log was cut. The state between any two calls can be saved, and a trainer that
takes it back goes on as if nothing had happened, bit for bit.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from stream_mtl.clock import Millis
from stream_mtl.join.transitions import Transitions
from stream_mtl.label.oracle import Truth
from stream_mtl.label.plan import Labels
from stream_mtl.learn.arrays import Arrays, put_under, under
from stream_mtl.learn.batch import Batch, collate, join
from stream_mtl.learn.encoded import Encoded
from stream_mtl.learn.learner import Learner, StepReport
from stream_mtl.learn.outcomes import given_truths, no_truths
from stream_mtl.learn.recipe import Recipe
from stream_mtl.learn.segment import Block, Grade, Segment
from stream_mtl.measures import Sums

Numbers: TypeAlias = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Stepped:
    """A step, and how far in the batch of transitions it was taken."""

    report: StepReport
    upto: int  # the next row of the batch


class Trainer:
    """Learns from transitions, or from rows that arrive with their labels."""

    def __init__(self, recipe: Recipe, grade: Grade | None = None) -> None:
        """`grade` is told of every exposure whose label is final, in the order of the log."""
        self.recipe = recipe
        self.learner = Learner(recipe)
        self._segment = Segment(recipe, grade)
        self._carry: list[Batch] = []

    @property
    def measures(self) -> Mapping[str, Sums]:
        """What the predictions were worth that were made before learning, by output."""
        return self._segment.measures

    @property
    def carried(self) -> int:
        """How many examples wait for their minibatch to fill."""
        return sum(map(len, self._carry))

    @property
    def waiting(self) -> int:
        """How many predictions wait for a label."""
        return self._segment.waiting

    def take(
        self,
        transitions: Transitions,
        partition: int | Numbers = 0,
        truth: Truth | None = None,
        after: Callable[[Stepped], None] = lambda stepped: None,
        features: Encoded | None = None,
    ) -> list[Stepped]:
        """Go on by a batch of transitions, and return the steps taken. `partition` is the joiner's, of all rows or each (n,).

        `truth`, the final labels of the whole log, is for the oracle. `after` is called behind every step: then
        weights and measures are those of this step, however the log is cut. `features` are the fields, where somebody
        has encoded them already. Raises what `Plan.emit` raises.
        """
        examples = self.recipe.plan.emit(transitions, truth)
        block = Block(self.recipe, transitions, partition, features)
        unknown = no_truths(self.recipe.plan, len(examples))
        steps: list[Stepped] = []
        start = row = 0
        while start < len(examples):
            stop = min(start + self._room, len(examples))
            self._carry.append(collate(block.features, examples, start, stop, unknown[start:stop]))
            start = stop
            if self._room == 0:
                upto = int(examples.telling[stop - 1]) + 1
                self._segment.observe(block, row, upto, self.learner.predict)
                steps.append(Stepped(self._step(), upto))
                after(steps[-1])
                row = upto
        self._segment.observe(block, row, len(transitions), self.learner.predict)
        return steps

    def learn_rows(self, fields: pa.Table, labels: Labels, time: Millis = 0) -> list[StepReport]:
        """Go on by rows that arrive with their labels, by task, nan where one is not known.

        Each row is predicted, and the prediction scored, just before the step that learns it.
        """
        features = self.recipe.features.encode(fields)
        examples = self.recipe.plan.label(labels, time, fields)
        truth = given_truths(self.recipe.plan, labels)
        reports: list[StepReport] = []
        start = 0
        while start < len(examples):
            stop = min(start + self._room, len(examples))
            self._carry.append(collate(features, examples, start, stop, truth[start:stop]))
            start = stop
            if self._room == 0:
                reports.append(self._step())
        return reports

    def flush(self) -> StepReport | None:
        """Score what can be scored, and learn the rows that wait for their minibatch to fill, if any.

        It ends a segment, so a live trainer notes where it did so.
        """
        if self._carry:
            return self._step()
        self._segment.close(self.learner.predict)
        return None

    def state(self) -> tuple[Arrays, dict[str, Any]]:
        """Return the whole state: arrays by name, and facts that are JSON."""
        arrays = put_under(
            learner=self.learner.arrays(),
            segment=self._segment.arrays(),
            carry=join(self._carry).arrays() if self._carry else {},
        )
        return arrays, {"recipe": self.recipe.fingerprint()}

    def load_state(self, arrays: Mapping[str, npt.NDArray[Any]], facts: Mapping[str, Any]) -> None:
        """Take back what `state` gave. Raises FingerprintMismatch, StateCorrupt."""
        self.recipe.check(facts["recipe"])
        self.learner.restore(under(arrays, "learner"))
        self._segment.restore(under(arrays, "segment"))
        carry = under(arrays, "carry")
        self._carry = [Batch.of_arrays(carry)] if carry else []

    @property
    def _room(self) -> int:
        """How many examples the minibatch still takes."""
        return self.recipe.learn.batch_size - self.carried

    def _step(self) -> StepReport:
        """Close the segment, then learn the minibatch."""
        self._segment.close(self.learner.predict)
        batch, self._carry = join(self._carry), []
        report, before = self.learner.learn(batch)
        if before is not None:
            self._segment.score(before, batch.truth)
        return report

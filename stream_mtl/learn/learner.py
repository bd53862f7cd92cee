"""One minibatch, one step, one report: model, embedding rows, optimiser and balance as one thing with one state."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from stream_mtl.clock import Millis
from stream_mtl.failpoints import reach
from stream_mtl.label.base import CORRECTIONS, MATURED, Reading
from stream_mtl.label.plan import Lesson, joint_name
from stream_mtl.learn.adam import Adam
from stream_mtl.learn.arrays import Arrays, put_under, under
from stream_mtl.learn.balance import BALANCES
from stream_mtl.learn.batch import Batch
from stream_mtl.learn.encoded import Encoded
from stream_mtl.learn.inputs import Inputs, Opened
from stream_mtl.learn.losses import DENOMINATORS, TRANSFORMS, VALUE_LOSSES, focal
from stream_mtl.learn.models import Answer
from stream_mtl.learn.predict import Predictions, dense, load_dense, predict, read_answer
from stream_mtl.learn.recipe import Recipe

_AGAIN = np.array(sorted(CORRECTIONS | MATURED), np.int8)
"""The kinds of rows that were told before."""


@dataclass(frozen=True, slots=True)
class StepReport:
    """What one step did."""

    step: int  # 1 is the first
    rows: int
    told: Mapping[str, int]  # per lesson: rows that taught it
    loss: Mapping[str, float]  # per lesson, before its weight
    norm: float  # of the gradient
    skipped: bool  # the gradient was not finite: nothing was learned
    bad: int  # rows left out because a cell was not finite
    admitted: int  # ids that were given an embedding row
    evicted: int  # ids that lost theirs
    time: Millis  # latest time told


class Learner:
    """Learns minibatches. Equal recipes, batches and thread counts give equal bits."""

    def __init__(self, recipe: Recipe) -> None:
        self.recipe = recipe
        self.step = 0
        self.model = recipe.build().train()
        self.inputs = Inputs(recipe.features, recipe.learn.seed, recipe.learn.row_rate)
        weights = {lesson.name: recipe.lesson_weight(lesson) for lesson in recipe.plan.lessons}
        self._balance = BALANCES[recipe.learn.balance](weights)
        self._adam = Adam(self.model, recipe.rate)
        self._shared = list(self.model.sharing.parameters())
        self._reduce = DENOMINATORS[recipe.learn.denominator]

    def predict(self, features: Encoded) -> Predictions:
        """Return what the model says now. (n, outputs)"""
        return predict(self.model, self.inputs, features, self.recipe)

    def learn(self, batch: Batch) -> tuple[StepReport, Predictions | None]:
        """Take one step. If rows of the batch are to be scored, return what was predicted just before it."""
        before = None
        if batch.scored and not self.model.learns_as_it_predicts:
            before = self.predict(batch.features)
        self.model.at_step(self.step, _counted(batch) if self.model.couples_rows else None)
        opened = self.inputs.open(batch.features)
        answer = self.model(opened.x)
        if batch.scored and before is None:
            before = read_answer(answer, self.recipe)
        losses = self._losses(answer, batch)
        counts = (batch.weight > 0).sum(axis=0).tolist()
        told = dict(zip(self.recipe.plan.names, counts, strict=True))
        self._send_back(losses, frozenset(name for name, rows in told.items() if rows), opened)
        reach("learn.after_backward")
        norm, admitted, evicted = self._apply(opened, int(batch.told.max()))
        report = StepReport(
            step=self.step,
            rows=len(batch),
            told=told,
            loss={name: float(loss.detach()) for name, loss in losses.items()},
            norm=norm,
            skipped=not math.isfinite(norm),
            bad=int(batch.features.bad.sum()),
            admitted=admitted,
            evicted=evicted,
            time=int(batch.told.max()),
        )
        return report, before

    def weights(self, since: int = -1) -> Arrays:
        """Return a copy of what predicting needs: a `Predictor` takes it.

        With `since`, of the embedding tables only the rows that were changed after that step.
        """
        return put_under(dense=dense(self.model)) | self.inputs.weights(since)

    def arrays(self) -> Arrays:
        """Return the whole state by name, to be saved."""
        parts = put_under(dense=dense(self.model), adam=self._adam.arrays(), balance=self._balance.arrays())
        return {"step": np.array(self.step)} | parts | self.inputs.arrays()

    def restore(self, arrays: Mapping[str, npt.NDArray[Any]]) -> None:
        """Take back what `arrays` gave. Raises StateCorrupt if it does not fit the model."""
        self.step = int(arrays["step"])
        load_dense(self.model, under(arrays, "dense"))
        self._adam.restore(under(arrays, "adam"))
        self._balance.restore(under(arrays, "balance"))
        self.inputs.restore(arrays)

    def _losses(self, answer: Answer, batch: Batch) -> dict[str, Tensor]:
        columns = (
            torch.from_numpy(column) for column in (batch.label, batch.weight, batch.elapsed, batch.kind)
        )
        label, weight, elapsed, kind = columns
        rows = {
            lesson.name: self._loss(
                lesson, answer, _Column(label[:, i], weight[:, i], elapsed[:, i], kind[:, i])
            )
            for i, lesson in enumerate(self.recipe.plan.lessons)
        }
        rows = self.model.relation.teach(rows, answer.logits)
        return {name: self._reduce(rows[name], weight[:, i]) for i, name in enumerate(self.recipe.plan.names)}

    def _loss(self, lesson: Lesson, answer: Answer, of: "_Column") -> Tensor:
        """Return the loss of every row. (B,)"""
        task = lesson.task.name
        logit, how = answer.logits[lesson.name], self.recipe.value(task)
        if lesson.task.regression:
            return VALUE_LOSSES[how.loss].rows(logit, TRANSFORMS[how.transform][0](of.label), of.weight)
        if how.focal:
            return focal(logit, of.label, how.focal)
        auxiliary = answer.auxiliary.get(task, {})
        reach = self._reach(lesson, answer) if auxiliary else None
        loss: Tensor = lesson.method.loss(Reading(logit, auxiliary, reach, of.label, of.kind, of.elapsed))
        return loss

    def _reach(self, lesson: Lesson, answer: Answer) -> Tensor | None:
        """Return the probability, constant, of reaching a joint lesson's task at all. (B,)"""
        if not lesson.joint:
            return None
        given = lesson.path[-1]
        logit = answer.logits.get(joint_name(given), answer.logits[given])
        method = self.recipe.plan.methods[given]
        reach: Tensor = method.probability(logit, answer.auxiliary.get(given, {})).detach()
        return reach

    def _send_back(self, losses: Mapping[str, Tensor], present: frozenset[str], opened: Opened) -> None:
        self._adam.clear()
        shared = [*(read.leaf for read in opened.reads), *self._shared]
        self._balance.backward(losses, present, shared)

    def _apply(self, opened: Opened, now: Millis) -> tuple[float, int, int]:
        """Move everything against its gradient, unless that is not finite. Return (norm, admitted, evicted)."""
        gradients = [self._adam.gradient, *opened.gradients]
        norm = math.hypot(*(float(gradient.norm()) for gradient in gradients))
        self.step += 1
        if not math.isfinite(norm):
            return norm, 0, 0
        most = self.recipe.learn.clip_norm
        if most is not None and norm > most:
            for gradient in gradients:
                gradient.mul_(most / norm)
        self._adam.step()
        admitted = self.inputs.close(opened, now, self.step)
        evicted = self.inputs.evict(now) if self.step % self.recipe.learn.evict_every == 0 else 0
        return norm, admitted, evicted


def _counted(batch: Batch) -> Tensor | None:
    """Return the rows that tell anything for the first time, (B,), or None for all of them.

    Corrections and matured labels are rows that were told before: the statistics of batch norm would see them twice.
    """
    first = ((batch.weight > 0) & ~np.isin(batch.kind, _AGAIN)).any(axis=1)
    return None if first.all() else torch.from_numpy(first)


@dataclass(frozen=True, slots=True)
class _Column:
    """What a batch tells one lesson. (B,) each."""

    label: Tensor
    weight: Tensor
    elapsed: Tensor
    kind: Tensor

"""Predictions from logits: the one way in which the trainer, before it learns, and the scorer read a model."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import torch
from torch import Tensor

from stream_mtl.errors import StateCorrupt
from stream_mtl.label.plan import Lesson, joint_name
from stream_mtl.learn.arrays import Arrays, under
from stream_mtl.learn.encoded import Encoded
from stream_mtl.learn.inputs import Inputs
from stream_mtl.learn.losses import TRANSFORMS, VALUE_LOSSES
from stream_mtl.learn.models import Answer, MultiTaskModel
from stream_mtl.learn.recipe import Recipe

Predictions = npt.NDArray[np.float32]  # (n, outputs), columns as Plan.outputs

_TINY = 1e-30


def read_answer(answer: Answer, recipe: Recipe) -> Predictions:
    """Return probabilities, and values of value tasks."""
    found: dict[str, Tensor] = {}
    for lesson in sorted(recipe.plan.lessons, key=lambda lesson: len(lesson.path)):
        _read_lesson(lesson, answer, recipe, found)
    return torch.stack([found[name] for name in recipe.plan.outputs], dim=1).detach().numpy()


def predict(model: MultiTaskModel, inputs: Inputs, features: Encoded, recipe: Recipe) -> Predictions:
    """Return the predictions for encoded features. The model is left in the mode, learning or not, it was in."""
    switch = model.training and not model.learns_as_it_predicts
    if switch:
        model.eval()
    try:
        with torch.inference_mode():
            return read_answer(model(inputs.read(features)), recipe)
    finally:
        if switch:
            model.train()


class Predictor:
    """A model whose weights do not change: what a snapshot is loaded as."""

    def __init__(self, recipe: Recipe, weights: Mapping[str, npt.NDArray[Any]]) -> None:
        """Take the arrays that `Learner.weights` gave. Raises StateCorrupt if names or shapes do not fit."""
        self.recipe = recipe
        model = recipe.build().eval()
        load_dense(model, under(weights, "dense"))
        with torch.inference_mode():
            self._answer = model.bind()
        self._inputs = Inputs(recipe.features, recipe.learn.seed)
        self._inputs.load(weights)

    def predict(self, fields: pa.Table) -> dict[str, npt.NDArray[np.float32]]:
        """Return, by output, the predictions for rows of fields, (n,) each."""
        features = self.recipe.features.encode(fields)
        with torch.inference_mode():
            columns = read_answer(self._answer(self._inputs.read(features)), self.recipe)
        return dict(zip(self.recipe.plan.outputs, columns.T, strict=True))


def load_dense(model: MultiTaskModel, arrays: Mapping[str, npt.NDArray[Any]]) -> None:
    """Copy named arrays into a model's weights. Raises StateCorrupt if names or shapes do not fit."""
    own = model.state_dict()
    unlike = own.keys() ^ arrays.keys() | {
        n for n in own.keys() & arrays.keys() if own[n].shape != arrays[n].shape
    }
    if unlike:
        raise StateCorrupt(f"the weights do not fit the model: {', '.join(sorted(unlike)[:5])}")
    with torch.no_grad():
        for name, tensor in own.items():
            tensor.copy_(torch.from_numpy(arrays[name]))


def dense(model: MultiTaskModel) -> Arrays:
    """Return a copy of a model's weights by name."""
    return {name: tensor.detach().numpy().copy() for name, tensor in model.state_dict().items()}


def _read_lesson(lesson: Lesson, answer: Answer, recipe: Recipe, found: dict[str, Tensor]) -> None:
    task, method = lesson.task.name, lesson.method
    logits, auxiliary = answer.logits, answer.auxiliary.get(task, {})
    if lesson.task.regression:
        how = recipe.value(task)
        found[task] = TRANSFORMS[how.transform][1](VALUE_LOSSES[how.loss].read(logits[task]))
    elif not lesson.joint:
        found[task] = method.probability(logits[task], auxiliary)
    else:
        found[lesson.name] = method.probability(logits[lesson.name], auxiliary)
        found[task] = logits[task].sigmoid()
        methods = [method, *(recipe.plan.methods[name] for name in lesson.path)]
        if any(one.inverts for one in methods):  # then the conditional logit means nothing by itself
            given = lesson.path[-1]
            reach = found.get(joint_name(given), found[given])
            found[task] = (found[lesson.name] / reach.clamp(min=_TINY)).clamp(max=1)

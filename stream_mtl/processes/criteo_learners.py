"""Learners of the Criteo protocol: the network, what it knows before the stream begins, and how it goes along it.

What is known before the stream begins is what a log that ends there shows: a conversion that comes later is a no.
(Published code looks into the future here; that can be asked for.)
"""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from stream_mtl.clock import Millis
from stream_mtl.join.transitions import Transitions
from stream_mtl.label.base import MATURED, DelayedFeedback, Emitted, Kind
from stream_mtl.label.examples import Examples
from stream_mtl.label.oracle import Truth
from stream_mtl.label.told import Ints
from stream_mtl.label.wait import Mature
from stream_mtl.learn.arrays import Arrays
from stream_mtl.learn.batch import Batch, collate
from stream_mtl.learn.encoded import Encoded
from stream_mtl.learn.features import Categorical, FeatureSpec
from stream_mtl.learn.layers import Linears
from stream_mtl.learn.learner import Learner
from stream_mtl.learn.models import Answer, MultiTaskModel
from stream_mtl.learn.outcomes import no_truths
from stream_mtl.learn.recipe import LearnOptions, Recipe
from stream_mtl.learn.sharing import ModelOptions
from stream_mtl.processes.criteo_log import FEATURES, ClickLog
from stream_mtl.processes.criteo_methods import HeadsAlone
from stream_mtl.processes.criteo_stream import TASK, ClickStream

BATCH = 1_024
RATE = 1e-3
PENALTY = 1e-6
WIDTHS = (256, 256, 128)
EMBEDDING = 8
_PORTION = 64 * BATCH  # rows that are encoded at a time
_KEPT = ("dense.", "table.", "scale.")  # of a learner's state: all but its optimiser

Heads = Callable[[Encoded], Mapping[str, Tensor]]
"""Encoded features to auxiliary logits by name, (n,) each."""
Tick = Callable[[int], None]
"""Is told of rows that were learned."""


def recipe_of(method: DelayedFeedback, seed: int) -> Recipe:
    """Return the network of the ES-DFM code as a recipe; what differs is in docs/criteo.md."""
    return Recipe(
        FeatureSpec({name: Categorical(dim=EMBEDDING) for name in FEATURES}, seed),
        (TASK,),
        {TASK.name: method},
        ModelOptions(bottom=WIDTHS, towers=(), norm="batch", activation="leaky_relu"),
        LearnOptions(batch_size=BATCH, rate=RATE, seed=seed),
    )


def penalise(model: MultiTaskModel, penalty: float = PENALTY) -> None:
    """Let the gradient of every shared layer's matrix W carry that of penalty * sum(W^2) from now on."""
    for module in model.sharing.modules():
        if isinstance(module, Linears):
            hook: Any = module.weight.register_hook  # (torch does not say its types)
            hook(_penalty(module.weight, 2 * penalty))


def _penalty(weight: Tensor, factor: float) -> Callable[[Tensor], Tensor]:
    return lambda gradient: gradient + factor * weight.detach()


class FrozenHeads(Learner):
    """A learner whose auxiliary logits come from elsewhere, and are not learned."""

    def __init__(self, recipe: Recipe, heads: Heads) -> None:
        super().__init__(recipe)
        self._heads = heads

    def _losses(self, answer: Answer, batch: Batch) -> dict[str, Tensor]:
        known = {TASK.name: self._heads(batch.features)}
        return super()._losses(replace(answer, auxiliary=known), batch)


class Student:
    """One method on its way along the stream."""

    def __init__(self, name: str, method: DelayedFeedback, learner: Learner, truth: Truth | None) -> None:
        self.name, self.method, self.learner = name, method, learner
        self._truth = truth
        self._frozen = isinstance(learner, FrozenHeads)
        self.kinds: Counter[str] = Counter()  # examples learned, by kind
        self.steps = 0

    def learn(self, transitions: Transitions, features: Encoded) -> None:
        """Learn what is told, in order, in minibatches of which the last is what is left.

        `features` are the transitions' fields, encoded.
        """
        recipe = self.learner.recipe
        examples = recipe.plan.emit(transitions, self._truth)
        if self._frozen:
            examples = keep(examples, ~np.isin(examples.kind[:, 0], sorted(MATURED)))
        self.steps += learn(self.learner, features, examples)
        codes, counts = np.unique(examples.kind, return_counts=True)
        self.kinds.update(
            {Kind(code).name: int(n) for code, n in zip(codes.tolist(), counts.tolist(), strict=True)}
        )

    def predict(self, features: Encoded) -> npt.NDArray[np.float32]:
        """Return what it would serve now. (n,)"""
        return self.learner.predict(features)[:, 0]


def learn(learner: Learner, features: Encoded, examples: Examples) -> int:
    """Learn examples in their order; return the number of steps."""
    starts = range(0, len(examples), BATCH)
    unknown = no_truths(learner.recipe.plan, BATCH)
    for start in starts:
        stop = min(start + BATCH, len(examples))
        learner.learn(collate(features, examples, start, stop, unknown[: stop - start]))
    return len(starts)


def keep(examples: Examples, rows: npt.NDArray[np.bool_]) -> Examples:
    """Return some of the examples."""
    columns = {one.name: getattr(examples, one.name) for one in fields(examples) if one.name != "lessons"}
    return Examples(examples.lessons, **{name: column[rows] for name, column in columns.items()})


@dataclass(frozen=True)
class Beginning:
    """What a log teaches of the clicks before `end`: each once, in an order drawn from `seed`, so many times.

    A conversion counts if it came before `known`: where that is `end`, the log could have ended there.
    """

    stream: ClickStream
    end: Millis
    known: Millis
    epochs: int
    seed: int
    tick: Tick

    def base(self) -> Arrays:
        """Return the state of a network that learned, by cross entropy, which clicks are known to have converted."""
        learner = Learner(recipe_of(Mature(), self.seed))
        penalise(learner.model)
        rows = np.arange(self._log.clicks(0, self.end).stop)
        self._teach(learner, rows, np.where(self._converted(rows), 1, 0), None, self.epochs)
        return learner.arrays()

    def with_heads(self, base: Arrays, method: DelayedFeedback, wait: Millis) -> Arrays:
        """Return the state of the base network with the method's auxiliary logits, which learned one pass beside it."""
        learner = transplanted(Learner(recipe_of(method, self.seed)), base)
        self._teach_heads(learner, wait, 1)
        return learner.arrays()

    def heads(self, wait: Millis) -> Heads:
        """Return the auxiliary logits of a network of their own, as it is at the end."""
        learner = Learner(recipe_of(HeadsAlone(wait), self.seed))
        penalise(learner.model)
        self._teach_heads(learner, wait, self.epochs)
        learner.model.eval()

        def answer(features: Encoded) -> Mapping[str, Tensor]:
            with torch.no_grad():
                known: Answer = learner.model(learner.inputs.read(features))
            return known.auxiliary[TASK.name]

        return answer

    @property
    def _log(self) -> ClickLog:
        return self.stream.log

    def _converted(self, rows: Ints) -> npt.NDArray[np.bool_]:
        click, delay = self._log.click[rows], self._log.delay[rows]
        converted: npt.NDArray[np.bool_] = (delay <= self.stream.window) & (click + delay < self.known)
        return converted

    def _teach_heads(self, learner: Learner, wait: Millis, epochs: int) -> None:
        """Let auxiliary logits learn, of every click whose look is over, what is known to have become of it."""
        rows = np.arange(self._log.clicks(0, self.end - wait).stop)
        came = self._converted(rows)
        early = came & (self._log.delay[rows] <= wait)
        kind = np.where(early, Kind.MATURED_IP, np.where(came, Kind.MATURED_DP, Kind.MATURED_RN))
        self._teach(learner, rows, came, kind, epochs)

    def _teach(
        self,
        learner: Learner,
        rows: Ints,
        label: npt.NDArray[Any],
        kind: npt.NDArray[Any] | None,
        epochs: int,
    ) -> None:
        random = np.random.default_rng(self.seed)
        codes = np.full(len(rows), Kind.FINAL) if kind is None else kind
        for _ in range(epochs):
            order = random.permutation(len(rows))
            for start in range(0, len(rows), _PORTION):
                some = order[start : start + _PORTION]
                features = learner.recipe.features.encode(self._log.fields(rows[some]))
                learn(learner, features, self._examples(learner, label[some], codes[some]))
                self.tick(len(some))

    def _examples(self, learner: Learner, label: npt.NDArray[Any], kind: npt.NDArray[Any]) -> Examples:
        n = len(label)
        places = np.arange(n)
        told = np.full(n, self.end, np.int64)
        examples = Examples.untold(learner.recipe.plan.names, places, places.astype(np.int32), places, told)
        nothing = np.zeros(n, np.float32)
        examples.tell(0, places, Emitted(places, label.astype(np.float32), kind.astype(np.int8), nothing))
        return examples


def transplanted(learner: Learner, state: Arrays) -> Learner:
    """Return the learner with all of this state that it has a place for, but with an optimiser that is new."""
    own = learner.arrays()
    taken = {name: array for name, array in state.items() if name.startswith(_KEPT)}
    fits = {n: a for n, a in taken.items() if not n.startswith("dense.") or n in own}
    learner.restore({**own, **fits})
    return learner


def warm_up(
    student: Student, stream: ClickStream, parts: Iterator[tuple[Millis, Millis]], tick: Tick
) -> None:
    """Let a student learn its own stream of some spans of time, as if they were the present."""
    for begin, end in parts:
        transitions, clicks = stream.tell(begin, end), stream.log.clicks(begin, end)
        student.learn(transitions, student.learner.recipe.features.encode(transitions.fields))
        tick(clicks.stop - clicks.start)


def needs_warm_up(method: DelayedFeedback) -> bool:
    """Whether a method has logits that no matured label teaches."""
    return any(not one.asked for one in method.auxiliary)

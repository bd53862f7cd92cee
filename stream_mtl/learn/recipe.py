"""Everything that a learner and a scorer are built from: features, tasks, methods, model, and how it learns."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property

from stream_mtl.clock import Millis
from stream_mtl.errors import ConfigError, FingerprintMismatch
from stream_mtl.join.spec import TaskSpec
from stream_mtl.label.base import Auxiliary, DelayedFeedback
from stream_mtl.label.plan import Plan
from stream_mtl.learn.balance import BALANCES
from stream_mtl.learn.features import FeatureSpec
from stream_mtl.learn.losses import DENOMINATORS, TRANSFORMS, VALUE_LOSSES
from stream_mtl.learn.models import MODELS, RELATIONS, MultiTaskModel
from stream_mtl.learn.sharing import ModelOptions


@dataclass(frozen=True, slots=True)
class ValueOptions:
    """How a value task is learned."""

    loss: str = "squared"  # of VALUE_LOSSES
    transform: str = "none"  # of TRANSFORMS


@dataclass(frozen=True, slots=True)
class LearnOptions:
    """How a model learns."""

    batch_size: int = 256  # rows of the log in one minibatch
    rate: float | None = None  # of the dense weights, Adam; None: by the size of a minibatch
    row_rate: float = 5e-2  # of the embedding rows, row-wise Adagrad
    denominator: str = "rows"  # of DENOMINATORS
    balance: str = "fixed"  # of BALANCES
    weights: Mapping[str, float] = field(
        default_factory=dict
    )  # task -> weight of its loss; 1 where not named
    values: Mapping[str, ValueOptions] = field(default_factory=dict)  # value task -> how
    clip_norm: float | None = None  # greatest norm of the gradient
    evict_every: int = 1_000  # steps between two looks for embedding rows that are too old
    predict_rows: int = 4_096  # exposures predicted at once, at most
    seed: int = 0


@dataclass(frozen=True)
class Recipe:
    """A learner, declared. Raises ConfigError for a choice that does not exist."""

    features: FeatureSpec
    tasks: tuple[TaskSpec, ...]
    methods: Mapping[str, DelayedFeedback] = field(
        default_factory=dict
    )  # task -> method; Mature where not named
    model: ModelOptions = field(default_factory=ModelOptions)
    learn: LearnOptions = field(default_factory=LearnOptions)
    lives: Mapping[str, Millis] = field(
        default_factory=dict
    )  # product -> how long after an exposure its label is told at the latest (label.plan.lives)

    def __post_init__(self) -> None:
        if self.features.width == 0 or not self.tasks:
            raise ConfigError(
                "there is nothing to learn from, or nothing to learn; declare features and tasks"
            )
        values = [self.value(task.name) for task in self.tasks]
        choices: tuple[tuple[str, str, Mapping[str, object]], ...] = (
            ("model", self.model.name, MODELS),
            ("relation", self.model.relation, RELATIONS),
            ("denominator", self.learn.denominator, DENOMINATORS),
            ("balance", self.learn.balance, BALANCES),
            *(("value loss", value.loss, VALUE_LOSSES) for value in values),
            *(("transform", value.transform, TRANSFORMS) for value in values),
        )
        for what, chosen, table in choices:
            if chosen not in table:
                raise ConfigError(f'there is no {what} "{chosen}"; choose one of {", ".join(table)}')

    @cached_property
    def plan(self) -> Plan:
        """What the tasks teach together; it says which looks the join must take."""
        return Plan(self.tasks, self.methods, RELATIONS[self.model.relation].joint(self.tasks))

    def build(self) -> MultiTaskModel:
        """Return a new model; equal recipes give equal weights."""
        return MultiTaskModel(
            self.features.width,
            self.tasks,
            self.model,
            self.auxiliary,
            self.learn.seed,
            self.features.dims,
        )

    @property
    def auxiliary(self) -> Mapping[str, tuple[Auxiliary, ...]]:
        """The auxiliary logits that each task's method needs."""
        return {name: method.auxiliary for name, method in self.plan.methods.items() if method.auxiliary}

    @property
    def rate(self) -> float:
        """The step of the dense weights.

        Unless it is set, it grows with the root of the batch size, as the noise of Adam's gradient does (Malladi et
        al., NeurIPS 2022): 1.5e-3 at 16 rows, 3e-3 at 64, 6e-3 at 256, and at most 1e-2.
        """
        if self.learn.rate is not None:
            return self.learn.rate
        return min(3e-3 * math.sqrt(self.learn.batch_size / 64), 1e-2)

    def value(self, task: str) -> ValueOptions:
        """Return how a value task is learned."""
        return self.learn.values.get(task, ValueOptions())

    def weight(self, task: str) -> float:
        """Return the weight of a task's loss."""
        return self.learn.weights.get(task, 1.0)

    def fingerprint(self) -> dict[str, str]:
        """Return, part by part and as text, what state and weights are bound to."""
        return {
            "features": self.features.fingerprint(),
            "tasks": repr([replace(task, waits=()) for task in self.tasks]),
            "methods": repr(sorted((name, repr(method)) for name, method in self.plan.methods.items())),
            "model": self.model.fingerprint(),
            "seed": repr(self.learn.seed),
        }

    def check(self, found: Mapping[str, str]) -> None:
        """Raise FingerprintMismatch, naming the parts, if state was made by another recipe."""
        own = self.fingerprint()
        differ = [part for part in own if own[part] != found.get(part)]
        if differ:
            raise FingerprintMismatch(
                f"the state was made with other {', '.join(differ)} than the configuration now says; "
                "put them back, or begin anew beside the old state"
            )

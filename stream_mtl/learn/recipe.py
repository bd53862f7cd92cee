"""Everything that a learner and a scorer are built from: features, tasks, methods, model, and how it learns."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property

from stream_mtl.clock import Millis
from stream_mtl.errors import ConfigError, FingerprintMismatch
from stream_mtl.join.spec import TaskSpec
from stream_mtl.label.base import Auxiliary, DelayedFeedback, Plain
from stream_mtl.label.plan import Lesson, Plan, Space, joint_name
from stream_mtl.learn.balance import BALANCES
from stream_mtl.learn.features import FeatureSpec
from stream_mtl.learn.losses import DENOMINATORS, TRANSFORMS, VALUE_LOSSES, head_size
from stream_mtl.learn.models import MODELS, RELATIONS, MultiTaskModel
from stream_mtl.learn.sharing import ModelOptions


@dataclass(frozen=True, slots=True)
class ValueOptions:
    """How a task is learned: all but `focal` is for tasks with a value."""

    loss: str = "squared"  # of VALUE_LOSSES
    transform: str = "none"  # of TRANSFORMS
    classes: int = 0  # of loss "softmax"
    focal: float = 0.0  # of labels: gamma of the focal loss; 0: the method's own loss


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
    values: Mapping[str, ValueOptions] = field(default_factory=dict)  # task -> how
    spaces: Mapping[str, Space] = field(
        default_factory=dict
    )  # task -> how much its rows count in and out of it
    row_weights: Mapping[str, str] = field(
        default_factory=dict
    )  # task -> column of fields that weighs its rows
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
        for task in self.tasks:
            check_task_loss(task, self.value(task.name), self.methods.get(task.name))

    @cached_property
    def plan(self) -> Plan:
        """What the tasks teach together; it says which looks the join must take."""
        related = RELATIONS[self.model.relation]
        apart = related.apart(self.tasks, self.model)
        learn, joint = self.learn, related.joint(self.tasks)
        return Plan(self.tasks, self.methods, joint, apart, learn.spaces, learn.row_weights)

    def build(self) -> MultiTaskModel:
        """Return a new model; equal recipes give equal weights."""
        return MultiTaskModel(
            self.features.width,
            self.tasks,
            self.shape,
            self.auxiliary,
            self.learn.seed,
            self.features.dims,
        )

    @property
    def auxiliary(self) -> Mapping[str, tuple[Auxiliary, ...]]:
        """The auxiliary logits that each task's method needs."""
        return {name: method.auxiliary for name, method in self.plan.methods.items() if method.auxiliary}

    @property
    def shape(self) -> ModelOptions:
        """The model's shape, with heads as large as the losses of values want them."""
        how = {task.name: self.value(task.name) for task in self.tasks if task.regression}
        sizes = {name: head_size(one.loss, one.classes) for name, one in how.items()}
        return replace(self.model, sizes={name: size for name, size in sizes.items() if size > 1})

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
        """Return how a task is learned."""
        return self.learn.values.get(task, ValueOptions())

    def weight(self, task: str) -> float:
        """Return the weight of a task's loss."""
        return self.learn.weights.get(task, 1.0)

    def lesson_weight(self, lesson: Lesson) -> float:
        """Return the weight of a lesson's loss: its task's, and of a conditional probability that of such losses."""
        weight = self.weight(lesson.task.name)
        beside = not lesson.joint and joint_name(lesson.task.name) in self.plan.names
        return weight * self.model.conditional_weight if beside else weight

    def fingerprint(self) -> dict[str, str]:
        """Return, part by part and as text, what state and weights are bound to."""
        return {
            "features": self.features.fingerprint(),
            "tasks": repr([replace(task, waits=()) for task in self.tasks]),
            "methods": repr(sorted((name, repr(method)) for name, method in self.plan.methods.items())),
            "model": self.shape.fingerprint(),
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


def check_task_loss(task: TaskSpec, how: ValueOptions, method: DelayedFeedback | None) -> None:
    """Raise ConfigError for a loss that does not fit its task."""
    if task.regression:
        head_size(how.loss, how.classes)
        if how.transform != "none" and not VALUE_LOSSES[how.loss].transforms:
            raise ConfigError(
                f'tasks.{task.name}.transform: loss = "{how.loss}" takes values as they are; drop it'
            )
        if how.focal:
            raise ConfigError(f"tasks.{task.name}.focal: is for labels, and this is a value; drop it")
    elif how.focal and method is not None and not isinstance(method, Plain):
        raise ConfigError(f"tasks.{task.name}.focal: the method has a loss of its own; drop one of them")

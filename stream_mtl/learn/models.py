"""Models from a table of choices, one for each part.

    input -> bottom -> sharing -> towers -> relation, with a head for every output
     (INTERACTIONS)    (MODELS)             (RELATIONS)
                           |-> towers of auxiliary logits, for delayed-feedback methods that need them

Every model returns logits; probabilities are made outside.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from torch import Generator, Tensor, nn

from stream_mtl.errors import ConfigError
from stream_mtl.join.spec import TaskSpec
from stream_mtl.label.base import Auxiliary
from stream_mtl.learn.aitm import Aitm
from stream_mtl.learn.bottom import INTERACTIONS, Layout
from stream_mtl.learn.dbmtl import Dbmtl
from stream_mtl.learn.escm2 import CONDITIONALS
from stream_mtl.learn.esmm import Esmm
from stream_mtl.learn.gmsl import Gmsl
from stream_mtl.learn.independent import Independent
from stream_mtl.learn.layers import (
    ACTIVATIONS,
    NORMS,
    BatchNorm,
    Block,
    Dropout,
    Heads,
    LayerOptions,
    Stack,
    bound,
)
from stream_mtl.learn.logistic import logistic
from stream_mtl.learn.mmoe import Mmoe, mmoe
from stream_mtl.learn.ple import Ple, cgc, ple
from stream_mtl.learn.relation import Ends, Relation
from stream_mtl.learn.shared_bottom import shared_bottom
from stream_mtl.learn.sharing import PRIOR, Body, ModelOptions, Over

MODELS: Mapping[str, Callable[[Layout, int, ModelOptions, Generator], Body]] = {
    "logistic": logistic,
    "shared_bottom": shared_bottom,
    "mmoe": mmoe,
    "cgc": cgc,
    "ple": ple,
}
"""How the tasks share what is learned: (input, number of towers, options, generator) to a body."""

RELATIONS: Mapping[str, type[Relation]] = {
    "independent": Independent,
    "esmm": Esmm,
    "dbmtl": Dbmtl,
    "gmsl": Gmsl,
    "aitm": Aitm,
}
"""How the tasks' outputs depend on each other."""

Auxiliaries = Mapping[str, Sequence[Auxiliary]]
"""The auxiliary logits that each task's method needs."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What a model says of a batch. (B,) each."""

    logits: Mapping[str, Tensor]  # by task, and by joint lesson; of a value task: the value, transformed
    auxiliary: Mapping[str, Mapping[str, Tensor]]  # by task, then by name


class MultiTaskModel(Block):
    """One model for all tasks."""

    def __init__(
        self,
        width: int,
        tasks: Sequence[TaskSpec],
        options: ModelOptions,
        auxiliary: Auxiliaries | None = None,
        seed: int = 0,
        fields: Sequence[int] = (),
    ) -> None:
        """Build a model of `width` inputs, of which the first are embeddings, as wide as `fields` says.

        Its weights depend on the arguments alone. Raises ConfigError.
        """
        super().__init__()
        _check(options, tasks)
        generator = Generator().manual_seed(seed % 2**63)
        related = RELATIONS[options.relation]
        names = towers_of(tasks, options)
        order = list(dict.fromkeys(names.values()))
        tower_of, towers = {name: order.index(tower) for name, tower in names.items()}, len(order)
        body = MODELS[options.name](Layout(width, tuple(fields)), towers, options, generator)
        layers = options.layers
        self.sharing = body.sharing
        self.towers = Stack(towers, body.width, body.towers, layers, generator)
        starts = {task.name: _start(task, options) for task in tasks}
        ends = Ends(tasks, tower_of, self.towers.width, starts, options)
        self.relation = related(ends, generator)
        self.joint = related.joint(tasks)
        self.auxiliary = nn.ModuleList(
            AuxiliaryHeads(some, tower_of, body, layers, generator)
            for apart in (False, True)
            if (some := _wanted(auxiliary or {}, apart))
        )
        self._dropouts = [module for module in self.modules() if isinstance(module, Dropout)]
        self._norms = [module for module in self.modules() if isinstance(module, BatchNorm)]
        self.couples_rows = NORMS[options.norm].couples_rows
        self.learns_as_it_predicts = options.dropout == 0 and not self.couples_rows

    def bind(self) -> Callable[[Tensor], Answer]:
        """Inputs (B, width), a batch of one is fine, to the logits."""
        sharing, towers, relation = bound(self.sharing), self.towers.bind(), self.relation.bind()
        parts = [bound(part) for part in self.auxiliary]

        def answer(x: Tensor) -> Answer:
            shared = sharing(x)
            answers: dict[str, dict[str, Tensor]] = {}
            for part in parts:
                for (task, name), logit in part(shared):
                    answers.setdefault(task, {})[name] = logit
            return Answer(relation(towers(shared)), answers)

        return answer

    def at_step(self, step: int, counted: Tensor | None = None) -> None:
        """Set what dropout depends on, and which rows, (B,), enter the statistics of batch norm; None: all."""
        for dropout in self._dropouts:
            dropout.step = step
        for norm in self._norms:
            norm.counted = counted

    def shares(self, x: Tensor) -> list[Tensor]:
        """Return, level by level, the share of each expert in what each tower reads: (B, towers, experts) each.

        Of a model without gates, nothing.
        """
        over = self.sharing
        if not isinstance(over, Over) or not isinstance(over.experts, Mmoe | Ple):
            return []
        return over.experts.shares(over.bottom(x))


class AuxiliaryHeads(Block):
    """Towers and heads of auxiliary logits, all apart from what the tasks share or all a part of it."""

    def __init__(
        self,
        wanted: Sequence[tuple[str, Auxiliary]],
        tower_of: Mapping[str, int],
        body: Body,
        layers: LayerOptions,
        generator: Generator,
    ) -> None:
        super().__init__()
        self.names = [(task, one.name) for task, one in wanted]
        self._reads = [tower_of[task] for task, _ in wanted]
        self.apart = wanted[0][1].apart
        self.towers = Stack(len(wanted), body.width, body.towers, layers, generator)
        starts = [_logit(one.start) for _, one in wanted]
        self.heads = Heads(range(len(wanted)), self.towers.width, starts, generator)

    def bind(self) -> Callable[[Tensor], list[tuple[tuple[str, str], Tensor]]]:
        """What is shared to ((task, name), logit) for each."""
        towers, heads, names, reads, apart = (
            self.towers.bind(),
            self.heads.bind(),
            self.names,
            self._reads,
            self.apart,
        )

        def answer(shared: Tensor) -> list[tuple[tuple[str, str], Tensor]]:
            if apart:
                shared = shared.detach()
            if shared.dim() == 3:
                shared = shared[:, reads]
            return list(zip(names, heads(towers(shared)).unbind(1), strict=True))

        return answer


def towers_of(tasks: Sequence[TaskSpec], options: ModelOptions) -> dict[str, str]:
    """Return the tower of every task, and of what else the relation wants one for, in the order of the towers."""
    wanted = {task.name: options.outputs.get(task.name, task.name) for task in tasks}
    return wanted | {name: name for name in RELATIONS[options.relation].besides(tasks, options)}


def _start(task: TaskSpec, options: ModelOptions) -> float:
    """Return what a task's output is before anything was learned: the logit of its prior, of a value 0."""
    return 0.0 if task.regression else _logit(options.priors.get(task.name, PRIOR))


def _logit(probability: float) -> float:
    return math.log(probability) - math.log1p(-probability)


def _wanted(auxiliary: Auxiliaries, apart: bool) -> list[tuple[str, Auxiliary]]:
    return [(task, one) for task, some in auxiliary.items() for one in some if one.apart == apart]


def _check(options: ModelOptions, tasks: Sequence[TaskSpec]) -> None:
    choices: Sequence[tuple[str, str, Mapping[str, object]]] = (
        ("model", options.name, MODELS),
        ("relation", options.relation, RELATIONS),
        ("interaction", options.interaction, INTERACTIONS),
        ("conditional", options.conditional, CONDITIONALS),
        ("norm", options.norm, NORMS),
        ("activation", options.activation, ACTIVATIONS),
    )
    for what, chosen, table in choices:
        if chosen not in table:
            raise ConfigError(f'there is no {what} "{chosen}"; choose one of {", ".join(table)}')
    names = {task.name for task in tasks}
    for where in ("outputs", "parents", "relations"):
        if unknown := getattr(options, where).keys() - names:
            raise ConfigError(f"{_WHERE[where]}: there is no task {', '.join(sorted(unknown))}")


_WHERE = {"outputs": "outputs of towers", "parents": "parents", "relations": "widths of relations"}

"""DBMTL: a Bayesian layer, in which a task reads the hidden features of the tasks that it depends on.

Wang et al., 2019, as EasyRec and TorchEasyRec build it: r_t = MLP_t(c_t, r_p of the parents in the order they are listed), c_t
what the task's tower gives; logit_t = Linear(r_t). What passes is r_p, not a probability, and its gradient flows into
the parent. A task whose relation has no layers has r_t = c_t, and cannot have parents.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Generator, Tensor, nn

from stream_mtl.errors import ConfigError
from stream_mtl.join.spec import TaskSpec
from stream_mtl.learn.independent import TaskHeads, Unrelated
from stream_mtl.learn.layers import Stack
from stream_mtl.learn.relation import Ends, given_of
from stream_mtl.learn.sharing import ModelOptions


class Dbmtl(Unrelated):
    """Tasks in levels, each after all that its tasks read; equal blocks of a level are computed together."""

    def __init__(self, ends: Ends, generator: Generator) -> None:
        """Raises ConfigError for an unknown parent, a task that depends on itself, a parent of a bare task."""
        super().__init__()
        names, parents = ends.names, parents_of(ends.tasks, ends.options)
        widths = {name: _widths(name, parents[name], ends.options) for name in names}
        wide = {name: own[-1] if own else ends.width for name, own in widths.items()}
        layers = ends.options.layers
        self._names, self._parents, self._reads, self._wide = names, parents, ends.reads, wide
        self._groups = []
        self.stacks = nn.ModuleList()
        for group in _groups(
            parents, widths, {n: ends.width + sum(wide[p] for p in parents[n]) for n in names}
        ):
            self._groups.append(group.names)
            self.stacks.append(Stack(len(group.names), group.width, group.widths, layers, generator))
        by_width = {width: [n for n in names if wide[n] == width] for width in dict.fromkeys(wide.values())}
        self._heads = list(by_width.values())
        self.heads = nn.ModuleList(
            TaskHeads(replace(ends, width=width), some, range(len(some)), generator)
            for width, some in by_width.items()
        )

    @staticmethod
    def reading(tasks: Sequence[TaskSpec], options: ModelOptions) -> Mapping[str, tuple[str, ...]]:
        """Return the parents."""
        return parents_of(tasks, options)

    def head_width(self, name: str) -> int:
        """Return how wide r_t is."""
        return self._wide[name]

    def weights_of(self, name: str) -> int:
        """Return the number of weights of a task's layers here, 0 of one that has none."""
        for group, stack in zip(self._groups, self.stacks, strict=True):
            if name in group:
                return sum(weight.numel() for weight in stack.parameters()) // len(group)
        return 0

    def bind(self) -> Callable[[Tensor], dict[str, Tensor]]:
        """The outputs of towers to the tasks' logits."""
        relate, names, parts = self._bind_features(), self._names, self._heads
        heads = [one.bind() for one in self.heads if isinstance(one, TaskHeads)]

        def answer(towers: Tensor) -> dict[str, Tensor]:
            features = relate(towers)
            logits: dict[str, Tensor] = {}
            for some, head in zip(parts, heads, strict=True):
                logits |= head(torch.stack([features[name] for name in some], dim=1))
            return {name: logits[name] for name in names}

        return answer

    def features(self, towers: Tensor) -> dict[str, Tensor]:
        """Return r_t by task, (B, width) each."""
        return self._bind_features()(towers)

    def _bind_features(self) -> Callable[[Tensor], dict[str, Tensor]]:
        stacks = [stack.bind() for stack in self.stacks if isinstance(stack, Stack)]
        groups, parents = self._groups, self._parents
        reads = dict(zip(self._names, self._reads, strict=True))
        bare = [name for name in self._names if not any(name in group for group in groups)]

        def relate(towers: Tensor) -> dict[str, Tensor]:
            own = towers.unbind(1)
            features = {name: own[reads[name]] for name in bare}
            for names, stack in zip(groups, stacks, strict=True):
                inputs = [
                    torch.cat([own[reads[name]], *(features[parent] for parent in parents[name])], dim=1)
                    for name in names
                ]
                features |= zip(names, stack(torch.stack(inputs, dim=1)).unbind(1), strict=True)
            return features

        return relate


@dataclass(frozen=True, slots=True)
class _Group:
    """Tasks of one level whose blocks are of one shape."""

    names: tuple[str, ...]
    width: int  # of what they read
    widths: tuple[int, ...]


def parents_of(tasks: Sequence[TaskSpec], options: ModelOptions) -> dict[str, tuple[str, ...]]:
    """Return the parents of every task: those it names, or else the task it is given.

    Raises ConfigError for one that does not exist, that is the task itself, or that closes a circle.
    """
    parents = {name: options.parents.get(name, given) for name, given in given_of(tasks).items()}
    for name, some in parents.items():
        for parent in some:
            if parent == name:
                raise ConfigError(f"tasks.{name}.parents: names the task itself; drop it")
            if parent not in parents:
                raise ConfigError(
                    f'tasks.{name}.parents: there is no task "{parent}"; the tasks are {", ".join(parents)}'
                )
    levels(parents)
    return parents


def levels(parents: Mapping[str, Iterable[str]]) -> dict[str, int]:
    """Return the level of every task, 0 of one without parents, else one above the highest of them.

    Raises ConfigError, naming it, for a circle.
    """
    found: dict[str, int] = {}
    while len(found) < len(parents):
        ready = [name for name in parents if name not in found and all(p in found for p in parents[name])]
        if not ready:
            circle = _circle(parents, {name for name in parents if name not in found})
            raise ConfigError(
                f"tasks.{circle[0]}.parents: goes round in a circle ({' reads '.join(circle)}); drop one of them"
            )
        for name in ready:
            found[name] = max((found[parent] + 1 for parent in parents[name]), default=0)
    return found


def _circle(parents: Mapping[str, Iterable[str]], among: set[str]) -> list[str]:
    """Return a circle, its first name repeated at the end; every task of `among` has a parent there."""
    walk = [min(among)]
    while walk[-1] not in walk[:-1]:
        walk.append(next(parent for parent in parents[walk[-1]] if parent in among))
    return walk[walk.index(walk[-1]) :]


def _widths(name: str, parents: Sequence[str], options: ModelOptions) -> tuple[int, ...]:
    widths = options.relations.get(name, options.relation_widths)
    if parents and not widths:
        raise ConfigError(
            f"tasks.{name}: its relation has no layers, so it cannot read {', '.join(parents)}; "
            "give it relation_widths, or parents = []"
        )
    return widths


def _groups(
    parents: Mapping[str, Sequence[str]],
    widths: Mapping[str, tuple[int, ...]],
    inputs: Mapping[str, int],
) -> list[_Group]:
    """Return the groups of tasks with layers, those of lower levels first."""
    level = levels(parents)
    shapes = {name: (level[name], inputs[name], widths[name]) for name in parents if widths[name]}
    order = sorted(dict.fromkeys(shapes.values()), key=lambda shape: shape[0])
    return [
        _Group(tuple(name for name, own in shapes.items() if own == shape), *shape[1:]) for shape in order
    ]

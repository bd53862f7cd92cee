"""What a relation is: how the outputs of towers become logits, and what one task's output has to do with another's."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeAlias

import torch
from torch import Generator, Tensor

from stream_mtl.join.spec import TaskSpec
from stream_mtl.learn.sharing import ModelOptions

Logits: TypeAlias = Mapping[str, Tensor]
"""By lesson and by what else a relation gives; (B,) each, or (B, n) of a task whose head gives n numbers."""


@dataclass(frozen=True, slots=True)
class Ends:
    """What a relation is built on: the tasks, and the towers, (B, towers, width), that they read."""

    tasks: Sequence[TaskSpec]
    towers: Mapping[str, int]  # by task, and by what else the relation asked for: its tower
    width: int
    starts: Mapping[str, float]  # by task: its output at first
    options: ModelOptions

    @property
    def names(self) -> list[str]:
        """The tasks' names, in order."""
        return [task.name for task in self.tasks]

    @property
    def reads(self) -> list[int]:
        """The tower of every task."""
        return [self.towers[name] for name in self.names]

    def size(self, name: str) -> int:
        """Return how many numbers a task's head gives."""
        return self.options.sizes.get(name, 1)


class Relation(Protocol):
    """A `Block` over the outputs of towers."""

    def __init__(self, ends: Ends, generator: Generator) -> None: ...

    @staticmethod
    def joint(tasks: Sequence[TaskSpec]) -> tuple[str, ...]:
        """Return the tasks that it teaches over all exposures, as a product along their chain."""

    @staticmethod
    def apart(tasks: Sequence[TaskSpec], options: ModelOptions) -> tuple[str, ...]:
        """Return those of them that it also teaches where they are defined alone."""

    @staticmethod
    def besides(tasks: Sequence[TaskSpec], options: ModelOptions) -> tuple[str, ...]:
        """Return what else needs a tower."""

    @staticmethod
    def reading(tasks: Sequence[TaskSpec], options: ModelOptions) -> Mapping[str, tuple[str, ...]]:
        """Return, by task, the tasks whose outputs or hidden features enter it."""

    def head_width(self, name: str) -> int:
        """Return how wide is what the head of a task reads."""

    def bind(self) -> Callable[[Tensor], dict[str, Tensor]]:
        """Return what gives a logit (or the prediction of a value) for every task, and for every joint lesson."""

    def teach(self, losses: Mapping[str, Tensor], logits: Logits) -> dict[str, Tensor]:
        """Return the losses of rows by lesson, (B,) each, with what the relation adds to them."""


def named(names: Sequence[str], sizes: Sequence[int]) -> Callable[[Tensor], dict[str, Tensor]]:
    """Return what cuts numbers, (B, all), into those of each name: (B,), or (B, size) where it has several."""
    if all(size == 1 for size in sizes):
        return lambda numbers: dict(zip(names, numbers.unbind(1), strict=True))
    splits = list(sizes)

    def cut(numbers: Tensor) -> dict[str, Tensor]:
        parts = torch.split(numbers, splits, dim=1)
        return {
            name: part.squeeze(1) if part.shape[1] == 1 else part
            for name, part in zip(names, parts, strict=True)
        }

    return cut


def given_of(tasks: Sequence[TaskSpec]) -> dict[str, tuple[str, ...]]:
    """Return, by task, the one that it is given."""
    return {task.name: () if task.given is None else (task.given,) for task in tasks}


def path(tasks: Sequence[TaskSpec], name: str) -> list[str]:
    """Return the tasks from the first of the chain to this one."""
    given = next(task for task in tasks if task.name == name).given
    return [name] if given is None else [*path(tasks, given), name]

"""Tasks that do not depend on each other: one logit from each one's tower."""

from collections.abc import Callable, Sequence
from typing import Protocol

from torch import Generator, Tensor

from stream_mtl.join.spec import TaskSpec
from stream_mtl.learn.layers import Block, Heads


class Relation(Protocol):
    """How the outputs of towers, (B, towers, width), become logits, by lesson, (B,) each.

    A `Block`; `blocks` says which tower each task reads, `starts` what each one's output is at first.
    """

    def __init__(
        self,
        tasks: Sequence[TaskSpec],
        blocks: Sequence[int],
        width: int,
        starts: Sequence[float],
        generator: Generator,
    ) -> None: ...

    @staticmethod
    def joint(tasks: Sequence[TaskSpec]) -> tuple[str, ...]:
        """Return the tasks that it teaches over all exposures, as a product along their chain."""

    def bind(self) -> Callable[[Tensor], dict[str, Tensor]]:
        """Return what gives a logit (or the prediction of a value) for every task, and for every joint lesson."""


class Independent(Block):
    """One head a task."""

    def __init__(
        self,
        tasks: Sequence[TaskSpec],
        blocks: Sequence[int],
        width: int,
        starts: Sequence[float],
        generator: Generator,
    ) -> None:
        super().__init__()
        self.names = [task.name for task in tasks]
        self.heads = Heads(blocks, width, starts, generator)

    @staticmethod
    def joint(tasks: Sequence[TaskSpec]) -> tuple[str, ...]:
        """Return no task."""
        return ()

    def bind(self) -> Callable[[Tensor], dict[str, Tensor]]:
        """The outputs of towers to the tasks' logits."""
        names, heads = self.names, self.heads.bind()
        return lambda towers: dict(zip(names, heads(towers).unbind(1), strict=True))

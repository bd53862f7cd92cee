"""Tasks that do not depend on each other: a head over each one's tower."""

from collections.abc import Callable, Mapping, Sequence

from torch import Generator, Tensor

from stream_mtl.join.spec import TaskSpec
from stream_mtl.learn.layers import Block, Heads
from stream_mtl.learn.relation import Ends, Logits, named
from stream_mtl.learn.sharing import ModelOptions


class Unrelated(Block):
    """A base for relations that teach no products and add nothing to losses."""

    @staticmethod
    def joint(tasks: Sequence[TaskSpec]) -> tuple[str, ...]:
        """Return no task."""
        return ()

    @staticmethod
    def apart(tasks: Sequence[TaskSpec], options: ModelOptions) -> tuple[str, ...]:
        """Return no task."""
        return ()

    @staticmethod
    def besides(tasks: Sequence[TaskSpec], options: ModelOptions) -> tuple[str, ...]:
        """Return nothing."""
        return ()

    @staticmethod
    def reading(tasks: Sequence[TaskSpec], options: ModelOptions) -> Mapping[str, tuple[str, ...]]:
        """Return nothing for any task."""
        return {task.name: () for task in tasks}

    def head_width(self, name: str) -> int:
        """Return how wide is what a head reads."""
        heads = self.heads
        assert isinstance(heads, Heads)
        return heads.weight.shape[1]

    def teach(self, losses: Mapping[str, Tensor], logits: Logits) -> dict[str, Tensor]:
        """Return the losses as they are."""
        return dict(losses)


class TaskHeads(Heads):
    """A linear head for each of some names: (B, K, width) to its numbers. `blocks` are what they read."""

    def __init__(self, ends: Ends, names: Sequence[str], blocks: Sequence[int], generator: Generator) -> None:
        sizes = [ends.size(name) for name in names]
        rows = [(name, block) for name, block, n in zip(names, blocks, sizes, strict=True) for _ in range(n)]
        starts = [ends.starts.get(name, 0.0) for name, _ in rows]
        super().__init__([block for _, block in rows], ends.width, starts, generator)
        self._named = named(names, sizes)

    def bind(self) -> Callable[[Tensor], dict[str, Tensor]]:
        """x to the numbers of each name."""
        heads, cut = super().bind(), self._named
        return lambda x: cut(heads(x))


class Independent(Unrelated):
    """One head a task."""

    def __init__(self, ends: Ends, generator: Generator) -> None:
        super().__init__()
        self.heads = TaskHeads(ends, ends.names, ends.reads, generator)

    def bind(self) -> Callable[[Tensor], dict[str, Tensor]]:
        """The outputs of towers to the tasks' logits."""
        return self.heads.bind()

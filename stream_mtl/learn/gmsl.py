"""GMSL: a recurrent layer over the tasks, so that each reads what came before it.

c_t = tower_t(h), s_0 = 0, s_t = GRUCell(c_t, s_{t-1}) with one cell for all steps, in the order in which the tasks are
declared; logit_t = Linear_t(s_t).
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

import torch
from torch import Generator, Tensor, nn

from stream_mtl.errors import ConfigError
from stream_mtl.join.spec import TaskSpec
from stream_mtl.learn.independent import TaskHeads, Unrelated
from stream_mtl.learn.relation import Ends
from stream_mtl.learn.sharing import ModelOptions


class Gmsl(Unrelated):
    """A gated recurrent unit over the towers' outputs, and a head over each state. The weights are those of torch's GRU."""

    def __init__(self, ends: Ends, generator: Generator) -> None:
        """Raises ConfigError if the state is given several widths."""
        super().__init__()
        if len(ends.options.relation_widths) > 1:
            raise ConfigError(
                "model.relation_widths: gmsl has one state; give one width, or [] for the towers'"
            )
        width = (*ends.options.relation_widths, ends.width)[0]
        bound = 1 / math.sqrt(width)
        shapes = ((3 * width, ends.width), (3 * width, width), (3 * width,), (3 * width,))
        weights = (torch.empty(shape).uniform_(-bound, bound, generator=generator) for shape in shapes)
        self.weight_ih, self.weight_hh, self.bias_ih, self.bias_hh = map(nn.Parameter, weights)
        self.width = width
        self.heads = TaskHeads(replace(ends, width=width), ends.names, range(len(ends.tasks)), generator)
        same = ends.reads == list(range(len(ends.towers)))
        self._reads = None if same else torch.tensor(ends.reads)

    @staticmethod
    def reading(tasks: Sequence[TaskSpec], options: ModelOptions) -> Mapping[str, tuple[str, ...]]:
        """Return, for each task, the one declared before it."""
        names = [task.name for task in tasks]
        return dict(zip(names, [(), *((name,) for name in names)], strict=False))

    def bind(self) -> Callable[[Tensor], dict[str, Tensor]]:
        """The outputs of towers to the tasks' logits."""
        states, heads = self._bind_states(), self.heads.bind()
        return lambda towers: heads(states(towers))

    def states(self, towers: Tensor) -> Tensor:
        """Return s_t of every task. (B, tasks, width)"""
        return self._bind_states()(towers)

    def _bind_states(self) -> Callable[[Tensor], Tensor]:
        weights = (self.weight_ih, self.weight_hh, self.bias_ih, self.bias_hh)
        width, reads = self.width, self._reads

        def step(towers: Tensor) -> Tensor:
            towers = towers if reads is None else towers.index_select(1, reads)
            start = towers.new_zeros(1, len(towers), width)
            states: Tensor = torch.gru(towers, start, weights, True, 1, 0.0, False, False, True)[0]
            return states

        return step

"""MMoE: experts that all tasks share, mixed for each task by a gate of its own.

Ma et al., KDD 2018: e_j = MLP_j(x), g_t = softmax(gate_t(x)), f_t = sum_j g_tj e_j. The gates read what the experts
read: the model's input, or the bottom's output where there is a bottom.
"""

import torch
from torch import Generator, Tensor

from stream_mtl.learn.bottom import Layout
from stream_mtl.learn.gates import Gates
from stream_mtl.learn.layers import Block, Function, Stack
from stream_mtl.learn.sharing import Body, ModelOptions, Over, at_level, bottom_of


class Mmoe(Block):
    """(B, in) to (B, towers, width): what each tower reads."""

    def __init__(self, towers: int, width: int, options: ModelOptions, generator: Generator) -> None:
        super().__init__()
        layers = options.layers
        widths = at_level(options.expert, 0, 1, "expert")
        self.experts = Stack(options.experts, width, widths, layers, generator)
        self.gates = Gates(towers, width, options.experts, options.gate, layers, generator)
        self.width = self.experts.width

    def bind(self) -> Function:
        """x to the mixtures."""
        experts, gates = self.experts.bind(), self.gates.bind()
        return lambda x: torch.bmm(gates(x), experts(x))

    def shares(self, x: Tensor) -> list[Tensor]:
        """Return the share of each expert in what each tower reads: one level, (B, towers, experts)."""
        return [self.gates.bind()(x)]


def mmoe(inputs: Layout, towers: int, options: ModelOptions, generator: Generator) -> Body:
    """Return experts over the bottom, or over the input where the bottom has no widths."""
    bottom = bottom_of(inputs, options, generator)
    experts = Mmoe(towers, bottom.width, options, generator)
    return Body(Over(bottom, experts), experts.width, options.towers)

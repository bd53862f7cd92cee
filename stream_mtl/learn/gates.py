"""Gates: for every reader, a share of each expert."""

from collections.abc import Sequence

import torch
from torch import Generator, Tensor

from stream_mtl.learn.layers import Block, Function, LayerOptions, Linears, Stack


class Gates(Block):
    """K gates over E experts: (B, in) or (B, K, in) to (B, K, E), every row of a gate summing to one."""

    def __init__(
        self,
        gates: int,
        width: int,
        experts: int,
        widths: Sequence[int],
        options: LayerOptions,
        generator: Generator,
    ) -> None:
        """`widths` are those of the hidden layers of each gate."""
        super().__init__()
        self.stack = Stack(gates, width, widths, options, generator)
        self.linears = Linears(gates, self.stack.width, experts, generator)
        self._hidden = bool(widths)

    def bind(self) -> Function:
        """x to the shares."""
        linears, stack = self.linears.bind(), self.stack.bind()
        if not self._hidden:  # then one wide product reads an input that all have in common
            return lambda x: torch.softmax(linears(x), dim=-1)

        def share(x: Tensor) -> Tensor:
            return torch.softmax(linears(stack(x)), dim=-1)

        return share

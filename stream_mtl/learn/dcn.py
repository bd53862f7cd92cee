"""DCN, first and second version, as a bottom: a cross network beside layers.

Version 1 ("vector", Wang et al., ADKDD 2017): x' = x0 <x, w> + b + x. Version 2 ("matrix", Wang et al., WWW 2021):
x' = x0 * (W x + b) + x, the bias within the product, as in the paper.
"""

import math
from collections.abc import Sequence

import torch
from torch import Generator, Tensor, nn

from stream_mtl.learn.layers import Block, Function, LayerOptions, Mlp


class CrossVector(Block):
    """Cross layers of version 1: (B, width) to (B, width)."""

    def __init__(self, width: int, layers: int, generator: Generator) -> None:
        super().__init__()
        bound = 1 / math.sqrt(width)
        weight = torch.empty(layers, width).uniform_(-bound, bound, generator=generator)
        self.weight = nn.Parameter(weight)
        self.bias = nn.Parameter(torch.zeros(layers, width))

    def bind(self) -> Function:
        """x to x crossed with itself, once a layer."""
        layers = list(zip(self.weight.unbind(0), self.bias.unbind(0), strict=True))

        def cross(first: Tensor) -> Tensor:
            x = first
            for weight, bias in layers:
                x = torch.addcmul(bias + x, first, (x @ weight).unsqueeze(1))
            return x

        return cross


class CrossMatrix(Block):
    """Cross layers of version 2: (B, width) to (B, width)."""

    def __init__(self, width: int, layers: int, generator: Generator) -> None:
        super().__init__()
        bound = 1 / math.sqrt(width)
        weight = torch.empty(layers, width, width).uniform_(-bound, bound, generator=generator)
        self.weight = nn.Parameter(weight)  # (layers, in, out)
        self.bias = nn.Parameter(torch.zeros(layers, width))

    def bind(self) -> Function:
        """x to x crossed with itself, once a layer."""
        layers = list(zip(self.weight.unbind(0), self.bias.unbind(0), strict=True))

        def cross(first: Tensor) -> Tensor:
            x = first
            for weight, bias in layers:
                x = torch.addcmul(x, first, torch.addmm(bias, x, weight))
            return x

        return cross


class Dcn(Block):
    """A cross network and layers beside each other: (B, input) to (B, input + layers' width)."""

    def __init__(
        self,
        cross: CrossVector | CrossMatrix,
        width: int,
        widths: Sequence[int],
        options: LayerOptions,
        generator: Generator,
    ) -> None:
        """With no widths there is the cross network alone."""
        super().__init__()
        self.cross = cross
        self.deep = Mlp(width, widths, options, generator) if widths else None
        self.width = width + (self.deep.width if self.deep is not None else 0)

    def bind(self) -> Function:
        """x to the two beside each other."""
        cross = self.cross.bind()
        if self.deep is None:
            return cross
        deep = self.deep.bind()
        return lambda x: torch.cat([cross(x), deep(x)], dim=1)

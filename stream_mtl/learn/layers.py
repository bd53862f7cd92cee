"""Building blocks: fully connected layers, alone and in parallel, with normalisation and seeded dropout.

The order in a layer is linear, norm, activation, dropout, and the last layer has all of them too. Parallel blocks
("stacks") are computed together: K blocks of equal widths cost a few products, not K times as many calls.

A block is *bound* to its weights before it runs: what is left is a plain function. Who predicts binds once; for a few
rows, finding the weights anew and calling modules in modules takes longer than the arithmetic.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import torch
from torch import Generator, Tensor, nn
from torch.nn import functional as F


@dataclass(frozen=True, slots=True)
class LayerOptions:
    """What every hidden layer has."""

    norm: str = "layer"  # of NORMS
    activation: str = "relu"  # of ACTIVATIONS
    dropout: float = 0.0  # share of activations dropped while learning


Function: TypeAlias = Callable[[Tensor], Any]


class Block(nn.Module):
    """A module whose forward is what `bind` returns."""

    def bind(self) -> Function:
        """Return what the block does, with the weights and in the mode that it has now.

        Weights that are changed in place are seen by it; dropout stays at its step.
        """
        raise NotImplementedError

    def forward(self, x: Tensor) -> Any:
        """Do it."""
        return self.bind()(x)


def bound(module: nn.Module) -> Function:
    """Return a module as a plain function, if it can be one, and else the module."""
    return module.bind() if isinstance(module, Block) else module


_EPS = 1e-5  # torch's own, of every normalisation

ACTIVATIONS: Mapping[str, Callable[[Tensor], Tensor]] = {
    "relu": torch.relu,
    "leaky_relu": F.leaky_relu,
    "gelu": F.gelu,
    "tanh": torch.tanh,
}


class NoNorm(Block):
    """The identity."""

    couples_rows = False

    def __init__(self, blocks: int, width: int) -> None:
        super().__init__()

    def bind(self) -> Function:
        """x to x."""
        return _same


class LayerNorm(Block):
    """Normalise every row and block by itself: (B, K, width)."""

    couples_rows = False

    def __init__(self, blocks: int, width: int) -> None:
        super().__init__()
        self._width = (width,)
        self.weight = nn.Parameter(torch.ones(blocks, width))
        self.bias = nn.Parameter(torch.zeros(blocks, width))

    def bind(self) -> Function:
        """x to x with mean 0 and variance 1 over the last dimension, scaled and shifted."""
        width, weight, bias = self._width, self.weight, self.bias
        if len(weight) == 1:
            one, shift = weight[0], bias[0]
            return lambda x: torch.layer_norm(x, width, one, shift)
        return lambda x: torch.addcmul(bias, torch.layer_norm(x, width), weight)


class BatchNorm(Block):
    """Normalise every number over the rows of the batch while learning, by running means when predicting.

    A batch of one has no variance: it is normalised by the running means even while learning. Rows that do not count
    (`counted`) are normalised by the statistics of the others, and change neither these nor the running means.
    """

    couples_rows = True
    MOMENTUM = 0.1

    def __init__(self, blocks: int, width: int) -> None:
        super().__init__()
        self.counted: Tensor | None = None  # (B,) which rows of the batch count; None: all
        self.weight = nn.Parameter(torch.ones(blocks * width))
        self.bias = nn.Parameter(torch.zeros(blocks * width))
        self.mean: Tensor
        self.var: Tensor
        self.register_buffer("mean", torch.zeros(blocks * width))
        self.register_buffer("var", torch.ones(blocks * width))

    def bind(self) -> Function:
        """x to x normalised, scaled and shifted."""
        mean, var, weight, bias, learning = self.mean, self.var, self.weight, self.bias, self.training
        counted, momentum = self.counted, self.MOMENTUM

        def normalise(x: Tensor) -> Tensor:
            flat = x.reshape(len(x), -1)
            if learning and counted is not None:
                return _by_counted(flat, counted, mean, var, momentum, weight, bias).view(x.shape)
            return F.batch_norm(flat, mean, var, weight, bias, learning and len(x) > 1, momentum).view(
                x.shape
            )

        return normalise


def _by_counted(
    x: Tensor, counted: Tensor, mean: Tensor, var: Tensor, momentum: float, weight: Tensor, bias: Tensor
) -> Tensor:
    """Normalise all rows by the mean and variance of those that count; fewer than two have no variance."""
    some = x[counted]
    if len(some) < 2:
        return F.batch_norm(x, mean, var, weight, bias)
    spread, middle = torch.var_mean(some, dim=0, correction=0)
    with torch.no_grad():
        mean.lerp_(middle, momentum)
        var.lerp_(spread * (len(some) / (len(some) - 1)), momentum)
    return (x - middle) * (spread + _EPS).rsqrt() * weight + bias


NORMS: Mapping[str, type[NoNorm | LayerNorm | BatchNorm]] = {
    "layer": LayerNorm,
    "batch": BatchNorm,
    "none": NoNorm,
}


class Dropout(Block):
    """Drop activations while learning, by a generator that is set anew at every step: it has no state to save."""

    def __init__(self, share: float, generator: Generator) -> None:
        super().__init__()
        self._share = share
        self._seed = int(torch.randint(2**31, (), generator=generator))
        self.step = 0

    def bind(self) -> Function:
        """x to x with some numbers zero and the others scaled up, or to x itself."""
        if not self.training or self._share == 0:
            return _same
        share, seed = self._share, (self._seed << 32) + self.step

        def drop(x: Tensor) -> Tensor:
            kept = torch.empty_like(x).bernoulli_(1 - share, generator=Generator().manual_seed(seed))
            return x * kept / (1 - share)

        return drop


class Linears(Block):
    """K linear maps side by side: (B, in) read by all, or (B, K, in) read by each its own, to (B, K, out)."""

    def __init__(self, blocks: int, width: int, out: int, generator: Generator) -> None:
        super().__init__()
        bound = 1 / math.sqrt(width)
        self.weight = nn.Parameter(
            torch.empty(blocks, width, out).uniform_(-bound, bound, generator=generator)
        )
        self.bias = nn.Parameter(torch.empty(blocks, out).uniform_(-bound, bound, generator=generator))

    def bind(self) -> Function:
        """x to x W + b for every block."""
        weight, bias = self.weight, self.bias
        blocks, width, out = weight.shape
        if blocks == 1:
            one, shift = weight[0], bias[0]
            return lambda x: torch.addmm(shift, x.reshape(-1, width), one).view(len(x), 1, out)

        def map_each(x: Tensor) -> Tensor:
            if x.dim() == 2:
                wide = weight.transpose(0, 1).reshape(width, blocks * out)
                return torch.addmm(bias.view(-1), x, wide).view(len(x), blocks, out)
            return torch.baddbmm(bias.unsqueeze(1), x.transpose(0, 1), weight).transpose(0, 1)

        return map_each


class Stack(Block):
    """K multi-layer blocks of equal widths: (B, in) or (B, K, in) to (B, K, last width)."""

    def __init__(
        self, blocks: int, width: int, widths: Sequence[int], options: LayerOptions, generator: Generator
    ) -> None:
        super().__init__()
        self.blocks = blocks
        self.width = widths[-1] if widths else width
        ins = [width, *widths[:-1]]
        self.linears = nn.ModuleList(
            Linears(blocks, i, o, generator) for i, o in zip(ins, widths, strict=False)
        )
        self.norms = nn.ModuleList(NORMS[options.norm](blocks, width) for width in widths)
        self._activation = ACTIVATIONS[options.activation]
        self.dropouts = nn.ModuleList(Dropout(options.dropout, generator) for _ in widths)

    def bind(self) -> Function:
        """x to what the last layer gives, or the input itself, for every block, if there are no layers."""
        activation, blocks = self._activation, self.blocks
        parts = zip(self.linears, self.norms, self.dropouts, strict=True)
        layers = [(bound(linear), bound(norm), bound(dropout)) for linear, norm, dropout in parts]

        def climb(x: Tensor) -> Tensor:
            for linear, norm, dropout in layers:
                x = dropout(activation(norm(linear(x))))
            return x if x.dim() == 3 else x.unsqueeze(1).expand(-1, blocks, -1)

        return climb


class Mlp(Block):
    """One multi-layer block: (B, in) to (B, last width)."""

    def __init__(
        self, width: int, widths: Sequence[int], options: LayerOptions, generator: Generator
    ) -> None:
        super().__init__()
        self.stack = Stack(1, width, widths, options, generator)
        self.width = self.stack.width

    def bind(self) -> Function:
        """x to what the last layer gives, or to the input itself if there are none."""
        stack = self.stack.bind()
        return lambda x: stack(x).squeeze(1)


class Heads(Block):
    """One logit for each output, read from the block it belongs to: (B, K, width) to (B, outputs).

    `starts` are what the outputs are about before anything was learned.
    """

    def __init__(
        self, blocks: Sequence[int], width: int, starts: Sequence[float], generator: Generator
    ) -> None:
        super().__init__()
        bound = 1 / math.sqrt(width)
        shape = len(blocks), width
        self.weight = nn.Parameter(torch.empty(shape).uniform_(-bound, bound, generator=generator))
        self.bias = nn.Parameter(torch.tensor(starts, dtype=torch.float32))
        self._blocks = None if list(blocks) == list(range(len(blocks))) else list(blocks)

    def bind(self) -> Function:
        """x to the logits."""
        weight, bias, blocks = self.weight, self.bias, self._blocks
        if blocks is None:
            return lambda x: (x * weight).sum(2) + bias
        return lambda x: (x[:, blocks] * weight).sum(2) + bias


def _same(x: Tensor) -> Tensor:
    return x

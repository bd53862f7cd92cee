"""Building blocks: fully connected layers, alone and in parallel, with normalisation and seeded dropout.

The order in a layer is linear, norm, activation, dropout, and the last layer has all of them too. Parallel blocks
("stacks") are computed together: K blocks of equal widths cost a few products, not K times as many calls.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Generator, Tensor, nn
from torch.nn import functional as F


@dataclass(frozen=True, slots=True)
class LayerOptions:
    """What every hidden layer has."""

    norm: str = "layer"  # of NORMS
    activation: str = "relu"  # of ACTIVATIONS
    dropout: float = 0.0  # share of activations dropped while learning


ACTIVATIONS: Mapping[str, Callable[[Tensor], Tensor]] = {
    "relu": torch.relu,
    "leaky_relu": F.leaky_relu,
    "gelu": F.gelu,
    "tanh": torch.tanh,
}


class NoNorm(nn.Module):
    """The identity."""

    couples_rows = False

    def __init__(self, blocks: int, width: int) -> None:
        super().__init__()

    def forward(self, x: Tensor) -> Tensor:
        """Return x."""
        return x


class LayerNorm(nn.Module):
    """Normalise every row and block by itself: (B, K, width)."""

    couples_rows = False

    def __init__(self, blocks: int, width: int) -> None:
        super().__init__()
        self._width = (width,)
        self.weight = nn.Parameter(torch.ones(blocks, width))
        self.bias = nn.Parameter(torch.zeros(blocks, width))

    def forward(self, x: Tensor) -> Tensor:
        """Return x with mean 0 and variance 1 over the last dimension, scaled and shifted."""
        if len(self.weight) == 1:
            return F.layer_norm(x, self._width, self.weight[0], self.bias[0])
        return torch.addcmul(self.bias, F.layer_norm(x, self._width), self.weight)


class BatchNorm(nn.Module):
    """Normalise every number over the rows of the batch while learning, by running means when predicting.

    A batch of one has no variance: it is normalised by the running means even while learning.
    """

    couples_rows = True

    def __init__(self, blocks: int, width: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(blocks * width))
        self.bias = nn.Parameter(torch.zeros(blocks * width))
        self.mean: Tensor
        self.var: Tensor
        self.register_buffer("mean", torch.zeros(blocks * width))
        self.register_buffer("var", torch.ones(blocks * width))

    def forward(self, x: Tensor) -> Tensor:
        """Return x normalised, scaled and shifted."""
        flat = x.reshape(len(x), -1)
        learning = self.training and len(x) > 1
        return F.batch_norm(flat, self.mean, self.var, self.weight, self.bias, learning).view(x.shape)


NORMS: Mapping[str, type[NoNorm | LayerNorm | BatchNorm]] = {
    "layer": LayerNorm,
    "batch": BatchNorm,
    "none": NoNorm,
}


class Dropout(nn.Module):
    """Drop activations while learning, by a generator that is set anew at every step: it has no state to save."""

    def __init__(self, share: float, generator: Generator) -> None:
        super().__init__()
        self._share = share
        self._seed = int(torch.randint(2**31, (), generator=generator))
        self.step = 0

    def forward(self, x: Tensor) -> Tensor:
        """Return x with some numbers zero and the others scaled up, or x itself."""
        if not self.training or self._share == 0:
            return x
        generator = Generator().manual_seed((self._seed << 32) + self.step)
        kept = torch.empty_like(x).bernoulli_(1 - self._share, generator=generator)
        return x * kept / (1 - self._share)


class Linears(nn.Module):
    """K linear maps side by side: (B, in) read by all, or (B, K, in) read by each its own, to (B, K, out)."""

    def __init__(self, blocks: int, width: int, out: int, generator: Generator) -> None:
        super().__init__()
        bound = 1 / math.sqrt(width)
        self.weight = nn.Parameter(
            torch.empty(blocks, width, out).uniform_(-bound, bound, generator=generator)
        )
        self.bias = nn.Parameter(torch.empty(blocks, out).uniform_(-bound, bound, generator=generator))

    def forward(self, x: Tensor) -> Tensor:
        """Return x W + b for every block."""
        blocks, width, out = self.weight.shape
        if blocks == 1:
            return torch.addmm(self.bias[0], x.reshape(-1, width), self.weight[0]).view(len(x), 1, out)
        if x.dim() == 2:
            wide = self.weight.transpose(0, 1).reshape(width, blocks * out)
            return torch.addmm(self.bias.view(-1), x, wide).view(len(x), blocks, out)
        product: Tensor = torch.baddbmm(self.bias.unsqueeze(1), x.transpose(0, 1), self.weight)
        return product.transpose(0, 1)


class Stack(nn.Module):
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

    def forward(self, x: Tensor) -> Tensor:
        """Return what the last layer gives, or the input itself, for every block, if there are no layers."""
        for linear, norm, dropout in zip(self.linears, self.norms, self.dropouts, strict=True):
            x = dropout(self._activation(norm(linear(x))))
        return x if x.dim() == 3 else x.unsqueeze(1).expand(-1, self.blocks, -1)


class Mlp(nn.Module):
    """One multi-layer block: (B, in) to (B, last width)."""

    def __init__(
        self, width: int, widths: Sequence[int], options: LayerOptions, generator: Generator
    ) -> None:
        super().__init__()
        self.stack = Stack(1, width, widths, options, generator)
        self.width = self.stack.width

    def forward(self, x: Tensor) -> Tensor:
        """Return what the last layer gives, or the input itself if there are none."""
        out: Tensor = self.stack(x)
        return out.squeeze(1)


class Heads(nn.Module):
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

    def forward(self, x: Tensor) -> Tensor:
        """Return the logits."""
        mine = x if self._blocks is None else x[:, self._blocks]
        return (mine * self.weight).sum(2) + self.bias

"""DeepFM as a bottom: layers, the factorisation machine and the first order beside each other.

Guo et al., IJCAI 2017. The factorisation machine gives 1/2 ((sum v)^2 - sum v^2), a vector of the factors' width: what
reads the bottom sums it with weights of its own (with weights of one it is the paper's number).
"""

from collections.abc import Sequence

import torch
from torch import Generator, Tensor, nn

from stream_mtl.errors import ConfigError
from stream_mtl.learn.layers import Block, Function, LayerOptions, Linears, Mlp

_FACTORS = 8  # where no feature is embedded
_SPREAD = 0.05  # standard deviation of the factors of numbers at first, as of embeddings


def factorise(vectors: Tensor) -> Tensor:
    """Return the sum of the products of all pairs of vectors: (B, F, k) to (B, k).

    Rendle, ICDM 2010: 1/2 ((sum v)^2 - sum v^2), element by element.
    """
    return (vectors.sum(1).square() - vectors.square().sum(1)) / 2


class DeepFm(Block):
    """(B, input) to (B, layers' width + factors + 1): layers, pairs of features, first order."""

    def __init__(
        self,
        width: int,
        fields: Sequence[int],
        widths: Sequence[int],
        options: LayerOptions,
        generator: Generator,
    ) -> None:
        """An embedded feature is its own vector of factors, a number has one by which it is multiplied.

        Raises ConfigError unless all embedded features are of one width.
        """
        super().__init__()
        if len(set(fields)) > 1:
            found = ", ".join(map(str, sorted(set(fields))))
            raise ConfigError(
                f"model.interaction: deepfm multiplies embeddings with each other, but their widths differ ({found}); "
                "give all features one dim"
            )
        self.embedded, self.factors = len(fields), fields[0] if fields else _FACTORS
        numbers = width - self.embedded * self.factors
        factors = torch.empty(numbers, self.factors).normal_(0, _SPREAD, generator=generator)
        self.numbers = nn.Parameter(factors)
        self.first = Linears(1, width, 1, generator)
        self.deep = Mlp(width, widths, options, generator)
        self.width = self.deep.width + self.factors + 1

    def bind(self) -> Function:
        """x to the three beside each other."""
        first, deep, numbers = self.first.bind(), self.deep.bind(), self.numbers
        embedded, factors, ends = self.embedded, self.factors, self.embedded * self.factors

        def together(x: Tensor) -> Tensor:
            vectors = x[:, :ends].view(len(x), embedded, factors)
            if len(numbers):
                vectors = torch.cat([vectors, x[:, ends:].unsqueeze(2) * numbers], dim=1)
            return torch.cat([deep(x), factorise(vectors), first(x).squeeze(1)], dim=1)

        return together

"""Adam over all dense weights as one flat tensor (Kingma and Ba, ICLR 2015).

The weights and their gradients become views of two flat tensors, so that a step, a norm or a finite check is a few
operations whatever the number of layers. (`torch.optim` would do, but importing it costs two seconds at every start.)
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from stream_mtl.learn.arrays import Arrays, put_under, under

BETAS = (0.9, 0.999)
EPSILON = 1e-8


class Adam:
    """The optimiser of a module's parameters. Gradients are to be added in place: `parameter.grad` is a view."""

    def __init__(self, module: nn.Module, rate: float) -> None:
        self._rate = rate
        self._step = 0
        self._named = dict(module.named_parameters())
        self._weight = torch.cat([p.detach().reshape(-1) for p in self._named.values()])
        self.gradient = torch.zeros_like(self._weight)  # (all parameters,)
        self._mean, self._square = torch.zeros_like(self._weight), torch.zeros_like(self._weight)
        for name, parameter in self._named.items():
            parameter.data = self._part(self._weight, name)
            parameter.grad = self._part(self.gradient, name)

    def clear(self) -> None:
        """Set the gradient to zero."""
        self.gradient.zero_()

    def step(self) -> None:
        """Move every weight against its gradient."""
        self._step += 1
        first, second = BETAS
        self._mean.lerp_(self.gradient, 1 - first)
        self._square.mul_(second).addcmul_(self.gradient, self.gradient, value=1 - second)
        size = (self._square / (1 - second**self._step)).sqrt_().add_(EPSILON)
        self._weight.addcdiv_(self._mean, size, value=-self._rate / (1 - first**self._step))

    def arrays(self) -> Arrays:
        """Return the state by name, to be saved; the moments by the names of their parameters."""
        moments = {"mean": self._mean, "square": self._square}
        parts = {
            moment: {name: self._part(flat, name).numpy().copy() for name in self._named}
            for moment, flat in moments.items()
        }
        return {"step": np.array(self._step)} | put_under(**parts)

    def restore(self, arrays: Mapping[str, npt.NDArray[Any]]) -> None:
        """Take back what `arrays` gave."""
        self._step = int(arrays["step"])
        for moment, flat in (("mean", self._mean), ("square", self._square)):
            for name, array in under(arrays, moment).items():
                self._part(flat, name).copy_(torch.from_numpy(array))

    def _part(self, flat: Tensor, name: str) -> Tensor:
        start = 0
        for other, parameter in self._named.items():
            if other == name:
                return flat[start : start + parameter.numel()].view(parameter.shape)
            start += parameter.numel()
        raise KeyError(name)

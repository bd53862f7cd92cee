"""From losses of rows to one number a lesson: what it is divided by, and the losses of values."""

from collections.abc import Callable, Mapping

import torch
from torch import Tensor
from torch.nn import functional as F

Reduce = Callable[[Tensor, Tensor], Tensor]


def _told(loss: Tensor, weight: Tensor) -> Tensor:
    # `where` and not a product: 0 times an infinite loss is nan, in the value and in the gradient.
    return torch.where(weight > 0, loss * weight, loss.new_zeros(())).sum()


def _by_rows(loss: Tensor, weight: Tensor) -> Tensor:
    return _told(loss, weight) / max(len(loss), 1)


def _by_weights(loss: Tensor, weight: Tensor) -> Tensor:
    total = weight.sum()
    return _told(loss, weight) / torch.where(total > 0, total, torch.ones_like(total))


def _by_present(loss: Tensor, weight: Tensor) -> Tensor:
    return _told(loss, weight) / (weight > 0).sum().clamp(min=1)


DENOMINATORS: Mapping[str, Reduce] = {"rows": _by_rows, "weights": _by_weights, "present": _by_present}
"""Losses and weights of rows, (B,) each, to the loss of a batch: sum of w l, over

- rows: B. Unbiased for the whole stream: a batch with one click does not count a hundredfold.
- weights: the sum of w. A factor common to all weights has no effect.
- present: the number of w > 0. Weights keep their scale.

A row of weight 0 gives exactly zero gradient whatever its loss, and no row at all gives a loss of 0.
"""

VALUE_LOSSES: Mapping[str, Callable[[Tensor, Tensor], Tensor]] = {
    "squared": lambda output, label: (output - label).square(),
    "absolute": lambda output, label: (output - label).abs(),
    "huber": lambda output, label: F.huber_loss(output, label, reduction="none"),
}
"""Output and (transformed) label of a value task, (B,) each, to the loss of every row."""


def _log1p(value: Tensor) -> Tensor:
    return value.sign() * value.abs().log1p()


def _expm1(value: Tensor) -> Tensor:
    return value.sign() * value.abs().clamp(max=80).expm1()


def _same(value: Tensor) -> Tensor:
    return value


TRANSFORMS: Mapping[str, tuple[Callable[[Tensor], Tensor], Callable[[Tensor], Tensor]]] = {
    "none": (_same, _same),
    "log1p": (_log1p, _expm1),
}
"""What is done to a value before it is learned, and the inverse, which makes an output a prediction."""

"""From losses of rows to one number a lesson: what it is divided by, and the losses of values."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from stream_mtl.errors import ConfigError
from stream_mtl.learn import softmax, ziln

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

Loss = Callable[[Tensor, Tensor, Tensor], Tensor]


@dataclass(frozen=True, slots=True)
class ValueLoss:
    """How a value is learned: what its head gives, the loss of it, and how it is read."""

    rows: Loss  # head (B,) or (B, size), transformed label (B,), weight (B,) -> loss of every row (B,)
    read: Callable[[Tensor], Tensor]  # head -> predicted, transformed value (B,)
    size: int | None = 1  # numbers that the head gives; None: one for each class
    transforms: bool = True  # whether the label may be transformed


def _same(value: Tensor) -> Tensor:
    return value


VALUE_LOSSES: Mapping[str, ValueLoss] = {
    "squared": ValueLoss(lambda output, label, weight: (output - label).square(), _same),
    "absolute": ValueLoss(lambda output, label, weight: (output - label).abs(), _same),
    "huber": ValueLoss(lambda output, label, weight: F.huber_loss(output, label, reduction="none"), _same),
    "sigmoid_squared": ValueLoss(
        lambda output, label, weight: (output.sigmoid() - label).square(), lambda output: output.sigmoid()
    ),
    "ziln": ValueLoss(ziln.balanced, ziln.mean, 3, transforms=False),
    "ziln_likelihood": ValueLoss(ziln.likelihood, ziln.mean, 3, transforms=False),
    "softmax": ValueLoss(softmax.rows, softmax.mean, None, transforms=False),
}
"""The losses of values, by name."""


def head_size(loss: str, classes: int) -> int:
    """Return how many numbers the head of a value gives. Raises ConfigError for classes that are none."""
    size = VALUE_LOSSES[loss].size
    if size is None and classes < 2:
        raise ConfigError('loss = "softmax" needs the number of classes, two at least; add classes = 5')
    return size or classes


def focal(logit: Tensor, label: Tensor, gamma: float) -> Tensor:
    """Return -(1 - p)^gamma log p of a positive, -p^gamma log(1 - p) of a negative, p the sigmoid. (B,)

    Lin et al., ICCV 2017, without its alpha. With gamma 0 it is the cross entropy; above, the probabilities that it
    teaches are not calibrated.
    """
    toward = logit * (2 * label - 1)  # the logit of what was told
    return -(1 - toward.sigmoid()).pow(gamma) * F.logsigmoid(toward)


def _log1p(value: Tensor) -> Tensor:
    return value.sign() * value.abs().log1p()


def _expm1(value: Tensor) -> Tensor:
    return value.sign() * value.abs().clamp(max=80).expm1()


TRANSFORMS: Mapping[str, tuple[Callable[[Tensor], Tensor], Callable[[Tensor], Tensor]]] = {
    "none": (_same, _same),
    "log1p": (_log1p, _expm1),
}
"""What is done to a value before it is learned, and the inverse, which makes an output a prediction."""

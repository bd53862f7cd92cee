"""Zero-inflated log-normal: whether a value is above zero, and how large it then is.

Wang et al., 2019, as EasyRec has it. The head gives (p, mu, s); sigma = clip(softplus(s), 3.16e-4, 5). The value is zero with
probability 1 - sigmoid(p), else log-normal with mu and sigma.
"""

import math

import torch
from torch import Tensor
from torch.nn import functional as F

LEAST, MOST = 3.16e-4, 5.0
"""Bounds of sigma."""

PENALTY = 0.01
"""Weight of mu^2 and of s^2."""

LOG_MOST = 20.0
"""A predicted value is at most e^20."""


def likelihood(head: Tensor, label: Tensor, weight: Tensor) -> Tensor:
    """Return the negative log-likelihood of every row: BCE(p, y > 0) + 1[y > 0] (-log pdf). (B, 3), (B,) to (B,)"""
    came = label > 0
    return _whether(head, came) + _how_much(head, label, came)


def balanced(head: Tensor, label: Tensor, weight: Tensor) -> Tensor:
    """Return EasyRec's loss: rows whose mean over those that are told is

    mean BCE(p, y > 0) + sum over y > 0 of (-log pdf) / #(y > 0) + 0.01 mean mu^2 + 0.01 mean s^2.

    The size is learned as fast whether one row of a minibatch has one or all have.
    """
    told, came = weight > 0, label > 0
    share = told.sum() / (told & came).sum().clamp(min=1)
    small = PENALTY * (head[:, 1].square() + head[:, 2].square())
    return _whether(head, came) + share * _how_much(head, label, came) + small


def mean(head: Tensor) -> Tensor:
    """Return the expected value, exp(log sigmoid(p) + mu + sigma^2 / 2). (B, 3) to (B,)"""
    log_mean = F.logsigmoid(head[:, 0]) + head[:, 1] + _sigma(head).square() / 2
    return log_mean.clamp(max=LOG_MOST).exp()


def _sigma(head: Tensor) -> Tensor:
    return F.softplus(head[:, 2]).clamp(LEAST, MOST)


def _whether(head: Tensor, came: Tensor) -> Tensor:
    return F.binary_cross_entropy_with_logits(head[:, 0], came.to(head.dtype), reduction="none")


def _how_much(head: Tensor, label: Tensor, came: Tensor) -> Tensor:
    """Return -log pdf of the log-normal where the value is above zero, else 0."""
    log, sigma = torch.where(came, label, torch.ones_like(label)).log(), _sigma(head)
    off = (log - head[:, 1]) / sigma
    loss = log + sigma.log() + 0.5 * math.log(2 * math.pi) + off.square() / 2
    return torch.where(came, loss, torch.zeros_like(loss))

"""Fake negatives, calibrated (FNC): learn from a stream with too many negatives, and undo that where it is served.

Ktena et al., RecSys 2019. Every chain is told as a no at once, and every event as a yes when it comes: the model
comes to rest at b = p/(1 + p), so b/(1 - b) is the true rate. Where b errs above one half that is more than 1: it is
clipped, and log loss suffers.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from stream_mtl.label.base import Reading, Tensor, cross_entropy
from stream_mtl.label.fnw import FakeNegatives


@dataclass(frozen=True)
class FakeNegativeCalibrated(FakeNegatives):
    """No waiting at all, one correction for every event, no weights; a probability is b/(1 - b)."""

    inverts: ClassVar[bool] = True

    def loss(self, reading: Reading) -> Tensor:
        """Return the cross entropy. (n,)"""
        return cross_entropy(reading.logit, reading.label)

    def probability(self, logit: Tensor, auxiliary: Mapping[str, Tensor]) -> Tensor:
        """Return b/(1 - b), b the sigmoid of the logit: its exponential, at most 1. (n,)"""
        return logit.clamp(max=0).exp()

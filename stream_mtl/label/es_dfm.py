"""Elapsed-time sampling (ES-DFM): look once, correct every late event, weigh the examples back to the true rate.

Yang et al., AAAI 2021. The stream holds 1 + dp examples of a chain, so that it is not the population's; the weights
of importance sampling make up for it. The fixed point is the true rate. With a wrong rn it is p/(p + rn(1 - p + dp));
dp cancels, so an error in it moves no optimum.
"""

from dataclasses import dataclass
from typing import ClassVar

from stream_mtl.label.base import Auxiliary, Emitted, Reading, Tensor, emitted, negative_log, negative_log_not
from stream_mtl.label.heads import LATE, REAL, OneLook, late_share, real_share
from stream_mtl.label.streams import late, look
from stream_mtl.label.told import Told


@dataclass(frozen=True)
class ElapsedSampling(OneLook):
    """One look, one correction for every late event, weights from auxiliary logits."""

    auxiliary: ClassVar[tuple[Auxiliary, ...]] = (LATE, REAL)

    def emit(self, told: Told) -> Emitted:
        """Emit what the look sees, late events, and matured labels."""
        return emitted(told, look(told, self.wait), late(told, self.wait), self.matured(told))

    def told_loss(self, reading: Reading) -> Tensor:
        """Return (1 + dp) [v (-log f) + (1 - v) rn (-log(1 - f))], dp and rn constant. (n,)"""
        dp = late_share(reading)
        yes = reading.label * negative_log(reading.logit)
        no = (1 - reading.label) * real_share(reading, dp) * negative_log_not(reading.logit)
        return (1 + dp) * (yes + no)

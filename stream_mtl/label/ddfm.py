"""Real negatives (DDFM): what was a negative at the look counts in part as a positive until its window has ended.

Dai et al., CIKM 2023. Every chain is told at the look, late events when they come, and chains without the event a
second time at the end of their window. An observed negative is a positive by the share 1 - rn; a second telling evens
out what the first said. The fixed point is the true rate.
"""

from dataclasses import dataclass
from typing import ClassVar

from stream_mtl.label.base import (
    Auxiliary,
    Emitted,
    Kind,
    Reading,
    Tensor,
    emitted,
    negative_log,
    negative_log_not,
)
from stream_mtl.label.heads import LATE, REAL, OneLook, constant, late_share, real_share
from stream_mtl.label.streams import late, look, real_negatives
from stream_mtl.label.told import Told


@dataclass(frozen=True)
class RealNegatives(OneLook):
    """One look, one correction for every late event, and one for every event that never comes."""

    auxiliary: ClassVar[tuple[Auxiliary, ...]] = (LATE, REAL)
    unreached: ClassVar[tuple[Kind, ...]] = (Kind.ON, Kind.RN)

    def emit(self, told: Told) -> Emitted:
        """Emit what the look sees, late events, real negatives, and matured labels."""
        wait = self.wait
        return emitted(told, look(told, wait), late(told, wait), real_negatives(told), self.matured(told))

    def told_loss(self, reading: Reading) -> Tensor:
        """Return v (-log f) + (1 - v) [(1 - z)(-log f) + z (-log(1 - f))], z constant. (n,)

        z is rn at the look, and 1 - f + dp at the end; that is above 1 where dp > f, and kept to 1 (the paper's
        code does not).
        """
        dp = late_share(reading)
        again = (1 - constant(reading.logit) + dp).clamp(0, 1)
        z = again.where(reading.kind == Kind.RN, real_share(reading, dp))
        positive = reading.label + (1 - reading.label) * (1 - z)
        return positive * negative_log(reading.logit) + (1 - positive) * negative_log_not(reading.logit)

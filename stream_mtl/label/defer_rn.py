"""DEFER's variant without second early positives: what its authors' code calls ES-DFM10.

Gu et al., KDD 2021 (the repository; weights as the reference notes derive them). The stream is that of `ddfm`. With
T = 1 + (1 - f) + dp, positives weigh T and negatives T (1 - f)/(2 (1 - f) + dp) of twice their number. The fixed
point is the true rate.
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
from stream_mtl.label.heads import LATE, OneLook, late_share, never_share
from stream_mtl.label.streams import late, look, real_negatives
from stream_mtl.label.told import Told


@dataclass(frozen=True)
class DeferRealNegatives(OneLook):
    """One look, one correction for every late event, and one for every event that never comes; positives once."""

    auxiliary: ClassVar[tuple[Auxiliary, ...]] = (LATE,)
    unreached: ClassVar[tuple[Kind, ...]] = (Kind.ON, Kind.RN)

    def emit(self, told: Told) -> Emitted:
        """Emit what the look sees, late events, real negatives, and matured labels."""
        wait = self.wait
        return emitted(told, look(told, wait), late(told, wait), real_negatives(told), self.matured(told))

    def told_loss(self, reading: Reading) -> Tensor:
        """Return T [v (-log f) + (1 - v)(1 - f)/(2 (1 - f) + dp)(-log(1 - f))], weights constant. (n,)"""
        dp, never = late_share(reading), never_share(reading)
        real = never / (2 * never + dp)
        yes = reading.label * negative_log(reading.logit)
        no = (1 - reading.label) * real * negative_log_not(reading.logit)
        return (1 + never + dp) * (yes + no)

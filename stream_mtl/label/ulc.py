"""Soft labels (ULC): each chain once, at one look; a negative is a positive by the share that will still come.

Wang et al., KDD 2023. The paper trains a label model and the rate in turns over a fixed span; here the label model is
the auxiliary logit rn, learned from matured labels while the stream goes on. The fixed point is the true rate.
"""

from dataclasses import dataclass
from typing import ClassVar

from stream_mtl.label.base import Auxiliary, Emitted, Kind, Reading, Tensor, cross_entropy, emitted
from stream_mtl.label.heads import LATE, REAL, OneLook, late_share, real_share
from stream_mtl.label.streams import look
from stream_mtl.label.told import Told


@dataclass(frozen=True)
class SoftLabels(OneLook):
    """One look, no correction, negatives with a label between 0 and 1."""

    auxiliary: ClassVar[tuple[Auxiliary, ...]] = (LATE, REAL)
    late: ClassVar[Kind] = Kind.NONE

    def emit(self, told: Told) -> Emitted:
        """Emit what the look sees, and matured labels."""
        return emitted(told, look(told, self.wait), self.matured(told))

    def told_loss(self, reading: Reading) -> Tensor:
        """Return the cross entropy of v + (1 - v)(1 - rn), rn constant. (n,)"""
        real = real_share(reading, late_share(reading))
        return cross_entropy(reading.logit, 1 - (1 - reading.label) * real)

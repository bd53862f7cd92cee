"""Feedback-shift importance weighting (FSIW): each chain once, at one look, weighed by what the look cannot see.

Yasui et al., WWW 2020. A positive weighs 1/g1, g1 = P(by the look | it comes); a negative g0 = P(never | not by the
look). The fixed point is the true rate. The paper looks at every chain at the present, so that the time elapsed is an
input of g1 and g0; here it is the same for all, the look's. 1/g1 has no upper bound, and is kept to 10. Nothing
corrects a negative, so late events teach only g1 and g0.
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
from stream_mtl.label.heads import IN_TIME, REAL, OneLook, constant, real_share
from stream_mtl.label.streams import look
from stream_mtl.label.told import Told

LEAST = 0.1
"""What g1 is taken for where it is less."""


@dataclass(frozen=True)
class FeedbackShift(OneLook):
    """One look, no correction, weights from auxiliary logits."""

    auxiliary: ClassVar[tuple[Auxiliary, ...]] = (IN_TIME, REAL)
    late: ClassVar[Kind] = Kind.NONE

    def emit(self, told: Told) -> Emitted:
        """Emit what the look sees, and matured labels."""
        return emitted(told, look(told, self.wait), self.matured(told))

    def told_loss(self, reading: Reading) -> Tensor:
        """Return v/g1 (-log f) + (1 - v) g0 (-log(1 - f)), g1 and g0 constant. (n,)"""
        in_time = constant(reading.auxiliary[IN_TIME.name])
        late = constant(reading.logit) * (1 - in_time)  # dp, of a product too
        yes = reading.label / in_time.clamp(min=LEAST) * negative_log(reading.logit)
        no = (1 - reading.label) * real_share(reading, late) * negative_log_not(reading.logit)
        return yes + no

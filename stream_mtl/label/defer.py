"""Everything twice (DEFER): each chain is told at the look, and once more when its label is known.

Gu et al., KDD 2021; the formula as in the benchmark code of NetCVR. Late events are told a second time when they
come; events that had come by the look, and chains without the event, at the end of the window. So the stream holds
every x as often as the population does; only the labels at the look are wrong, and weighed for it. The fixed point
is the true rate.

The weight f/(f - dp/2) of a positive has a pole at f = dp/2, and is negative below. It is kept to [1, 5], and 5 at the
pole and below: taken to 0 there, as a clip to [0, 5] would, a logit that once fell below the pole would
never rise again. At rest it is at most 2. A loss has no way to report, so clips are not counted.
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
from stream_mtl.label.heads import LATE, TINY, OneLook, constant, late_share, never_share
from stream_mtl.label.streams import early_again, late, look, real_negatives
from stream_mtl.label.told import Told

CEILING = 5.0
"""The greatest weight of a positive."""


@dataclass(frozen=True)
class Defer(OneLook):
    """One look, and a second telling of every chain."""

    auxiliary: ClassVar[tuple[Auxiliary, ...]] = (LATE,)
    unreached: ClassVar[tuple[Kind, ...]] = (Kind.ON, Kind.RN)

    def emit(self, told: Told) -> Emitted:
        """Emit what the look sees, late events, real negatives, early events again, and matured labels."""
        wait = self.wait
        again = real_negatives(told), early_again(told, wait)
        return emitted(told, look(told, wait), late(told, wait), *again, self.matured(told))

    def told_loss(self, reading: Reading) -> Tensor:
        """Return v f/(f - dp/2)(-log f) + (1 - v)(1 - f)/(1 - f + dp/2)(-log(1 - f)), weights constant. (n,)"""
        dp, never = late_share(reading), never_share(reading)
        yes = reading.label * weight(constant(reading.logit), dp) * negative_log(reading.logit)
        no = (1 - reading.label) * never / (never + dp / 2) * negative_log_not(reading.logit)
        return yes + no


def weight(f: Tensor, late: Tensor) -> Tensor:
    """Return the weight of positives, in [1, CEILING], at probability f. (n,)"""
    f = f.clamp(min=TINY)
    return f / (f - late / 2).maximum(f / CEILING)

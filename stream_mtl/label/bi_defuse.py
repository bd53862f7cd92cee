"""Two heads (Bi-DEFUSE): one for events by the look, one for those after it; the rate is their sum.

Chen et al., WWW 2022. The task's own logit is the head *in*: plain cross entropy of what the look sees, at rest at
P(it comes, by the look). The auxiliary logit is the head *out*: every chain is a no to it at the look, and a late event
a yes when it comes, weighed as fake negatives are; at rest it is dp = P(it comes, after the look). Served is
in + out, which is p at rest; apart from rest it may pass 1, and is kept to it.

Both heads train what the tasks share. Over all exposures both learn products: *in* along the chain, *out* by itself.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from stream_mtl.clock import Millis
from stream_mtl.label.base import (
    Auxiliary,
    Emitted,
    Kind,
    Reading,
    Tensor,
    Unhurried,
    cross_entropy,
    emitted,
    negative_log,
    negative_log_not,
)
from stream_mtl.label.heads import constant
from stream_mtl.label.streams import late, look
from stream_mtl.label.told import Told

OUT = Auxiliary("out", apart=False, start=0.01)


@dataclass(frozen=True)
class BiDefuse(Unhurried):
    """One look for the one head; the other corrected by every late event."""

    wait: Millis

    auxiliary: ClassVar[tuple[Auxiliary, ...]] = (OUT,)
    inverts: ClassVar[bool] = True
    early: ClassVar[Kind] = Kind.IP
    late: ClassVar[Kind] = Kind.DP

    @property
    def waits(self) -> tuple[Millis, ...]:
        """The one look."""
        return (self.wait,)

    def emit(self, told: Told) -> Emitted:
        """Emit what the look sees, and late events."""
        return emitted(told, look(told, self.wait), late(told, self.wait))

    def loss(self, reading: Reading) -> Tensor:
        """Return the loss of both heads, (n,). With v = 1 of a late event only and g the probability of *out*:

        cross entropy of *in*, but nothing of late events;
        v (-log g) + (1 - v) [(1 - g)(1 + g)(-log(1 - g)) + g g (-log g)], weights constant.
        """
        is_late = reading.kind == Kind.DP
        inside = cross_entropy(reading.logit, reading.label)
        return inside.where(~is_late, inside.new_zeros(())) + _outside(reading.auxiliary[OUT.name], is_late)

    def probability(self, logit: Tensor, auxiliary: Mapping[str, Tensor]) -> Tensor:
        """Return in + out, at most 1. (n,)"""
        return (logit.sigmoid() + auxiliary[OUT.name].sigmoid()).clamp(max=1)


def _outside(logit: Tensor, is_late: Tensor) -> Tensor:
    g = constant(logit)
    never = (1 - g) * (1 + g) * negative_log_not(logit) + g * g * negative_log(logit)
    return negative_log(logit).where(is_late, never)

"""Fake negatives, weighted: teach every chain a no at once, and a yes when it comes.

Ktena et al., RecSys 2019. With weights 1 + p on positives and (1 - p)(1 + p) on negatives, p the model's own
probability held constant, the fixed point is the true rate.
"""

from dataclasses import dataclass
from typing import ClassVar

from stream_mtl.clock import Millis
from stream_mtl.label.base import (
    Emitted,
    Kind,
    Part,
    Reading,
    Tensor,
    Unhurried,
    emitted,
    negative_log,
    negative_log_not,
)
from stream_mtl.label.told import Told


class FakeNegatives(Unhurried):
    """A base for methods that do not wait: a no at once, a yes when it comes; 1 + p examples of a chain."""

    early: ClassVar[Kind] = Kind.DP
    late: ClassVar[Kind] = Kind.DP

    @property
    def waits(self) -> tuple[Millis, ...]:
        """Every clock's start."""
        return (0,)

    def emit(self, told: Told) -> Emitted:
        """Emit a negative at the start of every clock and a positive for every event.

        An event that is there when the clock starts has no `event` row: then the look gives both.
        """
        looks = told.looks(0)
        came = (looks & told.happened) | told.events(0)
        return emitted(told, Part(looks, False, Kind.ON), Part(came, True, Kind.DP))


@dataclass(frozen=True)
class FakeNegativeWeighted(FakeNegatives):
    """No waiting at all, one correction for every event, no further logit."""

    def loss(self, reading: Reading) -> Tensor:
        """Return v (1 + p) (-log p) + (1 - v) (1 - p) (1 + p) (-log(1 - p)), the outer p constant."""
        p = reading.logit.detach().sigmoid()
        yes = (1 + p) * negative_log(reading.logit)
        no = (1 - p) * (1 + p) * negative_log_not(reading.logit)
        return reading.label * yes + (1 - reading.label) * no

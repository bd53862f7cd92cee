"""What the Criteo protocol compares besides our methods: its Vanilla, and auxiliary logits that are learned by themselves."""

from dataclasses import dataclass, replace
from typing import ClassVar

from stream_mtl.clock import Millis
from stream_mtl.label.base import Auxiliary, Emitted, Plain, Reading, Tensor, emitted
from stream_mtl.label.heads import IN_TIME, LATE, REAL, OneLook
from stream_mtl.label.streams import late, look, matured
from stream_mtl.label.told import Told


@dataclass(frozen=True)
class Vanilla(Plain):
    """One look, one correction for every late event, and cross entropy: at rest at p/(1 + dp), which is too low."""

    wait: Millis

    @property
    def waits(self) -> tuple[Millis, ...]:
        """The one look."""
        return (self.wait,)

    def emit(self, told: Told) -> Emitted:
        """Emit what the look sees, and late events."""
        return emitted(told, look(told, self.wait), late(told, self.wait))


@dataclass(frozen=True)
class HeadsAlone(OneLook):
    """Nothing but auxiliary logits: a network of their own, learned from matured labels."""

    auxiliary: ClassVar[tuple[Auxiliary, ...]] = tuple(
        replace(one, apart=False) for one in (LATE, REAL, IN_TIME)
    )

    def emit(self, told: Told) -> Emitted:
        """Emit matured labels."""
        return emitted(told, matured(told, self.wait))

    def told_loss(self, reading: Reading) -> Tensor:
        """Return nothing: the task's own logit is not learned."""
        zeros: Tensor = reading.logit.new_zeros(reading.logit.shape)
        return zeros

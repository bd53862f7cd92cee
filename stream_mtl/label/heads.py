"""Auxiliary probabilities that weights are made of, and how they are learned while the stream goes on.

With p the rate of the event, w the look, and the joint probability dp = P(it comes, and after w | x):

    late      dp                          asked of every chain at its end: did it come after the look?
    real      rn = (1 - p)/(1 - p + dp)   asked of those without the event at the look: did it never come?
    in_time   P(by w | it comes)          asked of those that have it at the end: had it come by the look?

Published code learns them once, beforehand, and freezes them: then they drift. Here every matured label teaches
them, as one example more (Kind.MATURED_*). So the newest that they know is as old as the task's window is long, and
until the first window is over they say what they started with: that nothing comes late.
"""

from dataclasses import dataclass
from typing import ClassVar

from stream_mtl.clock import Millis
from stream_mtl.label.base import MATURED, Auxiliary, Kind, Part, Reading, Tensor, Unhurried, cross_entropy
from stream_mtl.label.streams import foreseen, matured
from stream_mtl.label.told import Told

LATE = Auxiliary("late", start=0.01, asked=MATURED, answer=Kind.MATURED_DP)
REAL = Auxiliary(
    "real", start=0.99, asked=frozenset({Kind.MATURED_DP, Kind.MATURED_RN}), answer=Kind.MATURED_RN
)
IN_TIME = Auxiliary(
    "in_time", start=0.99, asked=frozenset({Kind.MATURED_IP, Kind.MATURED_DP}), answer=Kind.MATURED_IP
)

TINY = 1e-30
"""The least of what weights divide by."""


@dataclass(frozen=True)
class Heads:
    """When auxiliary logits are told what they learn."""

    ahead: bool = False  # at the look what only the end will tell: to compare with, in replays
    until: Millis | None = None  # event time from which on they are told nothing more: frozen, as published


ON_STREAM = Heads()
"""What auxiliary logits learn by default: each label when it is final."""


@dataclass(frozen=True)
class OneLook(Unhurried):
    """A base for methods that look once after `wait`, and learn auxiliary logits from matured labels."""

    wait: Millis
    heads: Heads = ON_STREAM

    reads_final: ClassVar[bool] = True
    early: ClassVar[Kind] = Kind.IP
    late: ClassVar[Kind] = Kind.DP

    @property
    def waits(self) -> tuple[Millis, ...]:
        """The one look."""
        return (self.wait,)

    def matured(self, told: Told) -> Part:
        """Return what the auxiliary logits are told."""
        if self.heads.ahead:
            return foreseen(told, self.wait)
        return matured(told, self.wait, self.heads.until)

    def loss(self, reading: Reading) -> Tensor:
        """Return the loss of what is told, and of matured labels that of the auxiliary logits."""
        return with_heads(self.auxiliary, reading, self.told_loss(reading))

    def told_loss(self, reading: Reading) -> Tensor:
        """Return the loss, (n,), of every example, as if none were a matured label."""
        raise NotImplementedError


def late_share(reading: Reading) -> Tensor:
    """Return dp, (n,), constant; of the product along the chain where the lesson is one."""
    late = constant(reading.auxiliary[LATE.name])
    return late if reading.reach is None else reading.reach * late


def real_share(reading: Reading, late: Tensor) -> Tensor:
    """Return rn, (n,), constant: how many of those without the event at the look never have it.

    Of a product it is not the head's, which knows only exposures that reached the task, but made of the
    product's own p and dp, `late`.
    """
    if reading.reach is None:
        return constant(reading.auxiliary[REAL.name])
    never = never_share(reading)
    return never / (never + late)


def never_share(reading: Reading) -> Tensor:
    """Return 1 - p, (n,), constant, p what the model says now; above 0 however sure it is."""
    return constant(-reading.logit).clamp(min=TINY)


def constant(logit: Tensor) -> Tensor:
    """Return the probability, (n,), that a logit means, without its gradient."""
    return logit.detach().sigmoid()


def with_heads(auxiliary: tuple[Auxiliary, ...], reading: Reading, loss: Tensor) -> Tensor:
    """Return the loss, (n,), but of matured labels the cross entropy of the auxiliary logits that are asked.

    So a matured label gives the task's own logit exactly zero gradient, and every other example the heads.
    """
    taught = loss.new_zeros(loss.shape)
    for one in auxiliary:
        answer = (reading.kind == one.answer).to(loss.dtype)
        head = cross_entropy(reading.auxiliary[one.name], answer)
        taught = taught + head.where(among(reading.kind, one.asked), loss.new_zeros(()))
    return taught.where(among(reading.kind, MATURED), loss)


def among(kind: Tensor, kinds: frozenset[Kind]) -> Tensor:
    """Return, (n,), where the kind is one of these."""
    found = kind != kind
    for one in sorted(kinds):
        found = found | (kind == one)
    return found

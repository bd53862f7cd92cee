"""The delay model (DFM): a rate and how fast events come, learned together from what is seen at each look.

Chapelle, KDD 2014: an event has probability p, and comes after a delay that is exponential with rate lambda(x) = exp of
an auxiliary logit. Of a chain that is seen once, with the event after a delay d, or without it at age e:

    l(1, d) = -log p - log lambda + lambda d        l(0, e) = -log(1 - p + p exp(-lambda e))

The paper learns from one look at a whole history. On a stream a chain is looked at again and again, so the looks
telescope: each adds l(0, e) - l(0, age at the look before), an event adds l(1, d) - l(0, age at the last look), and
the end of the window, after which no event counts, adds -log(1 - p) - l(0, age at the last look). What a chain has
taught is then the likelihood of the last that is known of it, whatever the number of looks, and the fixed point of
p the true rate, even where delays are not exponential.

Ages and delays are in days, and the delay is the true one. Public code that runs this model on a stream has delays
in raw seconds, a softplus for lambda and the time elapsed for the delay; ours does not match its published row.
"""

from dataclasses import dataclass, replace
from itertools import pairwise
from typing import ClassVar

import numpy as np

from stream_mtl.clock import DAY, Millis
from stream_mtl.label.base import (
    Auxiliary,
    Emitted,
    Kind,
    Reading,
    Tensor,
    Unhurried,
    emitted,
    negative_log,
    negative_log_not,
    seconds,
)
from stream_mtl.label.streams import late, look, real_negatives
from stream_mtl.label.told import Told

RATE = Auxiliary("rate")
"""log lambda, lambda per day; one a day before anything was learned."""

MOST = 12.0
"""Between what bounds, up and down, log lambda is kept: a delay of half a second, or of 400 years."""


@dataclass(frozen=True)
class DelayModel(Unhurried):
    """Looks at some ages, a correction for every event after the first, and the end."""

    looks: tuple[Millis, ...]  # ascending

    auxiliary: ClassVar[tuple[Auxiliary, ...]] = (RATE,)
    reads_final: ClassVar[bool] = True
    unreached: ClassVar[tuple[Kind, ...]] = (Kind.FINAL,)
    early: ClassVar[Kind] = Kind.IP
    late: ClassVar[Kind] = Kind.DP

    @property
    def waits(self) -> tuple[Millis, ...]:
        """The looks."""
        return self.looks

    def emit(self, told: Told) -> Emitted:
        """Emit what the first look sees, later looks without the event, events after the first look, and the end."""
        first, *others = self.looks
        again = (look(told, wait) for wait in others)
        unseen = (replace(part, rows=part.rows & ~told.happened) for part in again)
        return emitted(told, look(told, first), *unseen, late(told, first), real_negatives(told))

    def loss(self, reading: Reading) -> Tensor:
        """Return what each look, event or end adds to the likelihood of its chain, negated. (n,)"""
        log_rate = reading.auxiliary[RATE.name].clamp(-MOST, MOST)
        rate, age = log_rate.exp(), reading.elapsed / _DAY
        before = not_yet(reading.logit, rate * self._seen(reading) / _DAY)
        come = negative_log(reading.logit) - log_rate + rate * age
        still = not_yet(reading.logit, rate * age).where(
            reading.kind == Kind.ON, negative_log_not(reading.logit)
        )
        return come.where(reading.label == 1, still) - before

    def _seen(self, reading: Reading) -> Tensor:
        """Return the age, in seconds, at the last look before each example; 0 where there was none. (n,)"""
        looks = [float(age) for age in seconds(np.array(self.looks))]
        age = reading.elapsed.new_zeros(reading.elapsed.shape)
        for earlier, wait in pairwise([0.0, *looks]):
            age = age + (wait - earlier) * (reading.elapsed > wait)
        age = age.clamp(min=looks[0]).where(reading.kind == Kind.DP, age)
        first = (reading.kind == Kind.IP) | (reading.kind == Kind.FINAL)
        age = age.where(~first, age.new_zeros(()))
        return age.where(reading.kind != Kind.RN, age.new_full((), looks[-1]))


def not_yet(logit: Tensor, passed: Tensor) -> Tensor:
    """Return -log(1 - p + p exp(-passed)), p the sigmoid of the logit, passed = lambda e. (n,)"""
    return -(-negative_log_not(logit)).logaddexp(-negative_log(logit) - passed)


_DAY = float(seconds(np.array(DAY)))

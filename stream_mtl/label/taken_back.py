"""Labels that are taken back: what a method told of an event is undone, as if the event had never come.

A chain whose event is taken back is then told like one without it, so that the method rests where it does anyway, at the
rate of what is kept (decision 10). Undoing an example adds its loss, by the weights of now, with the other sign: alone
it has no lower bound, as in `pu`. Where a look saw the event, what it should have seen is told after all.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from stream_mtl.clock import Millis
from stream_mtl.label.base import (
    Auxiliary,
    DelayedFeedback,
    Emitted,
    Kind,
    Part,
    Reading,
    Tensor,
    emitted,
    together,
)
from stream_mtl.label.told import Bools, Told

_UNDOES = {Kind.IP: Kind.IP_BACK, Kind.DP: Kind.DP_BACK}


@dataclass(frozen=True)
class Wrapped:
    """A base for methods that are another one but for something."""

    inner: DelayedFeedback

    @property
    def auxiliary(self) -> tuple[Auxiliary, ...]:
        """Those of the other."""
        return self.inner.auxiliary

    @property
    def reads_final(self) -> bool:
        """Whether the other does."""
        return self.inner.reads_final

    @property
    def refuses_at_final(self) -> bool:
        """Whether the other does."""
        return self.inner.refuses_at_final

    @property
    def unreached(self) -> tuple[Kind, ...]:
        """Those of the other."""
        return self.inner.unreached

    @property
    def inverts(self) -> bool:
        """Whether the other does."""
        return self.inner.inverts

    @property
    def early(self) -> Kind:
        """That of the other."""
        return self.inner.early

    @property
    def late(self) -> Kind:
        """That of the other."""
        return self.inner.late

    @property
    def waits(self) -> tuple[Millis, ...]:
        """Those of the other."""
        return self.inner.waits

    def emit(self, told: Told) -> Emitted:
        """Emit what the other does."""
        return self.inner.emit(told)

    def refuses(self, told: Told) -> Bools:
        """Return the rows of the other."""
        return self.inner.refuses(told)

    def overtaken(self, told: Told) -> Bools:
        """Return the rows of the other."""
        return self.inner.overtaken(told)

    def loss(self, reading: Reading) -> Tensor:
        """Return the loss of the other. (n,)"""
        return self.inner.loss(reading)

    def probability(self, logit: Tensor, auxiliary: Mapping[str, Tensor]) -> Tensor:
        """Return the probability of the other. (n,)"""
        return self.inner.probability(logit, auxiliary)


class Retractable(Wrapped):
    """A method whose positives are undone when their event is taken back."""

    def emit(self, told: Told) -> Emitted:
        """Emit what the method does, and on rows that tell of it what undoes it."""
        return together(self.inner.emit(told), undone(self.inner, told, told.retracted()))

    def loss(self, reading: Reading) -> Tensor:
        """Return, of what undoes an example, the example's loss with the other sign; else the method's. (n,)"""
        kind, label = reading.kind, reading.label
        for told, undoes in _UNDOES.items():
            back = kind == undoes
            kind = kind.masked_fill(back, int(told))
            label = label.masked_fill(back, 1.0)
        kind = kind.masked_fill(kind == Kind.ON_BACK, int(Kind.ON))
        loss = self.inner.loss(replace(reading, kind=kind, label=label))
        negative = (reading.kind == Kind.IP_BACK) | (reading.kind == Kind.DP_BACK)
        return (-loss).where(negative, loss)


class Complement(Wrapped):
    """A method that learns of an event where the label is that it does not come: what it serves is the complement."""

    @property
    def inverts(self) -> bool:
        """Always."""
        return True

    def probability(self, logit: Tensor, auxiliary: Mapping[str, Tensor]) -> Tensor:
        """Return one minus the probability of the event. (n,)"""
        return 1 - self.inner.probability(logit, auxiliary)


def undone(method: DelayedFeedback, told: Told, rows: Bools) -> Emitted:
    """Return, of rows that tell that an event was taken back, what makes up for what was told of it.

    A positive is undone if it was told: by the first look after the event, or when the event came. Each look that
    saw the event, and so did not tell a no, tells it.
    """
    came = told.came
    if came is None or not method.waits:
        return emitted(told, Part(np.zeros(len(told), np.bool_), False, Kind.NONE))
    first = told.start + method.waits[0]
    rows = rows & (came < told.told)
    delay = np.maximum(came - told.start, 0)
    parts = []
    if method.early is not Kind.NONE:
        saw = rows & (came <= first) & (first < told.told)
        parts.append(Part(saw, False, _UNDOES[method.early], delay))
    if method.late is not Kind.NONE:
        parts.append(Part(rows & (came > first), False, _UNDOES[method.late], delay))
    if method.early is Kind.IP:
        for wait in method.waits:
            look = told.start + wait
            saw = rows & (came <= look) & (look < told.told)
            parts.append(Part(saw, False, Kind.ON_BACK, np.full(len(told), wait)))
    return emitted(told, *parts)

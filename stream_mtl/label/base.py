"""What a delayed-feedback method is: five questions about one task, and the columns they are asked in."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import IntEnum
from typing import Any, ClassVar, Protocol, TypeAlias

import numpy as np
import numpy.typing as npt

from stream_mtl.clock import SECOND, Millis
from stream_mtl.label.told import Bools, Floats, Ints, Told

Tensor: TypeAlias = Any
"""A torch.Tensor, used through its own methods only: torch is not imported here."""

Kinds = npt.NDArray[np.int8]  # (n,) of Kind


class Kind(IntEnum):
    """What an example is to one task: the label alone cannot tell an immediate from a delayed positive."""

    NONE = 0  # nothing is told
    IP = 1  # immediate positive: the event had come by the look
    ON = 2  # observed negative: it had not come by the look
    DP = 3  # delayed positive: it came after the look
    RN = 4  # real negative: it has not come by the end of its window; told a second time
    IP2 = 5  # an immediate positive, told a second time
    FINAL = 6  # the label at the end of its window, told once
    MATURED_IP = (
        7  # at the end of its window: it had come by the look. Teaches auxiliary logits, nothing else
    )
    MATURED_DP = 8  # the same: it came after the look
    MATURED_RN = 9  # the same: it did not come
    IP_BACK = 10  # the event of an immediate positive was taken back
    DP_BACK = 11  # the same of a delayed positive
    ON_BACK = 12  # what a look should have told, had it known that


TAKEN_BACK = frozenset({Kind.IP_BACK, Kind.DP_BACK, Kind.ON_BACK})
"""The kinds that undo what was told of an event that was taken back."""

CORRECTIONS = frozenset({Kind.DP, Kind.RN, Kind.IP2}) | TAKEN_BACK
"""The kinds that come on top of what was told of the same chain before."""

MATURED = frozenset({Kind.MATURED_IP, Kind.MATURED_DP, Kind.MATURED_RN})
"""The kinds that teach auxiliary logits what the look had not seen: the task's own logit learns nothing from them."""


@dataclass(frozen=True, slots=True)
class Emitted:
    """What one task teaches of a batch of transitions, in their order; a row may give several examples."""

    row: Ints  # (m,) ascending: row of the transitions
    label: Floats  # (m,)
    kind: Kinds  # (m,)
    elapsed: Floats  # (m,) seconds: the event's delay where it has come, else the age of the task's clock


@dataclass(frozen=True, slots=True)
class Part:
    """Some rows of a batch, with what they teach."""

    rows: Bools  # (n,)
    label: Bools | bool  # (n,) or one for all
    kind: Kinds | Kind  # (n,) or one for all
    elapsed: Ints | None = None  # (n,) ms, where it is not that of the row


def emitted(told: Told, *parts: Part) -> Emitted:
    """Put parts together in the order of rows; of one row, in the order of the parts."""
    rows = [np.flatnonzero(part.rows) for part in parts]
    row = np.concatenate(rows)
    label = np.concatenate([_pick(part.label, at, np.float32) for part, at in zip(parts, rows, strict=True)])
    kind = np.concatenate([_pick(part.kind, at, np.int8) for part, at in zip(parts, rows, strict=True)])
    delays = [
        told.delay(at) if part.elapsed is None else part.elapsed[at]
        for part, at in zip(parts, rows, strict=True)
    ]
    elapsed = seconds(np.concatenate(delays))
    if len(parts) > 1:
        order = np.argsort(row, kind="stable")
        row, label, kind, elapsed = row[order], label[order], kind[order], elapsed[order]
    return Emitted(row, label, kind, elapsed)


def together(first: Emitted, second: Emitted) -> Emitted:
    """Put what two give of the same rows into one, in the order of rows."""
    if len(second.row) == 0:
        return first
    row = np.concatenate([first.row, second.row])
    order = np.argsort(row, kind="stable")
    return Emitted(
        row[order],
        np.concatenate([first.label, second.label])[order],
        np.concatenate([first.kind, second.kind])[order],
        np.concatenate([first.elapsed, second.elapsed])[order],
    )


def seconds(millis: Ints) -> Floats:
    """Return milliseconds as seconds. (n,)"""
    return millis.astype(np.float32) / np.float32(SECOND)


def _pick(values: Any, rows: Ints, dtype: npt.DTypeLike) -> npt.NDArray[Any]:
    if isinstance(values, np.ndarray):
        return values[rows].astype(dtype)
    return np.full(len(rows), int(values), dtype)


@dataclass(frozen=True, slots=True)
class Auxiliary:
    """A further logit that a method needs of the model.

    One with an `answer` is learned from matured labels: the newest that it knows are as old as the task's window
    is long. One without is learned by the loss itself, from the examples as they come.
    """

    name: str
    apart: bool = True  # it reads what the tasks share without training it
    start: float = 0.5  # its probability before anything was learned
    asked: frozenset[Kind] = frozenset()  # the matured kinds that teach it
    answer: Kind = Kind.NONE  # and the one of them that is a yes


@dataclass(frozen=True, slots=True)
class Reading:
    """What a loss sees of the examples that teach one task: tensors of one value a row, (n,) each.

    For a task that is taught over all exposures, `logit` is that of the product along its chain, and `reach`
    the probability, constant, of reaching the task at all: conditional auxiliary probabilities are to be
    multiplied by it (then the algebra of one task holds for the product). None stands for one.
    """

    logit: Tensor
    auxiliary: Mapping[str, Tensor]
    reach: Tensor | None
    label: Tensor
    kind: Tensor
    elapsed: Tensor  # seconds


class DelayedFeedback(Protocol):
    """When a task's labels are taken for known, and how that is made right. It has no state.

    Besides the five questions it has a *last word* on events that do not come: by it, tasks that are given
    this one and taught over all exposures are taught a zero.
    """

    @property
    def auxiliary(self) -> tuple[Auxiliary, ...]:
        """The further logits that the model must give."""

    @property
    def reads_final(self) -> bool:
        """Whether it emits from `final` rows: these must then carry features."""

    @property
    def refuses_at_final(self) -> bool:
        """Whether its last word on a missing event is told by `final` rows."""

    @property
    def unreached(self) -> tuple[Kind, ...]:
        """Its examples (label 0) of an exposure where the task never began."""

    @property
    def inverts(self) -> bool:
        """Whether `probability` is another function than the sigmoid of the logit."""

    @property
    def early(self) -> Kind:
        """As what it tells an event that has come by its first look, before the end; NONE: not at all."""

    @property
    def late(self) -> Kind:
        """As what it tells an event that comes after its first look, before the end; NONE: not at all."""

    @property
    def waits(self) -> tuple[Millis, ...]:
        """When to look at a chain again, counted from the start of the task's clock."""

    def emit(self, told: Told) -> Emitted:
        """Return what a batch of transitions teaches of the task."""

    def refuses(self, told: Told) -> Bools:
        """Return, (n,), the rows that are its last word that the event did not come."""

    def overtaken(self, told: Told) -> Bools:
        """Return, (n,), the rows that know of an event which came after the last word that it would not."""

    def loss(self, reading: Reading) -> Tensor:
        """Return the loss of every example, (n,). Weights made from logits are constants."""

    def probability(self, logit: Tensor, auxiliary: Mapping[str, Tensor]) -> Tensor:
        """Return the probability, (n,), that a logit means."""


class Unhurried:
    """A base for methods whose last word on a missing event is the end of its window."""

    auxiliary: ClassVar[tuple[Auxiliary, ...]] = ()
    reads_final: ClassVar[bool] = False
    refuses_at_final: ClassVar[bool] = True
    unreached: ClassVar[tuple[Kind, ...]] = (Kind.ON,)
    inverts: ClassVar[bool] = False
    early: ClassVar[Kind] = Kind.NONE
    late: ClassVar[Kind] = Kind.NONE

    @property
    def waits(self) -> tuple[Millis, ...]:
        """No look is needed."""
        return ()

    def refuses(self, told: Told) -> Bools:
        """Return the final rows without the event."""
        return told.finals() & ~told.happened

    def overtaken(self, told: Told) -> Bools:
        """Return no row: nothing comes after the end of a window."""
        return np.zeros(len(told), np.bool_)

    def probability(self, logit: Tensor, auxiliary: Mapping[str, Tensor]) -> Tensor:
        """Return the sigmoid of the logit."""
        return logit.sigmoid()


class Plain(Unhurried):
    """A base for methods whose loss is the cross entropy of what is told."""

    def loss(self, reading: Reading) -> Tensor:
        """Return the cross entropy."""
        return cross_entropy(reading.logit, reading.label)


def negative_log(logit: Tensor) -> Tensor:
    """Return -log p, p the sigmoid of the logit. (n,)"""
    return (-logit).logaddexp(logit.new_zeros(()))


def negative_log_not(logit: Tensor) -> Tensor:
    """Return -log(1 - p), p the sigmoid of the logit. (n,)"""
    return logit.logaddexp(logit.new_zeros(()))


def cross_entropy(logit: Tensor, label: Tensor) -> Tensor:
    """Return -label log p - (1 - label) log(1 - p), p the sigmoid of the logit. (n,)"""
    return negative_log_not(logit) - label * logit

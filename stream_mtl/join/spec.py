"""The declaration of a chain: which kinds of event follow which, and which tasks are asked about them."""

from dataclasses import dataclass
from typing import Literal, TypeAlias

from stream_mtl.clock import HOUR, Millis

Aggregate: TypeAlias = Literal["first", "last", "sum", "max", "count"]


@dataclass(frozen=True, slots=True)
class KindSpec:
    """One kind of event. The root has no `after`; every other kind has `after` and `within`."""

    name: str
    after: tuple[str, ...] = ()
    within: Millis | None = None  # closed, counted from the event it comes after
    skew: Millis = 0  # how far it may precede what it comes after
    id: str | None = None  # the field that makes two records the same event
    parent: str | None = None  # the field that names its parent's id


@dataclass(frozen=True, slots=True)
class TaskSpec:
    """One question about an exposure: did `event` happen, or what was its `value`.

    `waits` are the looks that the configured methods ask for, counted from the task's clock: the exposure's
    time, or the time of `given`'s event.
    """

    name: str
    event: str
    given: str | None = None  # a task: this one is defined only where that one's event happened
    value: str | None = None  # a numeric field of the event: a regression task
    how: Aggregate = "first"  # how several events make one value
    waits: tuple[Millis, ...] = ()

    @property
    def regression(self) -> bool:
        """Whether the task has a value beside its label."""
        return self.value is not None or self.how == "count"


@dataclass(frozen=True, slots=True)
class ChainSpec:
    """Everything the join needs to know."""

    key: tuple[str, ...]
    kinds: tuple[KindSpec, ...]  # the root first
    tasks: tuple[TaskSpec, ...]
    lateness: Millis = 0  # how far events may be out of order within one source partition
    remember: Millis = HOUR  # how long after the last moment a child could come an exposure is still known
    features_on_final: bool = False  # whether `final` tellings carry the exposure's fields
    max_events: int = 1_000  # of one kind in one exposure that count towards values; more are joined only
    before: KindSpec | None = None  # the kind of served scores, which come before the root, within `within`

    @property
    def root(self) -> KindSpec:
        """The kind whose events open exposures."""
        return self.kinds[0]

    @property
    def every_kind(self) -> tuple[KindSpec, ...]:
        """All kinds: that of the scores, if there is one, before the root, then the root and its children."""
        return self.kinds if self.before is None else (self.before, *self.kinds)

    def kind(self, name: str) -> KindSpec:
        """Return the kind of that name. Raises StopIteration."""
        return next(k for k in self.every_kind if k.name == name)

"""The declaration of a chain: which kinds of event follow which, and which tasks are asked about them."""

from dataclasses import dataclass, replace
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
    retracts: bool = (
        False  # it takes back the event that it comes after (decision 10); then `after` is one kind
    )


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
    less: tuple[str, str] | None = None  # of a sum: the kind that gives some of it back, and its field
    absent: bool = False  # it asks whether the event does not come; the join tells of the event all the same
    retracted: bool = False  # its event may be taken back; a `ChainSpec` works it out
    unsure: bool = False  # the same, or that of a task that it is given

    def __repr__(self) -> str:
        """Say what it is; of what came in with decision 10, only what is there: weights are bound to this text."""
        new = {name: getattr(self, name) for name in ("less", "absent", "retracted", "unsure")}
        said = {name: getattr(self, name) for name in self.__slots__ if name not in new}
        said |= {name: value for name, value in new.items() if value}
        return f"TaskSpec({', '.join(f'{name}={value!r}' for name, value in said.items())})"

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

    def __post_init__(self) -> None:
        """Work out which tasks ask for an event that may be taken back."""
        tasks = tuple(replace(t, retracted=self._retracted(t), unsure=self._unsure(t)) for t in self.tasks)
        object.__setattr__(self, "tasks", tasks)

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

    def retracting(self, kind: str) -> tuple[KindSpec, ...]:
        """Return the kinds whose events take back one of that kind."""
        return tuple(k for k in self.kinds if k.retracts and k.after == (kind,))

    def patience(self, task: TaskSpec) -> Millis:
        """Return for how long after the end of its window what a task asks for may still change."""
        kinds = self.retracting(task.event) if task.retracted else ()
        if task.less is not None:
            kinds = (self.kind(task.less[0]),)
        return max((kind.within or 0 for kind in kinds), default=0)

    def _unsure(self, task: TaskSpec) -> bool:
        given = next((other for other in self.tasks if other.name == task.given), None)
        return self._retracted(task) or (given is not None and self._unsure(given))

    def _retracted(self, task: TaskSpec) -> bool:
        # What is given back of a sum is in it by its amount: there every event counts, taken back or not.
        return task.less is None and bool(self.retracting(task.event))

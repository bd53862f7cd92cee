"""What is known about one exposure, and what that makes true as time passes: the definition of a chain.

Everything here is a pure function of the events that joined. `at` asks what was known at that instant: events
with a later time are as if they had never come. `docs/decisions/0001-what-a-chain-means.md` has the rules,
`0010-what-is-taken-back.md` those of events that take another back.

    >>> hour = 3_600_000
    >>> spec = ChainSpec(
    ...     key=("id",),
    ...     kinds=(KindSpec("view"), KindSpec("click", after=("view",), within=hour)),
    ...     tasks=(TaskSpec("ctr", "click"),),
    ... )
    >>> seen = Chain(spec, number=0, key=("a",), time=0, fields={})
    >>> [(row.told, row.kind.name, row.states[0].label) for row in tellings(seen, upto=hour)]
    [(0, 'EXPOSED', None), (3600000, 'FINAL', 0)]
    >>> clicked = record(seen, Fact("click", time=5, event_time=5, place=(0, 0), fields={}))
    >>> state(clicked, spec.tasks[0], at=4).label, state(clicked, spec.tasks[0], at=5).label
    (None, 1)
"""

from bisect import bisect_right
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, TypeAlias

from stream_mtl.clock import END, Millis
from stream_mtl.errors import ConfigError
from stream_mtl.join.spec import Aggregate, ChainSpec, KindSpec, TaskSpec
from stream_mtl.join.transitions import Telling

Key: TypeAlias = tuple[Any, ...]

AGGREGATES: Mapping[Aggregate, Callable[[Sequence[float]], float]] = {
    "first": lambda values: values[0],
    "last": lambda values: values[-1],
    "sum": sum,
    "max": max,
}  # "count" counts events, whatever is in their fields


@dataclass(frozen=True, slots=True)
class Fact:
    """An event that joined an exposure."""

    kind: str
    time: Millis  # when it counts: its event time, or its parent's time where that is later
    event_time: Millis
    place: tuple[int, int]  # (partition, position): decides between events of the same instant
    fields: Mapping[str, Any]
    parent: tuple[int, int] | None = None  # of a retracting kind: the place of the event that it takes back

    @property
    def order(self) -> tuple[Millis, Millis, tuple[int, int]]:
        """The order of events of one kind in one exposure."""
        return self.time, self.event_time, self.place


@dataclass(frozen=True, slots=True)
class Chain:
    """One exposure and every event that joined it."""

    spec: ChainSpec
    number: int
    key: Key
    time: Millis
    fields: Mapping[str, Any]
    facts: Mapping[str, tuple[Fact, ...]] = field(default_factory=dict)  # by kind, in their order


@dataclass(frozen=True, slots=True)
class Run:
    """The last time that events of a kind stood, without a break: since when, and until when (None: they do)."""

    since: Millis | None = None
    until: Millis | None = None
    gone: Millis | None = None  # when the first run was over

    def at(self, time: Millis, stands: bool) -> "Run":
        """Return what it is from an instant on at which some event stands, or none does."""
        if stands == (self.since is not None and self.until is None):
            return self
        if stands:
            return Run(time, None, self.gone)
        return Run(self.since, time, time if self.gone is None else self.gone)


@dataclass(frozen=True, slots=True)
class State:
    """What is known of a task: label 1, 0 or not yet (None), the time of its event, its value.

    Where it may be taken back, besides, since when its event stands, or stood until just now, and when first none stood
    any more.
    """

    label: int | None = None
    at: Millis | None = None
    value: float | None = None
    came: Millis | None = None
    gone: Millis | None = None


@dataclass(frozen=True, slots=True)
class Row:
    """One telling: what was known of every task of an exposure at the instant `told`."""

    told: Millis
    kind: Telling
    exposure: int
    time: Millis  # of the exposure
    wait: Millis | None  # of a look
    tasks: int  # bit i: the row is about task i
    key: Key
    states: tuple[State, ...]  # of every task, in order of declaration
    fields: Mapping[str, Any] | None  # of the exposure, where the row carries them

    @property
    def order(self) -> tuple[int, ...]:
        """The order in which rows are told."""
        return self.told, self.kind, self.exposure, -1 if self.wait is None else self.wait, self.tasks


def record(chain: Chain, fact: Fact) -> Chain:
    """Add an event that joined."""
    facts = chain.facts.get(fact.kind, ())
    place = bisect_right(facts, fact.order, key=lambda known: known.order)
    return replace(chain, facts={**chain.facts, fact.kind: (*facts[:place], fact, *facts[place:])})


def first(chain: Chain, kind: str, at: Millis) -> Millis | None:
    """Return when a kind first happened, None if it had not by `at`. The root happens with the exposure."""
    facts = chain.facts.get(kind, ())
    time = chain.time if kind == chain.spec.root.name else facts[0].time if facts else None
    return time if time is not None and time <= at else None


def last(chain: Chain, kind: str, at: Millis) -> Millis:
    """Return when a kind that had happened by `at` had last happened by then."""
    facts = chain.facts[kind]
    return facts[bisect_right(facts, at, key=lambda fact: fact.time) - 1].time


def run(chain: Chain, kind: str, at: Millis) -> Run:
    """Return the last run of a kind by `at`. An event stands from its time on, until another takes it back."""
    if kind == chain.spec.root.name:
        return Run(chain.time)
    backs = [fact for child in chain.spec.retracting(kind) for fact in chain.facts.get(child.name, ())]
    gone = {fact.parent: fact.time for fact in sorted(backs, key=lambda fact: fact.time, reverse=True)}
    spans = [(fact.time, gone.get(fact.place, END)) for fact in chain.facts.get(kind, ())]
    last = Run()
    for time in sorted({time for span in spans for time in span if time <= at}):
        last = last.at(time, any(come <= time < back for come, back in spans))
    return last


def since(chain: Chain, kind: str, at: Millis) -> Millis | None:
    """Return since when, without a break, some event of a kind has stood; None if none stands at `at`."""
    last = run(chain, kind, at)
    return last.since if last.until is None else None


def within(kind: KindSpec) -> Millis:
    """Return the window of a child kind. Raises ConfigError where it has none."""
    if kind.within is None:
        raise ConfigError(f"events.{kind.name} has no `within`: say how long after {kind.after} it counts")
    return kind.within


def end(chain: Chain, kind: str, at: Millis) -> Millis:
    """Return the moment after which no event of this child kind can join any more.

    It moves when a kind that this one comes after happens, never once it has passed.
    """
    child = chain.spec.kind(kind)
    return max(_end_after(chain, child, parent, at) for parent in child.after)


def _end_after(chain: Chain, child: KindSpec, parent: str, at: Millis) -> Millis:
    if parent == chain.spec.root.name:
        return chain.time + within(child)
    happened = first(chain, parent, at)
    if happened is None:
        return end(chain, parent, at)
    if child.parent is None:
        return happened + within(child)
    # A child that names its parent may follow any event of that kind, also one that is still to come.
    return max(last(chain, parent, at) + within(child), end(chain, parent, at))


def close(chain: Chain, task: TaskSpec, at: Millis) -> Millis:
    """Return the moment after which nothing changes a task any more: its event can neither come nor be taken back.

    Nor can, on the way to it, the events of the tasks that it is given. It is as far from the end of the window whether
    the event came or not: else labels of one kind would be final before those of the other.
    """
    own = end(chain, task.event, at) + chain.spec.patience(task)
    given = task.given
    while given is not None:
        before = _task(chain, given)
        if before.retracted:
            own = max(own, end(chain, before.event, at) + chain.spec.patience(before))
        given = before.given
    return own


def known(chain: Chain, at: Millis) -> bool:
    """Return whether a child may still find the exposure by its key. What is forgotten stays so."""
    ends = [end(chain, child.name, at) for child in chain.spec.kinds[1:]]
    return at <= max(ends, default=chain.time) + chain.spec.remember


def life(spec: ChainSpec) -> Millis:
    """Return how long after an exposure its last window ends if nothing happens to it."""
    chain = Chain(spec, 0, (), 0, {})
    return max((end(chain, child.name, at=0) for child in spec.kinds[1:]), default=0)


def parent_time(chain: Chain, kind: str, event_time: Millis, at: Millis) -> Millis | None:
    """Return the time of what a child found by key comes after, None if that had not happened by `at`."""
    child = chain.spec.kind(kind)
    times = [time for parent in child.after if (time := first(chain, parent, at)) is not None]
    before = [time for time in times if time <= event_time]
    soon = [time for time in times if event_time < time <= event_time + child.skew]
    return before[0] if before else min(soon, default=None)


def start(chain: Chain, task: TaskSpec, at: Millis) -> Millis | None:
    """Return when a task's clock started, None if it had not by `at`."""
    if task.given is None:
        return chain.time
    return _begun(chain, _task(chain, task.given), at)


def state(chain: Chain, task: TaskSpec, at: Millis) -> State:
    """Return what was known of a task."""
    known = _state(chain, task, at)
    if not task.unsure:
        return known
    if not task.retracted:
        return replace(known, came=first(chain, task.event, at))
    last = run(chain, task.event, at)
    return replace(known, came=last.since if last.until in (None, at) else None, gone=last.gone)


def _state(chain: Chain, task: TaskSpec, at: Millis) -> State:
    if task.given is not None and state(chain, _task(chain, task.given), at).label != 1:
        return State()
    happened = _begun(chain, task, at)
    if happened is not None:
        return State(1, happened, value(chain, task, at) if task.regression else None)
    return State(0 if end(chain, task.event, at) <= at else None)


def _begun(chain: Chain, task: TaskSpec, at: Millis) -> Millis | None:
    """Return since when a task's label is 1, if it is, whatever it is given."""
    return (since if task.retracted else first)(chain, task.event, at)


def value(chain: Chain, task: TaskSpec, at: Millis) -> float | None:
    """Return the aggregate over the events that count, None where none of them has the field.

    Events that were taken back are among them. What `less` names is subtracted.
    """
    facts = [fact for fact in chain.facts[task.event][: chain.spec.max_events] if fact.time <= at]
    if task.how == "count":
        return float(len(facts))
    present = _numbers(chain, task.event, task.value or "", at)
    if not present:
        return None
    back = sum(_numbers(chain, *task.less, at)) if task.less is not None else 0.0
    return AGGREGATES[task.how](present) - back


def _numbers(chain: Chain, kind: str, name: str, at: Millis) -> list[float]:
    facts = [fact for fact in chain.facts.get(kind, ())[: chain.spec.max_events] if fact.time <= at]
    values = [fact.fields.get(name) for fact in facts]
    return [float(number) for number in values if number is not None]


def tellings(chain: Chain, upto: Millis) -> list[Row]:
    """Return all that is told of an exposure up to and including an instant, in order."""
    return [row for at in sorted(moments(chain, upto)) if at <= upto for row in told_at(chain, at)]


def moments(chain: Chain, at: Millis) -> set[Millis]:
    """Return every instant at which, by what was known at `at`, something may be told."""
    times: set[Millis | None] = {chain.time}
    for task in chain.spec.tasks:
        begun = start(chain, task, at)
        times |= {begun + wait for wait in task.waits} if begun is not None else set()
        last = run(chain, task.event, at)
        times |= {first(chain, task.event, at), last.since, last.until, close(chain, task, at)}
    return {time for time in times if time is not None}


def told_at(chain: Chain, at: Millis) -> list[Row]:
    """Return the rows that are told at one instant: one a reason to tell, with the tasks that have it."""
    reasons: defaultdict[tuple[Telling, Millis | None], int] = defaultdict(int)
    if at == chain.time:
        reasons[Telling.EXPOSED, None] = 0
    for bit, task in enumerate(chain.spec.tasks):
        for reason in set(_reasons(chain, task, at)):
            reasons[reason] |= 1 << bit
    rows = [_row(chain, at, kind, wait, tasks) for (kind, wait), tasks in reasons.items()]
    return sorted(rows, key=lambda row: row.order)


def _reasons(chain: Chain, task: TaskSpec, at: Millis) -> Iterator[tuple[Telling, Millis | None]]:
    started = start(chain, task, at)
    ends = end(chain, task.event, at)
    if started is not None and task.waits:
        yield from ((Telling.LOOK, wait) for wait in task.waits if started + wait == at <= ends)
        if _begun(chain, task, at) == at > started + min(task.waits):
            yield Telling.EVENT, None
    if close(chain, task, at) == at:
        yield Telling.FINAL, None
    if task.retracted and run(chain, task.event, at).until == at:
        yield Telling.RETRACTED, None


def _row(chain: Chain, at: Millis, kind: Telling, wait: Millis | None, tasks: int) -> Row:
    states = tuple(state(chain, task, at) for task in chain.spec.tasks)
    carries = kind is not Telling.FINAL or chain.spec.features_on_final
    fields = chain.fields if carries else None
    return Row(at, kind, chain.number, chain.time, wait, tasks, chain.key, states, fields)


def _task(chain: Chain, name: str) -> TaskSpec:
    return next(task for task in chain.spec.tasks if task.name == name)

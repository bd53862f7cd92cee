"""The join by brute force, sharing no code with the joiner: what is told is read off at every instant."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, NamedTuple

from stream_mtl.clock import Millis
from stream_mtl.join.spec import ChainSpec, TaskSpec

from .brute_world import FATES, BruteRecord, Exposure, Fact, Fate, View, World, settle, watermark_of

EXPOSED, LOOK, EVENT, FINAL, RETRACTED = range(5)


class TaskState(NamedTuple):
    """What is known of one task."""

    label: int | None
    at: Millis | None
    value: Any
    came: Millis | None = None
    gone: Millis | None = None


@dataclass(frozen=True, slots=True)
class BruteRow:
    """One telling. `wait` is 0 but for looks; bit i of `tasks` is the chain's task i."""

    told: Millis
    kind: int
    exposure: int
    time: Millis
    wait: Millis
    tasks: int
    key: tuple[Any, ...]
    states: tuple[TaskState, ...]  # of every task, in the chain's order
    fields: dict[str, Any] | None


@dataclass(frozen=True, slots=True)
class BruteResult:
    """All rows in order, the accounts of every kind, and the fate of every record in the order of the input.

    The fate of a record that no kind wants is None; it is in no account.
    """

    rows: list[BruteRow]
    accounts: dict[str, dict[str, int]]
    fates: list[Fate | None]
    watermark: Millis


def brute_join(
    chain: ChainSpec,
    records: list[BruteRecord],
    partitions: list[tuple[str, int]],
    ended: bool,
    watermark: Millis | None = None,
) -> BruteResult:
    """Join all records at once, with what the watermark has passed (computed, or given) told.

    The list is in order of arrival, each (source, partition) in order of position. Every integer
    instant up to the watermark is looked at, so event times must lie close together.
    """
    facts = [Fact(i, r) for i, r in enumerate(records) if r.kind in {k.name for k in chain.kinds}]
    if watermark is None:
        watermark = watermark_of(chain, facts, partitions, ended)
    world = settle(chain, facts, watermark)
    fates = [world.fate(i) for i in range(len(records))]
    rows = sorted((row for x in world.exposures for row in tellings(world, x)), key=order_of_rows)
    return BruteResult(rows, accounts(chain, facts, fates), fates, watermark)


def order_of_rows(row: BruteRow) -> tuple[int, ...]:
    """Section 7, the last sentence but one."""
    return row.told, row.kind, row.exposure, row.wait, row.tasks


def accounts(
    chain: ChainSpec, facts: Sequence[Fact], fates: Sequence[Fate | None]
) -> dict[str, dict[str, int]]:
    """Count every record read once."""
    return {
        k.name: {fate: sum(f.kind == k.name and fates[f.index] == fate for f in facts) for fate in FATES}
        for k in chain.kinds
    }


# 6. State of a task


def start(view: View, task: TaskSpec) -> Millis | None:
    """Return when the task's clock began, if it did."""
    return view.e if task.given is None else begun(view, given(view, task))


def given(view: View, task: TaskSpec) -> TaskSpec:
    """Return the task that this one is given."""
    return next(g for g in view.chain.tasks if g.name == task.given)


def label(view: View, task: TaskSpec, at: Millis) -> int | None:
    """Return 1, 0, or None where it is undefined or not known yet."""
    if task.given is not None and label(view, given(view, task), at) != 1:
        return None
    if begun(view, task, at) is not None:
        return 1
    return 0 if view.ends[task.event] <= at else None


def may_go(view: View, task: TaskSpec) -> bool:
    """Whether what the task asks for may be taken back. In a sum with `less` all events count."""
    return task.less is None and any(k.retracts and task.event in k.after for k in view.chain.kinds)


def history(view: View, kind: str, upto: Millis) -> list[bool]:
    """Return, instant by instant from the exposure on, whether an event of the kind stands."""
    return [view.stands(kind, at) for at in range(view.e, upto + 1)]


def begun(view: View, task: TaskSpec, at: Millis | None = None) -> Millis | None:
    """Return since when an event of the task's kind stands; without an instant, at the latest one that is seen."""
    if not may_go(view, task):
        return view.first(task.event)
    upto = max([view.e, *(j.time for events in view.seen.values() for j in events)]) if at is None else at
    stood = history(view, task.event, upto)
    if not stood[-1]:
        return None
    return upto - stood[::-1].index(False) + 1 if False in stood else view.e


def came_and_gone(view: View, task: TaskSpec, at: Millis) -> tuple[Millis | None, Millis | None]:
    """Return since when its event stands, or stood until the instant before, and when first none stood any more.

    Only where that may be: its own event may be taken back, or that of a task it is given.
    """
    if not may_go(view, task):
        above, unsure = task, False
        while above.given is not None:
            above = given(view, above)
            unsure = unsure or may_go(view, above)
        return (view.first(task.event) if unsure else None), None
    stood = [False, *history(view, task.event, at)]
    turns = [(view.e + i, now) for i, (was, now) in enumerate(pairwise(stood)) if was != now]
    came = [when for when, now in turns if now]
    gone = [when for when, now in turns if not now]
    stood_lately = view.stands(task.event, at) or view.stands(task.event, at - 1)
    return came[-1] if came and stood_lately else None, gone[0] if gone else None


def final(view: View, task: TaskSpec) -> Millis:
    """Return when the task is settled: the end of its window, and as long again as it may be taken back or reduced.

    The tasks that it is given must be settled too, if they may be taken back.
    """
    takers = [k for k in view.chain.kinds if k.retracts and task.event in k.after and may_go(view, task)]
    takers += [k for k in view.chain.kinds if task.less is not None and k.name == task.less[0]]
    settled = view.ends[task.event] + max((k.within or 0 for k in takers), default=0)
    above, name = [], task.given
    while name is not None:
        above.append(next(t for t in view.chain.tasks if t.name == name))
        name = above[-1].given
    for other in above:
        waits = [k.within or 0 for k in view.chain.kinds if k.retracts and other.event in k.after]
        if may_go(view, other):
            settled = max(settled, view.ends[other.event] + max(waits))
    return settled


def value(view: View, task: TaskSpec) -> Any:
    """Return what the task's aggregate makes of the first `max_events` events."""
    events = view.seen[task.event][: view.chain.max_events]
    values = [v for j in events if (v := j.fact.get(task.value)) is not None]
    if task.how == "count":
        return len(events) or None
    if not values:
        return None
    whole = {"first": values[0], "last": values[-1], "sum": sum(values), "max": max(values)}[task.how]
    if task.less is None:
        return whole
    kind, name = task.less
    back = [j.fact.get(name) for j in view.seen[kind][: view.chain.max_events]]
    return whole - sum(v for v in back if v is not None)


def state(view: View, task: TaskSpec, at: Millis) -> TaskState:
    """Return what is known of a task at an instant."""
    known, turns = label(view, task, at), came_and_gone(view, task, at)
    if known != 1:
        return TaskState(known, None, None, *turns)
    return TaskState(1, begun(view, task, at), value(view, task) if task.regression else None, *turns)


# 7. What is told


def tellings(world: World, exposure: Exposure) -> Iterator[BruteRow]:
    """Read off what is told at every instant of an exposure that the watermark has passed."""
    changes = {j.time for k in world.chain.kinds for j in world.events.get((exposure.number, k.name), ())}
    for at in range(exposure.e, world.watermark):
        if at == exposure.e or at in changes:
            view = world.view(exposure, at)
        for (kind, wait), tasks in told_at(view, at).items():
            features = kind != FINAL or world.chain.features_on_final
            states = tuple(state(view, task, at) for task in world.chain.tasks)
            yield BruteRow(
                at, kind, exposure.number, exposure.e, wait, tasks, exposure.key, states,
                exposure.root.record.fields if features else None,
            )  # fmt: skip


def told_at(view: View, at: Millis) -> dict[tuple[int, Millis], int]:
    """Return (kind, wait) -> tasks of all that is told at an instant."""
    told = {(EXPOSED, 0): 0} if at == view.e else {}
    for i, task in enumerate(view.chain.tasks):
        for what in reasons(view, task, at):
            told[what] = told.get(what, 0) | 1 << i
    return told


def reasons(view: View, task: TaskSpec, at: Millis) -> Iterator[tuple[int, Millis]]:
    """Yield why a task is told at an instant: (kind, wait)."""
    began, first, end = start(view, task), begun(view, task, at), view.ends[task.event]
    if began is not None and at <= end:
        yield from ((LOOK, wait) for wait in task.waits if began + wait == at)
    if task.waits and began is not None and first == at and first > began + min(task.waits):
        yield EVENT, 0
    if final(view, task) == at:
        yield FINAL, 0
    if may_go(view, task) and view.stands(task.event, at - 1) and not view.stands(task.event, at):
        yield RETRACTED, 0

"""The join by brute force, sharing no code with the joiner: what is told is read off at every instant."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from stream_mtl.clock import Millis
from stream_mtl.join.spec import ChainSpec, TaskSpec

from .brute_world import FATES, BruteRecord, Exposure, Fact, Fate, View, World, settle, watermark_of

EXPOSED, LOOK, EVENT, FINAL = range(4)


class TaskState(NamedTuple):
    """What is known of one task."""

    label: int | None
    at: Millis | None
    value: Any


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
    return view.e if task.given is None else view.first(given(view, task).event)


def given(view: View, task: TaskSpec) -> TaskSpec:
    """Return the task that this one is given."""
    return next(g for g in view.chain.tasks if g.name == task.given)


def label(view: View, task: TaskSpec, at: Millis) -> int | None:
    """Return 1, 0, or None where it is undefined or not known yet."""
    if task.given is not None and label(view, given(view, task), at) != 1:
        return None
    if view.first(task.event) is not None:
        return 1
    return 0 if view.ends[task.event] <= at else None


def value(view: View, task: TaskSpec) -> Any:
    """Return what the task's aggregate makes of the first `max_events` events."""
    events = view.seen[task.event][: view.chain.max_events]
    values = [v for j in events if (v := j.fact.get(task.value)) is not None]
    if task.how == "count":
        return len(events) or None
    if not values:
        return None
    return {"first": values[0], "last": values[-1], "sum": sum(values), "max": max(values)}[task.how]


def state(view: View, task: TaskSpec, at: Millis) -> TaskState:
    """Return what is known of a task at an instant."""
    known = label(view, task, at)
    if known != 1:
        return TaskState(known, None, None)
    return TaskState(1, view.first(task.event), value(view, task) if task.regression else None)


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
    began, first, end = start(view, task), view.first(task.event), view.ends[task.event]
    if began is not None and at <= end:
        yield from ((LOOK, wait) for wait in task.waits if began + wait == at)
    if task.waits and began is not None and first == at and first > began + min(task.waits):
        yield EVENT, 0
    if end == at:
        yield FINAL, 0

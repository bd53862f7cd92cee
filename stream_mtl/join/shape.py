"""What follows from a chain's declaration alone: order of kinds, ends of windows, and when anything can be due."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from stream_mtl.clock import END, Millis
from stream_mtl.join.search import Ints
from stream_mtl.join.spec import ChainSpec, KindSpec, TaskSpec

Basis = tuple[str, Millis]
"""A due time: so many milliseconds after an event of a kind (the root: after the exposure)."""


@dataclass(frozen=True, slots=True)
class Shape:
    """A chain spec with everything that the columns need worked out once."""

    chain: ChainSpec
    children: tuple[KindSpec, ...]  # parents before children
    life: Millis  # of an exposure to which nothing happens
    untouched_end: Mapping[str, Millis]  # kind -> end of its window, from the exposure, if nothing happens
    root_offsets: tuple[Millis, ...]  # times after the exposure at which something may be due
    dues: Mapping[str, tuple[Millis, ...]]  # child kind -> times after its (first) event likewise
    named: frozenset[str]  # kinds that another kind names as its parent
    prolonging: frozenset[str]  # child kinds that others come after: their events prolong an exposure
    apart: frozenset[str]  # child kinds that do not come after all of the prolonging ones
    tasks_of: Mapping[str, int]  # kind -> bits of the tasks that ask for it
    closers: Mapping[
        str, tuple[tuple[str, Millis], ...]
    ]  # task -> (kind, patience): final so long after its end
    retracted: frozenset[str]  # kinds whose events others take back
    sums: Mapping[str, tuple[TaskSpec, ...]]  # kind -> what adds up its events

    def ends(self, exposed: Ints, first: Mapping[str, Ints], last: Mapping[str, Ints]) -> dict[str, Ints]:
        """Return the end of every kind's window, per exposure (decision 1, section 4). END in `first`: not yet.

        `last` may hold events after the moment asked about: they can only come while the end of their own
        window is still ahead, and then so is the end that is asked for.
        """
        root = self.chain.root.name
        ends: dict[str, Ints] = {}
        for kind in self.children:
            assert kind.within is not None
            end = np.full(len(exposed), -END)
            for parent in kind.after:
                if parent == root:
                    candidate = exposed + kind.within
                elif kind.parent is not None:
                    happened = first[parent] < END
                    later = np.maximum(last[parent] + kind.within, ends[parent])
                    candidate = np.where(happened, later, ends[parent])
                else:
                    candidate = np.where(first[parent] < END, first[parent] + kind.within, ends[parent])
                end = np.maximum(end, candidate)
            ends[kind.name] = end
        return ends

    def start_of(self, task: TaskSpec) -> TaskSpec | None:
        """Return the task whose event starts the task's clock; None: the exposure."""
        return None if task.given is None else self.task(task.given)

    def untouched_close(self, task: TaskSpec) -> Millis:
        """Return how long after an exposure to which nothing happens the task is final."""
        return max(self.untouched_end[kind] + patience for kind, patience in self.closers[task.name])

    def close(self, task: TaskSpec, ends: Mapping[str, Ints]) -> Ints:
        """Return when the task is final, knowing the ends of the kinds' windows (decision 10). (n,)"""
        (kind, patience), *others = self.closers[task.name]
        close = ends[kind] + patience if patience else ends[kind]
        for kind, patience in others:
            close = np.maximum(close, ends[kind] + patience)
        return close

    @property
    def patience(self) -> Millis:
        """The longest time for which anything may change after the end of its window."""
        return max((patience for closers in self.closers.values() for _, patience in closers), default=0)

    def memory(self, kind: KindSpec) -> Millis:
        """Return how long a standing record's id is remembered (decision 1, section 2)."""
        own = self.life if kind.within is None else kind.within
        namers = [k for k in self.children if k.parent is not None and kind.name in k.after]
        return max(own, *((k.within or 0) + k.skew for k in namers), 0) + self.chain.remember

    def task(self, name: str) -> TaskSpec:
        """Return the task of that name. Raises KeyError if there is none."""
        return next(t for t in self.chain.tasks if t.name == name)

    @property
    def reach(self) -> Millis:
        """How far back lies what can still bear on what is told now (decision 8).

        The longest life of an exposure, with all its windows one after the other, the looks behind them and the time
        that it and its events are remembered; twice, for what happens to one may decide what happens to the next.
        """
        longest = {self.chain.root.name: 0}
        for kind in self.children:
            longest[kind.name] = max(longest[p] for p in kind.after) + (kind.within or 0) + kind.skew
        alive = max(longest.values()) + max(self.waits, default=0) + self.chain.remember
        before = self.chain.before
        ahead = 0 if before is None or before.within is None else before.within
        return 2 * (max(alive, *(self.memory(kind) for kind in self.chain.every_kind)) + ahead)

    @property
    def waits(self) -> tuple[Millis, ...]:
        """All waits of all tasks, ascending."""
        return tuple(sorted({wait for task in self.chain.tasks for wait in task.waits}))


def shape_of(chain: ChainSpec) -> Shape:
    """Work a chain spec out. Raises ValueError for a cycle or an unknown kind."""
    children = _parents_first(chain)
    untouched: dict[str, Millis] = {}
    due: dict[str, set[Basis]] = {}
    root = chain.root.name
    for kind in children:
        assert kind.within is not None
        untouched[kind.name] = max(kind.within if p == root else untouched[p] for p in kind.after)
        due[kind.name] = set()
        for parent in kind.after:
            due[kind.name] |= {(parent, kind.within)} | due.get(parent, set())
    prolonging = frozenset(p for k in children for p in k.after if p != root)
    bases = set().union(*due.values()) | {
        (_start_kind(chain, task), wait) for task in chain.tasks for wait in task.waits
    }
    closers = {task.name: _closers(chain, task) for task in chain.tasks}
    for closing, patience in {closer for some in closers.values() for closer in some}:
        bases |= {(basis, offset + patience) for basis, offset in due[closing]}
    return Shape(
        chain=chain,
        children=children,
        life=max(untouched.values()),
        untouched_end=untouched,
        root_offsets=tuple(sorted({offset for kind, offset in bases if kind == root})),
        dues={k.name: tuple(sorted({o for kind, o in bases if kind == k.name})) for k in children},
        named=frozenset(p for k in children if k.parent is not None for p in k.after if p != root),
        prolonging=prolonging,
        apart=frozenset(name for name, above in _ancestors(children).items() if not prolonging <= above),
        tasks_of={
            k.name: sum(1 << i for i, task in enumerate(chain.tasks) if task.event == k.name)
            for k in chain.kinds
        },
        closers=closers,
        retracted=frozenset(k.after[0] for k in children if k.retracts),
        sums={k.name: tuple(_sums(chain, k.name)) for k in children},
    )


def _closers(chain: ChainSpec, task: TaskSpec) -> tuple[tuple[str, Millis], ...]:
    """Return the kinds whose windows must end, and how long ago, before nothing changes the task any more."""
    found = [(task.event, chain.patience(task))]
    by_name = {other.name: other for other in chain.tasks}
    while task.given is not None:
        task = by_name[task.given]
        if task.retracted:
            found.append((task.event, chain.patience(task)))
    return tuple(dict.fromkeys(found))


def less_of(task: TaskSpec) -> TaskSpec:
    """Return what adds up that which is given back of a sum."""
    assert task.less is not None
    kind, name = task.less
    return TaskSpec(f"{task.name}-", kind, value=name, how="sum")


def _sums(chain: ChainSpec, kind: str) -> Iterator[TaskSpec]:
    for task in chain.tasks:
        if task.regression and task.event == kind:
            yield task
        if task.less is not None and task.less[0] == kind:
            yield less_of(task)


def _ancestors(children: tuple[KindSpec, ...]) -> dict[str, set[str]]:
    """Return the kinds that each kind comes after, whether directly or not."""
    above: dict[str, set[str]] = {}
    for kind in children:
        above[kind.name] = set(kind.after).union(*(above.get(parent, ()) for parent in kind.after))
    return above


def _start_kind(chain: ChainSpec, task: TaskSpec) -> str:
    if task.given is None:
        return chain.root.name
    return next(t.event for t in chain.tasks if t.name == task.given)


def _parents_first(chain: ChainSpec) -> tuple[KindSpec, ...]:
    done: list[KindSpec] = []
    names = {chain.root.name}
    waiting = list(chain.kinds[1:])
    while waiting:
        ready = [kind for kind in waiting if set(kind.after) <= names]
        if not ready:
            raise ValueError(
                f"kinds {[k.name for k in waiting]} come after each other, or after an unknown kind"
            )
        done += ready
        names |= {kind.name for kind in ready}
        waiting = [kind for kind in waiting if kind.name not in names]
    return tuple(done)

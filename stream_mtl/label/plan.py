"""What the tasks of a chain teach together: one emitter over transitions, made of tasks and their methods.

Tasks mature at their own pace. An example holds, per lesson, a label and a weight; weight 0 says "not told".
A *lesson* is one of

- a task, taught where it is defined: if it is given another, on that one's positives only;
- a task that is given another, taught over all exposures: its label is the product along its chain (ESMM's
  ctcvr), and its name is "joint.cvr". Such a task may also be taught `apart`, where it is defined: two lessons.

How they play together:

1. A lesson is told by the emissions of its own task's method, and masked everywhere else. So a correction of
   one task never carries a term of another.
2. A joint lesson is also told a zero whenever the method of a task before it in the chain has its last word
   that the event did not come: an unclicked row teaches ctr = 0 and joint.cvr = 0 at once, a clicked one
   comes back with ctr masked when the conversion's method says so.
3. If the event of a task before it came after that last word (a click 20 minutes late under "wait:15m"), the
   zero stands: nothing more of that exposure is told to the joint lesson, so that each counts once in it.
4. Where the event of a task before it may be taken back, the first time that this happens is the last word too: what was
   told of the product is undone, or a zero told where nothing was; nothing more of that exposure is told to the joint
   lesson. (Where everything waits for the end, the end says it all.)
5. A value is taught once, at the end of its own window, where there is one. A sum or a count is zero where
   the event did not come; a first, last or greatest value is then not told.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from stream_mtl.clock import Millis
from stream_mtl.errors import ConfigError, StateError
from stream_mtl.join.spec import Aggregate, ChainSpec, TaskSpec
from stream_mtl.join.transitions import Transitions
from stream_mtl.label.base import DelayedFeedback, Emitted, Kind, Plain, seconds, together
from stream_mtl.label.dfm import DelayModel
from stream_mtl.label.examples import Examples, merge
from stream_mtl.label.oracle import Truth
from stream_mtl.label.taken_back import Complement, Retractable, undone
from stream_mtl.label.told import Bools, Told, tell
from stream_mtl.label.wait import Mature

Labels: TypeAlias = Mapping[str, npt.NDArray[Any]]
"""Labels by task, (n,) each, of rows that arrive with them."""

_ZERO_WITHOUT_EVENT: frozenset[Aggregate] = frozenset({"sum", "count"})


@dataclass(frozen=True, slots=True)
class Lesson:
    """One thing to be learned: a column of targets, and the loss that goes with it."""

    name: str
    task: TaskSpec
    method: DelayedFeedback  # of a value: Mature
    path: tuple[str, ...] = ()  # of a joint lesson: the tasks before this one, the first of the chain first

    @property
    def joint(self) -> bool:
        """Whether it is taught over all exposures although its task is not defined on all."""
        return bool(self.path)


@dataclass(frozen=True, slots=True)
class Space:
    """How much a task's rows count inside and outside of what another task says: label or value above zero."""

    of: str  # the task that says it
    inside: float = 1.0
    outside: float = 1.0

    def weights(self, inside: Bools) -> npt.NDArray[np.float32]:
        """Return the weight of every row. (n,)"""
        return np.where(inside, np.float32(self.inside), np.float32(self.outside))


Spaces: TypeAlias = Mapping[str, Space]
"""By task."""


def joint_name(task: str) -> str:
    """Return the name of the lesson that teaches a task over all exposures."""
    return f"joint.{task}"


def products(tasks: Sequence[TaskSpec]) -> tuple[str, ...]:
    """Return every label that is given another task: what a product along the chain is taught for.

    One that asks whether an event does not come is none: the product of its event is no label of its own.
    """
    return tuple(
        task.name for task in tasks if task.given is not None and not task.regression and not task.absent
    )


class Plan:
    """The lessons of some tasks, and the emitter of their examples."""

    def __init__(
        self,
        tasks: Sequence[TaskSpec],
        methods: Mapping[str, DelayedFeedback] | None = None,
        joint: Collection[str] = (),
        apart: Collection[str] = (),
        spaces: "Spaces | None" = None,
        row_weights: Mapping[str, str] | None = None,
    ) -> None:
        """Methods are by task, `Mature` where none is named; `joint` tasks are taught over all exposures.

        Those of them that are `apart` too are also taught where they are defined. `spaces` weigh a task's rows
        by another task, `row_weights` by a column of the exposures' fields.
        Raises ConfigError for an unknown task, a value with a method, a joint task that is not given another.
        """
        self.tasks = tuple(tasks)
        self._by_name = {task.name: task for task in tasks}
        chosen = dict(methods or {})
        _check(self._by_name, chosen, joint)
        self.spaces = dict(spaces or {})
        _check_spaces(self._by_name, self.spaces)
        self.row_weights = dict(row_weights or {})
        self.methods: Mapping[str, DelayedFeedback] = {t.name: chosen.get(t.name, Mature()) for t in tasks}
        self.lessons = tuple(
            self._lesson(task, jointly)
            for task in tasks
            for jointly in ((True, False) if task.name in apart else (task.name in joint,))
        )
        _check_taken_back(self)

    @property
    def names(self) -> tuple[str, ...]:
        """The lessons' names, in order."""
        return tuple(lesson.name for lesson in self.lessons)

    @property
    def outputs(self) -> tuple[str, ...]:
        """The names of what is predicted: every task, and every product that is taught over all exposures."""
        return (*self._by_name, *(lesson.name for lesson in self.lessons if lesson.joint))

    @property
    def waits(self) -> Mapping[str, tuple[Millis, ...]]:
        """The looks that the join must take, by task."""
        return {name: method.waits for name, method in self.methods.items()}

    @property
    def features_on_final(self) -> bool:
        """Whether the join's `final` rows must carry features."""
        before = {name for lesson in self.lessons for name in lesson.path}
        reads = any(lesson.task.regression or lesson.method.reads_final for lesson in self.lessons)
        return reads or any(self.methods[name].refuses_at_final for name in before)

    def path(self, task: str) -> tuple[str, ...]:
        """Return the tasks before this one in its chain, the first of the chain first."""
        given = self._by_name[task].given
        return () if given is None else (*self.path(given), given)

    def emit(self, transitions: Transitions, truth: Truth | None = None) -> Examples:
        """Return the examples that a batch of transitions gives.

        Raises StateError if rows that teach carry no features, ConfigError for an oracle without a truth.
        """
        told = {task.name: self._tell(transitions, task, truth) for task in self.tasks}
        emissions = [self._emit(lesson, told) for lesson in self.lessons]
        merged = merge(emissions, len(transitions))
        rows = transitions.rows
        place = rows.column("row").to_numpy()[merged.row]
        if len(place) and int(place.max()) >= transitions.fields.num_rows:
            raise StateError(
                "the log's final rows carry no features, but a task is taught by them; join it again with "
                "features_on_final, or choose methods that do not wait for the end"
            )
        examples = Examples.untold(
            self.names,
            telling=merged.row,
            row=place,
            exposure=rows.column("exposure").to_numpy()[merged.row],
            told=rows.column("told").to_numpy()[merged.row],
        )
        for i, (emission, at) in enumerate(zip(emissions, merged.places, strict=True)):
            examples.tell(i, at, emission)
            space = self.spaces.get(self.lessons[i].task.name)
            if space is not None:
                examples.weight[at, i] = space.weights(_inside(told[space.of])[emission.row])
        self._weigh(examples, transitions.fields)
        return examples

    def label(self, labels: Labels, time: Millis = 0, fields: pa.Table | None = None) -> Examples:
        """Return the examples of rows that arrive with their labels, by task; nan where one is not known.

        Without their `fields` rows are not weighed by them.

        A task that is not named is not known anywhere. There must be one label at least. Raises ConfigError for a
        method that reckons with corrections: these labels are final.
        """
        for name, method in self.methods.items():
            if not isinstance(method, Plain) or method.inverts:
                raise ConfigError(
                    f"task {name}: rows that arrive with their labels are not late; drop its method"
                )
        n = len(next(iter(labels.values())))
        places = np.arange(n)
        told = np.full(n, time, np.int64)
        examples = Examples.untold(self.names, places, places.astype(np.int32), places, told)
        for i, lesson in enumerate(self.lessons):
            label = narrow(self._label(lesson, labels))
            rows = np.flatnonzero(np.isfinite(label))
            kind = np.full(len(rows), Kind.FINAL, np.int8)
            examples.tell(i, rows, Emitted(rows, label[rows], kind, np.zeros(len(rows), np.float32)))
            space = self.spaces.get(lesson.task.name)
            if space is not None:
                known = np.asarray(labels.get(space.of, np.full(n, np.nan)), np.float64)[rows]
                examples.weight[rows, i] = np.where(np.isnan(known), 0, space.weights(known > 0))
        if fields is not None:
            self._weigh(examples, fields)
        return examples

    def _weigh(self, examples: Examples, fields: pa.Table) -> None:
        """Multiply the weights of examples by those that their fields hold."""
        for i, lesson in enumerate(self.lessons):
            column = self.row_weights.get(lesson.task.name)
            if column is not None:
                examples.weight[:, i] *= _row_weights(fields, column)[examples.row]

    def _lesson(self, task: TaskSpec, joint: bool) -> Lesson:
        method = self.methods[task.name]
        if method.waits and task.unsure and (task.retracted or joint):
            method = Retractable(method)
        if task.absent:
            method = Complement(method)
        if not joint:
            return Lesson(task.name, task, method)
        return Lesson(joint_name(task.name), task, method, self.path(task.name))

    def _tell(self, transitions: Transitions, task: TaskSpec, truth: Truth | None) -> Told:
        told = tell(transitions, self.tasks, task)
        if truth is None:
            return told
        return replace(told, foreseen=truth.of(task.name, transitions.rows.column("exposure").to_numpy()))

    def _emit(self, lesson: Lesson, told: Mapping[str, Told]) -> Emitted:
        own = told[lesson.task.name]
        if lesson.task.regression:
            return _values(own, lesson.task.how)
        emission = lesson.method.emit(own)
        return self._join_chain(lesson, emission, told) if lesson.joint else emission

    def _join_chain(self, lesson: Lesson, emission: Emitted, told: Mapping[str, Told]) -> Emitted:
        """Add the zeros of exposures that never reached the task, drop what comes too late: rules 2, 3."""
        refused = np.zeros(len(told[lesson.task.name]), np.bool_)
        late = refused.copy()
        first = told[lesson.path[0]]
        for name in lesson.path:
            method, before = self.methods[name], told[name]
            refused |= method.refuses(before) & ~late
            late |= method.overtaken(before)
        if self._may_break(lesson):
            return self._break_off(lesson, emission, told, refused, late)
        keep = ~late[emission.row]
        return _add_zeros(emission, keep, np.flatnonzero(refused), lesson.method.unreached, first)

    def _may_break(self, lesson: Lesson) -> bool:
        """Return whether anything was told before it is known that the way to a joint lesson's task was taken back."""
        path = [self.methods[name] for name in lesson.path]
        final = not lesson.method.waits and all(one.refuses_at_final or not one.waits for one in path)
        return self._by_name[lesson.path[-1]].unsure and not final

    def _break_off(
        self, lesson: Lesson, emission: Emitted, told: Mapping[str, Told], refused: Bools, late: Bools
    ) -> Emitted:
        """Undo what was told of the product when its way is first taken back, and tell nothing more: rule 4."""
        own, method = told[lesson.task.name], lesson.method
        path = [told[name] for name in lesson.path if self._by_name[name].unsure]
        broken = np.logical_or.reduce([one.broken() for one in path])
        now = np.logical_or.reduce([one.breaks() for one in path]) & ~late
        now &= ~np.logical_or.reduce([one.broken(since=1) for one in path])
        looked = np.zeros(len(own), np.bool_)
        if method.waits:
            looked = own.start + method.waits[0] < own.told
        again = tuple(kind for kind in method.unreached if kind is not Kind.ON)
        keep, clock = ~(late | broken)[emission.row], told[lesson.path[0]]
        rest = _add_zeros(emission, keep, np.flatnonzero(now & looked), again, clock)
        fresh = np.flatnonzero(refused & ~broken | now & ~looked)
        rest = _add_zeros(rest, np.ones(len(rest.row), np.bool_), fresh, method.unreached, clock)
        return together(rest, undone(method, own, now & looked))

    def _label(self, lesson: Lesson, labels: Labels) -> npt.NDArray[np.float64]:
        unknown = np.full(len(next(iter(labels.values()))), np.nan)
        own = np.asarray(labels.get(lesson.task.name, unknown), np.float64)
        reached = np.ones(len(unknown))
        for name in self.path(lesson.task.name):
            before = np.asarray(labels.get(name, unknown), np.float64)
            reached = np.where(reached == 1, before, reached)
        outside = np.where(reached == 0, 0.0, np.nan) if lesson.joint else np.nan
        return np.where(reached == 1, own, outside)


def lives(plan: Plan, chain: ChainSpec) -> dict[str, Millis]:
    """Return, by output, how long after an exposure its label is told at the latest."""
    ends = {chain.root.name: 0}
    kinds = {kind.name: kind for kind in chain.kinds}
    while len(ends) < len(kinds):
        for kind in kinds.values():
            if kind.name not in ends and all(parent in ends for parent in kind.after):
                ends[kind.name] = max(ends[parent] for parent in kind.after) + (kind.within or 0)
    alone = {task.name: _last_end(task, chain, ends) for task in plan.tasks}
    return alone | {lesson.name: alone[lesson.task.name] for lesson in plan.lessons if lesson.joint}


def _last_end(task: TaskSpec, chain: ChainSpec, ends: Mapping[str, Millis]) -> Millis:
    """Return how long after an exposure a task is final at the latest: what may be taken back is so later."""
    declared = {one.name: one for one in chain.tasks}
    last = ends[task.event] + chain.patience(declared.get(task.name, task))
    while task.given is not None:
        task = declared[task.given]
        last = max(last, ends[task.event] + chain.patience(task)) if task.retracted else last
    return last


def _check_taken_back(plan: Plan) -> None:
    tasks = {task.name: task for task in plan.tasks}
    for task in plan.tasks:
        if task.given is not None and tasks[task.given].absent:
            raise ConfigError(
                f"task {task.name}: {task.given} asks whether an event does not come, which is known at its end "
                "only; let it be given another"
            )
    for lesson in plan.lessons:
        task = lesson.task
        if lesson.joint and task.absent:
            raise ConfigError(
                f"task {task.name} asks whether an event does not come: that is no product to be taught"
            )
        if lesson.joint and isinstance(plan.methods[task.name], DelayModel) and tasks[lesson.path[-1]].unsure:
            raise ConfigError(
                f'task {task.name}: "dfm" cannot be taught over all exposures where {lesson.path[-1]} may be taken '
                'back, for all its looks must be told; choose another method, or relation = "independent"'
            )


def _check(
    tasks: Mapping[str, TaskSpec], methods: Mapping[str, DelayedFeedback], joint: Collection[str]
) -> None:
    for name in [*methods, *joint, *(task.given for task in tasks.values() if task.given)]:
        if name not in tasks:
            raise ConfigError(f'there is no task "{name}"; the tasks are {", ".join(tasks)}')
    for name, method in methods.items():
        if tasks[name].regression and not isinstance(method, Mature):
            raise ConfigError(f"task {name} is a value, taught at the end of its window; drop its method")
    for name in joint:
        if tasks[name].given is None or tasks[name].regression:
            raise ConfigError(f"task {name} is no label given another, so it has no product to be taught")


def _check_spaces(tasks: Mapping[str, TaskSpec], spaces: Spaces) -> None:
    for name, space in spaces.items():
        if name not in tasks or space.of not in tasks or space.of == name:
            raise ConfigError(
                f'tasks.{name}.space: "{space.of}" is no other task; the tasks are {", ".join(tasks)}'
            )


def _inside(told: Told) -> Bools:
    """Return the rows where a task's event is known to have come, with a value above zero if it has one."""
    if told.value is None:
        return told.happened
    return told.happened & (told.value > 0)


def _row_weights(fields: pa.Table, column: str) -> npt.NDArray[np.float32]:
    """Return the weight of every row of fields; what is missing, below zero or not finite is 0."""
    if column not in fields.column_names:
        return np.zeros(fields.num_rows, np.float32)
    found = narrow(np.asarray(fields.column(column).cast(pa.float64()), np.float64))
    return np.where(np.isfinite(found) & (found > 0), found, np.float32(0))


def _values(told: Told, how: Aggregate) -> Emitted:
    assert told.value is not None
    value = told.value
    if how in _ZERO_WITHOUT_EVENT:
        value = np.where(told.finals() & ~told.happened, 0.0, value)
    label = narrow(value)
    rows = np.flatnonzero(told.finals() & np.isfinite(label))
    kind = np.full(len(rows), Kind.FINAL, np.int8)
    return Emitted(rows, label[rows], kind, seconds(told.delay(rows)))


def narrow(values: npt.NDArray[np.float64]) -> npt.NDArray[np.float32]:
    """Return values as they are learned; what is too large for that becomes infinite, and is not told."""
    with np.errstate(over="ignore"):
        return values.astype(np.float32)


def _add_zeros(
    emission: Emitted, keep: Bools, rows: npt.NDArray[np.int64], kinds: Sequence[Kind], clock: Told
) -> Emitted:
    zeros = np.repeat(rows, len(kinds))
    row = np.concatenate([emission.row[keep], zeros])
    order = np.argsort(row, kind="stable")
    label = np.concatenate([emission.label[keep], np.zeros(len(zeros), np.float32)])
    kind = np.concatenate([emission.kind[keep], np.tile(np.array(kinds, np.int8), len(rows))])
    elapsed = np.concatenate([emission.elapsed[keep], seconds(clock.delay(zeros))])
    return Emitted(row[order], label[order], kind[order], elapsed[order])

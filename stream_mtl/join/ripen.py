"""Tell what has become true: from a slice of event time to transitions in their order (decision 1, sections 6 and 7)."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from stream_mtl.clock import END, Millis
from stream_mtl.join.exposures import Exposures, Touched
from stream_mtl.join.payload import Payload
from stream_mtl.join.rows import Rows, empty
from stream_mtl.join.scores import PREFIX
from stream_mtl.join.search import Ints, order_by, runs
from stream_mtl.join.shape import Shape, less_of
from stream_mtl.join.spec import TaskSpec
from stream_mtl.join.standing import Runs, Standing
from stream_mtl.join.transitions import Telling, Transitions, rows_schema
from stream_mtl.join.values import Floats, Sums

Bools = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Span:
    """Exposures of the log that come to one offset from their time, with what is told then of untouched ones."""

    start: int
    stop: int
    offset: Millis
    tellings: tuple[tuple[Telling, int, int], ...]  # kind, wait, tasks
    rich: bool  # whether their fields are told


@dataclass(frozen=True, slots=True)
class Moments:
    """Moments (n,) of touched exposures at which something may be due, and what had happened by then."""

    rows: Rows  # in `Touched`
    at: Ints
    first: dict[str, Ints]  # kind -> its first event, END: not yet
    end: dict[str, Ints]  # kind -> the end of its window
    runs: dict[str, Runs]  # kind that may be taken back -> whether and since when it stands

    def began(self, task: TaskSpec) -> Ints:
        """Return since when what the task asks for has been there, END where it is not. (n,)"""
        return self.runs[task.event].since() if task.retracted else self.first[task.event]


@dataclass(frozen=True, slots=True)
class States:
    """The state of every task at some moments of some exposures, as arrays of equal length."""

    code: dict[str, npt.NDArray[np.uint8]]  # 0: the label is not known, 1: it is 0, _TRUE: it is 1
    at: dict[str, Ints]  # meaningful where label is 1
    value: dict[str, Floats]  # nan: none
    turns: dict[str, tuple[Ints, Ints]]  # of what may be taken back: when it came, was first gone; END: never


_FALSE, _TRUE = 1, 3


@dataclass(frozen=True, slots=True)
class Told:
    """Tellings of untouched exposures, alike in all but exposure and time, or of touched ones, each by itself.

    What they are is said once for a range, and once for each touched one: (k,) is (1,) or (n,).
    """

    when: Ints  # (n,) told * 4 + kind
    exposure: Ints  # (n,)
    wait: Ints  # (k,) -1: none
    tasks: Ints  # (k,)
    offset: Ints  # (k,) told - the exposure's time
    place: Ints  # (k,) in the payload, when the exposure's number is added
    moment: Ints  # (k,) of touched ones: their row in the states, else -1

    @classmethod
    def range(
        cls, told: Ints, exposure: Ints, kind: Telling, wait: int, tasks: int, offset: int, place: int
    ) -> "Told":
        """Return the same telling of many untouched exposures."""
        same = (np.array([value]) for value in (wait, tasks, offset, place, -1))
        return cls(told * _KINDS + int(kind), exposure, *same)


_KINDS = len(Telling)


class Ripener:
    """Tells transitions, slice by slice."""

    def __init__(self, shape: Shape, exposures: Exposures, touched: Touched) -> None:
        self._shape = shape
        self._exposures = exposures
        self._touched = touched
        self._schema = rows_schema(shape.chain)
        scored = [name for name in exposures.pile.schema.names if name.startswith(PREFIX)]
        self._key = [*shape.chain.key, *scored]
        self._key_schema = pa.schema([exposures.pile.schema.field(name) for name in self._key])
        self._tasks = self._parents_first()
        self.standing: Mapping[str, Standing] = {}
        self._dues = {(kind, offset): _Queue() for kind, offsets in shape.dues.items() for offset in offsets}

    def expect(self, kind: str, rows: Rows, time: Ints) -> None:
        """Note that an event of this kind counts from `time` on for these touched rows: things may be due after it."""
        if len(rows) == 0:
            return
        order = np.argsort(time, kind="stable")
        for offset in self._shape.dues[kind]:
            self._dues[kind, offset].push(time[order] + offset, rows[order])

    def tell(
        self, opened: Ints, events: list[tuple[Rows, Ints]], sums: dict[str, Sums], before: Millis
    ) -> Transitions | None:
        """Tell everything due before `before`.

        `opened` are the numbers of the slice's exposures; `events` the (touched row, time) of first events;
        `sums` the running values of the slice, by kind.
        """
        spans = [*self._opened(opened), *self._due(before)]
        ranges = {
            rich: [(s.start, s.stop) for s in spans if s.tellings and s.rich == rich]
            for rich in (True, False)
        }
        payload = Payload(self._exposures, self._touched, self._key, ranges[True], ranges[False])
        due = [part for queue in self._dues.values() for part in queue.pop(before)]
        parts, stirred = self._tell_spans(spans, payload)
        moments = self._moments(*_distinct([*events, *due, *stirred], self._touched.ring.first))
        states = self._states(moments, sums)
        if len(moments.rows):
            parts += self._tell_touched(moments, payload)
        if sum(len(part.when) for part in parts) == 0:
            return None
        keys, fields = payload.tables(self._key_schema, self._exposures.pile.schema)
        return Transitions(self._rows(parts, states, payload), keys, fields)

    def nothing(self) -> Transitions:
        """Return a batch without tellings."""
        fields = self._exposures.pile.schema
        return Transitions(empty(self._schema), self._key_schema.empty_table(), fields.empty_table())

    def _opened(self, opened: Ints) -> Iterator[Span]:
        if len(opened):
            told = ((Telling.EXPOSED, -1, 0),)
            yield Span(int(opened[0]), int(opened[-1]) + 1, 0, told, True)

    def _due(self, before: Millis) -> Iterator[Span]:
        chain, ends = self._shape.chain, self._shape.untouched_end
        for offset in self._shape.root_offsets:
            start, stop = self._exposures.due(offset, before)
            if start == stop:
                continue
            looks = _bits(
                task.given is None and offset in task.waits and offset <= ends[task.event]
                for task in chain.tasks
            )
            final = _bits(self._shape.untouched_close(task) == offset for task in chain.tasks)
            told = ((Telling.LOOK, offset, looks), (Telling.FINAL, -1, final))
            rich = looks > 0 or chain.features_on_final
            yield Span(start, stop, offset, tuple(one for one in told if one[2]), rich)

    def _tell_spans(self, spans: list[Span], payload: Payload) -> tuple[list[Told], list[tuple[Rows, Ints]]]:
        """Tell of the untouched exposures; returns the moments of the touched ones beside it."""
        ring = self._exposures.ring
        parts: list[Told] = []
        moments: list[tuple[Rows, Ints]] = []
        for span in spans:
            time, touched = (ring.range(name, span.start, span.stop) for name in ("time", "touched"))
            at, number = time + span.offset, np.arange(span.start, span.stop)
            calm = touched < 0
            if not calm.all():
                moments.append((touched[~calm], at[~calm]))
                at, number = at[calm], number[calm]
            for kind, wait, tasks in span.tellings:
                place = payload.of_range(span.start, span.stop, span.rich)
                parts.append(Told.range(at, number, kind, wait, tasks, span.offset, place))
        return parts, moments

    def _moments(self, rows: Rows, at: Ints) -> Moments:
        first = self._touched.firsts(rows, at)
        runs = {name: standing.as_of(rows, at) for name, standing in self.standing.items()}
        return Moments(rows, at, first, self._touched.ends(rows, first), runs)

    def _states(self, moments: Moments, sums: dict[str, Sums]) -> States:
        """Return the state of every task (decision 1, section 6)."""
        states = States({}, {}, {}, {})
        for task in self._tasks:
            first = moments.began(task)
            happened = first <= moments.at
            known = happened | (moments.end[task.event] <= moments.at)
            if task.given is not None:
                known &= states.code[task.given] == _TRUE
            states.code[task.name] = np.where(known, np.where(happened, _TRUE, _FALSE), 0).astype(np.uint8)
            states.at[task.name] = first
            if task.retracted:
                run = moments.runs[task.event]
                came = np.where((run.standing > 0) | (run.until == moments.at), run.came, END)
                states.turns[task.name] = came, run.gone
            elif task.unsure:
                states.turns[task.name] = first, np.full(len(first), END)
            if task.regression:
                value = self._touched.ring.get(f"value.{task.name}", moments.rows)
                if task.event in sums:
                    value = sums[task.event].as_of(task.name, value, moments.rows, moments.at)
                if task.less is not None:
                    value = value - self._given_back(less_of(task), moments, sums)
                states.value[task.name] = np.where(happened & known, value, np.nan)
        return states

    def _given_back(self, task: TaskSpec, moments: Moments, sums: dict[str, Sums]) -> Floats:
        value = self._touched.ring.get(f"value.{task.name}", moments.rows)
        if task.event in sums:
            value = sums[task.event].as_of(task.name, value, moments.rows, moments.at)
        return np.where(np.isnan(value), 0.0, value)

    def _tell_touched(self, moments: Moments, payload: Payload) -> list[Told]:
        """Tell whatever is due for touched exposures at just these moments."""
        ring, rows, at = self._touched.ring, moments.rows, moments.at
        time = ring.get("time", rows)
        exposed = time == at
        event, final, back = (np.zeros(len(rows), np.int64) for _ in range(3))
        looks = {wait: np.zeros(len(rows), np.int64) for wait in self._shape.waits}
        for bit, task in enumerate(self._shape.chain.tasks):
            end, first = moments.end[task.event], moments.began(task)
            final[self._shape.close(task, moments.end) == at] |= 1 << bit
            given = self._shape.start_of(task)
            start = time if given is None else moments.began(given)
            if task.retracted:
                back[moments.runs[task.event].until == at] |= 1 << bit
            for wait in task.waits:
                looks[wait][(start < END) & (start + wait == at) & (at <= end)] |= 1 << bit
            if task.waits:
                late = (first == at) & (start <= at) & (first > start + min(task.waits))
                event[late] |= 1 << bit
        rich, poor = exposed | (event != 0) | (back != 0), final != 0
        for mask in looks.values():
            rich |= mask != 0
        if self._shape.chain.features_on_final:
            rich |= poor
        number = ring.get("exposure", rows)
        place = payload.of_touched(rows, rich, poor) - number
        tellings = [(Telling.EXPOSED, -1, np.zeros(len(rows), np.int64), exposed)]
        tellings += [(Telling.LOOK, wait, mask, mask != 0) for wait, mask in looks.items()]
        tellings += [(Telling.EVENT, -1, event, event != 0), (Telling.FINAL, -1, final, poor)]
        tellings += [(Telling.RETRACTED, -1, back, back != 0)]
        return [_pick(*telling, at, number, at - time, place) for telling in tellings if telling[-1].any()]

    def _rows(self, parts: list[Told], states: States, payload: Payload) -> pa.RecordBatch:
        """Put tellings in order and fill in their states."""
        wait, tasks = _join(parts, lambda part: part.wait), _join(parts, lambda part: part.tasks)
        offset, moment = _join(parts, lambda part: part.offset), _join(parts, lambda part: part.moment)
        when, exposure = _join(parts, lambda part: part.when), _join(parts, lambda part: part.exposure)
        place = payload.settled(_join(parts, lambda part: part.place))
        sizes = np.concatenate([np.full(len(part.wait), len(part.when) // len(part.wait)) for part in parts])
        of = np.repeat(np.arange(len(wait)), sizes)
        order = order_by(
            when, exposure.take, lambda r: wait.take(of.take(r)), lambda r: tasks.take(of.take(r))
        )
        when, exposure, of = when.take(order), exposure.take(order), of.take(order)
        told, waits = when // _KINDS, wait.take(of)
        columns = [
            pa.array(told),
            pa.array((when % _KINDS).astype(np.int8)),
            pa.array(exposure),
            pa.array(told - offset.take(of)),
            _nullable(pa.int64(), waits, waits >= 0),
            pa.array(tasks.take(of)),
            pa.array((place.take(of) + exposure).astype(np.int32)),
        ]
        for task in self._shape.chain.tasks:
            columns += self._state_columns(task, states, offset, moment, of)
        return pa.RecordBatch.from_arrays(columns, schema=self._schema)

    def _state_columns(
        self, task: TaskSpec, states: States, offset: Ints, moment: Ints, of: Ints
    ) -> list[pa.Array]:
        """Return label, at and value of one task. Untouched exposures know no event; their windows may have closed."""
        closed = offset >= self._shape.untouched_end[task.event] if task.given is None else False
        codes = np.where(closed, _FALSE, np.zeros(len(moment), np.uint8)).astype(np.uint8)
        stirred = np.flatnonzero(moment >= 0)
        codes[stirred] = states.code[task.name][moment[stirred]]
        code = codes.take(of)
        true = code == _TRUE
        rows = np.flatnonzero(true)
        places = moment.take(of.take(rows))  # only what has happened to an exposure makes a label 1
        columns = [
            _nullable(pa.int8(), true.view(np.int8), code != 0),
            _nullable(pa.int64(), _spread(rows, states.at[task.name].take(places), len(of)), true),
        ]
        if task.regression:
            value = states.value[task.name].take(places)
            there = np.zeros(len(of), np.bool_)
            there[rows] = ~np.isnan(value)
            columns.append(_nullable(pa.float64(), _spread(rows, value, len(of)), there))
        if task.unsure:
            touched = np.flatnonzero(moment.take(of) >= 0)
            for times in states.turns[task.name]:
                time = times.take(moment.take(of.take(touched)))
                there = np.zeros(len(of), np.bool_)
                there[touched] = time < END
                columns.append(_nullable(pa.int64(), _spread(touched, time, len(of)), there))
        return columns

    def _parents_first(self) -> list[TaskSpec]:
        done: dict[str | None, TaskSpec] = {}
        while len(done) < len(self._shape.chain.tasks):
            for task in self._shape.chain.tasks:
                if task.given is None or task.given in done:
                    done.setdefault(task.name, task)
        return list(done.values())

    def live(self) -> dict[tuple[str, Millis], tuple[Ints, Rows]]:
        """Return what is due later, per basis: (told, touched row), for a checkpoint."""
        return {basis: queue.contents() for basis, queue in self._dues.items()}

    def restore(self, dues: Mapping[tuple[str, Millis], tuple[Ints, Rows]]) -> None:
        """Take back what `live` gave."""
        for basis, (at, rows) in dues.items():
            self._dues[basis] = _Queue()
            self._dues[basis].push(at, rows)


class _Queue:
    """Touched rows that come due, first due first; pushed in that order, since slices are."""

    def __init__(self) -> None:
        self._runs: deque[tuple[Ints, Rows]] = deque()

    def push(self, at: Ints, rows: Rows) -> None:
        if self._runs and len(self._runs[-1][0]) < 1_024:
            last_at, last_rows = self._runs.pop()
            at, rows = np.concatenate([last_at, at]), np.concatenate([last_rows, rows])
        if len(at):
            self._runs.append((at, rows))

    def pop(self, before: Millis) -> list[tuple[Rows, Ints]]:
        out = []
        while self._runs and self._runs[0][0][0] < before:
            at, rows = self._runs.popleft()
            cut = int(np.searchsorted(at, before))
            out.append((rows[:cut], at[:cut]))
            if cut < len(at):
                self._runs.appendleft((at[cut:], rows[cut:]))
        return out

    def contents(self) -> tuple[Ints, Rows]:
        none = np.zeros(0, np.int64)
        at = np.concatenate([none, *(at for at, _ in self._runs)])
        return at, np.concatenate([none, *(rows for _, rows in self._runs)])


def _bits(flags: Iterable[bool]) -> int:
    return sum(1 << bit for bit, flag in enumerate(flags) if flag)


def _distinct(moments: list[tuple[Rows, Ints]], first: int) -> tuple[Rows, Ints]:
    """Return each (touched row, moment) once, rows that were dropped left out, in order of both."""
    rows = np.concatenate([np.zeros(0, np.int64), *(rows for rows, _ in moments)])
    at = np.concatenate([np.zeros(0, np.int64), *(at for _, at in moments)])
    live = rows >= first
    rows, at = rows[live], at[live]
    order = np.lexsort((at, rows))
    rows, at = rows[order], at[order]
    fresh = runs(rows) | runs(at)
    return rows[fresh], at[fresh]


def _pick(
    kind: Telling, wait: int, tasks: Ints, chosen: Bools, at: Ints, exposure: Ints, offset: Ints, place: Ints
) -> Told:
    rows = np.flatnonzero(chosen)
    when = at[rows] * _KINDS + int(kind)
    return Told(when, exposure[rows], np.full(len(rows), wait), tasks[rows], offset[rows], place[rows], rows)


def _join(parts: list[Told], column: Callable[[Told], Ints]) -> Ints:
    return np.concatenate([column(part) for part in parts])


def _spread(rows: Rows, values: npt.NDArray[Any], n: int) -> npt.NDArray[Any]:
    """Return n values that are 0 but at these rows."""
    out = np.zeros(n, values.dtype)
    out[rows] = values
    return out


def _nullable(kind: pa.DataType, values: npt.NDArray[np.generic], valid: Bools) -> pa.Array:
    bitmap = pa.py_buffer(np.packbits(valid, bitorder="little"))
    return pa.Array.from_buffers(kind, len(values), [bitmap, pa.py_buffer(np.ascontiguousarray(values))])

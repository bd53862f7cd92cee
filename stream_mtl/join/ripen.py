"""Tell what has become true: from a slice of event time to transitions in their order (decision 1, sections 6 and 7)."""

from collections import deque
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from stream_mtl.clock import END, Millis
from stream_mtl.join.exposures import Exposures, Touched
from stream_mtl.join.rows import Rows, empty
from stream_mtl.join.scores import PREFIX
from stream_mtl.join.search import Ints, order_by, runs
from stream_mtl.join.shape import Shape
from stream_mtl.join.spec import TaskSpec
from stream_mtl.join.transitions import Telling, Transitions, rows_schema
from stream_mtl.join.values import Floats, Sums

Bools = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class States:
    """The state of every task at some moments of some exposures, as arrays of equal length."""

    label: dict[str, tuple[npt.NDArray[np.int8], Bools]]  # value, and whether it is known
    at: dict[str, Ints]  # meaningful where label is 1
    value: dict[str, Floats]  # nan: none


@dataclass(frozen=True, slots=True)
class Told:
    """Tellings that are alike in all but their exposure and time: of a range, or of a single touched exposure."""

    told: Ints  # (n,)
    exposure: Ints  # (n,)
    kind: npt.NDArray[np.int8]  # (1,) for a range, (n,) for touched ones, and so on down
    wait: Ints  # -1: none
    tasks: Ints
    offset: Ints  # told - the exposure's time
    place: Ints  # in the payload; of a range, what to add to the exposure's number
    moment: Ints  # of touched ones: their row in the states, else -1

    @property
    def alike(self) -> Ints:
        """For each row, which entry of the shorter columns it has. (n,)"""
        return np.zeros(len(self.told), np.int64) if len(self.kind) == 1 else np.arange(len(self.told))

    @classmethod
    def range(
        cls, told: Ints, exposure: Ints, kind: Telling, wait: int, tasks: int, offset: int, place: int
    ) -> "Told":
        """Return the same telling of many untouched exposures; the first has its payload at `place`."""
        return cls(
            told,
            exposure,
            np.array([int(kind)], np.int8),
            np.array([wait]),
            np.array([tasks]),
            np.array([offset]),
            np.array([place]),
            np.array([-1]),
        )


_POOR = -(1 << 50)  # added to places among the exposures without fields, until all with fields are counted


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
        parts: list[Told] = []
        payload = _Payload(self._exposures, self._touched, self._key)
        moments = list(events)
        self._tell_opened(opened, parts, payload, moments)
        self._tell_offsets(before, parts, payload, moments)
        for queue in self._dues.values():
            moments += queue.pop(before)
        rows, at = _distinct(moments, self._touched.ring.first)
        states = self._states(rows, at, sums)
        if len(rows):
            parts += self._tell_touched(rows, at, states, payload)
        if sum(len(part.told) for part in parts) == 0:
            return None
        keys, fields = payload.tables(self._key_schema, self._exposures.pile.schema)
        return Transitions(self._rows(parts, states, payload), keys, fields)

    def nothing(self) -> Transitions:
        """Return a batch without tellings."""
        fields = self._exposures.pile.schema
        return Transitions(empty(self._schema), self._key_schema.empty_table(), fields.empty_table())

    def _tell_opened(
        self, opened: Ints, parts: list[Told], payload: "_Payload", moments: list[tuple[Rows, Ints]]
    ) -> None:
        if len(opened) == 0:
            return
        start, stop = int(opened[0]), int(opened[-1]) + 1
        place = payload.range(start, stop, fields=True)
        time = self._exposures.ring.range("time", start, stop)
        touched = self._exposures.ring.range("touched", start, stop)
        calm = np.flatnonzero(touched < 0)
        stirred = np.flatnonzero(touched >= 0)
        moments.append((touched[stirred], time[stirred]))
        parts.append(Told.range(time[calm], start + calm, Telling.EXPOSED, -1, 0, 0, place - start))

    def _tell_offsets(
        self, before: Millis, parts: list[Told], payload: "_Payload", moments: list[tuple[Rows, Ints]]
    ) -> None:
        ring, chain = self._exposures.ring, self._shape.chain
        ends = self._shape.untouched_end
        for offset in self._shape.root_offsets:
            start, stop = self._exposures.due(offset, before)
            if start == stop:
                continue
            looks = _bits(
                task.given is None and offset in task.waits and offset <= ends[task.event]
                for task in chain.tasks
            )
            final = _bits(ends[task.event] == offset for task in chain.tasks)
            time, touched = ring.range("time", start, stop), ring.range("touched", start, stop)
            calm, stirred = np.flatnonzero(touched < 0), np.flatnonzero(touched >= 0)
            moments.append((touched[stirred], time[stirred] + offset))
            time, number = time[calm] + offset, start + calm
            if looks:
                place = payload.range(start, stop, fields=True) - start
                parts.append(Told.range(time, number, Telling.LOOK, offset, looks, offset, place))
            if final:
                place = payload.range(start, stop, fields=chain.features_on_final) - start
                parts.append(Told.range(time, number, Telling.FINAL, -1, final, offset, place))

    def _states(self, rows: Rows, at: Ints, sums: dict[str, Sums]) -> States:
        """Return the state of every task of these touched rows at these moments (decision 1, section 6)."""
        firsts, ends = self._touched.firsts(rows, at), self._touched.ends(rows, at)
        states = States({}, {}, {})
        for task in self._parents_first():
            first = firsts[task.event]
            happened = first <= at
            known = happened | (ends[task.event] <= at)
            if task.given is not None:
                given, given_known = states.label[task.given]
                known &= given_known & (given == 1)
            states.label[task.name] = (happened.astype(np.int8), known)
            states.at[task.name] = first
            if task.regression:
                value = self._touched.ring.get(f"value.{task.name}", rows)
                if task.event in sums:
                    value = sums[task.event].as_of(task.name, value, rows, at)
                states.value[task.name] = np.where(happened & known, value, np.nan)
        return states

    def _parents_first(self) -> list[TaskSpec]:
        done: dict[str | None, TaskSpec] = {}
        while len(done) < len(self._shape.chain.tasks):
            for task in self._shape.chain.tasks:
                if task.given is None or task.given in done:
                    done.setdefault(task.name, task)
        return list(done.values())

    def _tell_touched(self, rows: Rows, at: Ints, states: States, payload: "_Payload") -> list[Told]:
        """Tell whatever is due for touched exposures at just these moments."""
        ring = self._touched.ring
        firsts, ends = self._touched.firsts(rows, at), self._touched.ends(rows, at)
        time = ring.get("time", rows)
        exposed = time == at
        event, final = np.zeros(len(rows), np.int64), np.zeros(len(rows), np.int64)
        looks = {wait: np.zeros(len(rows), np.int64) for wait in self._shape.waits}
        for bit, task in enumerate(self._shape.chain.tasks):
            end, first = ends[task.event], firsts[task.event]
            final |= np.where(end == at, 1 << bit, 0)
            kind = self._shape.start_of(task)
            start = time if kind is None else firsts[kind]
            for wait in task.waits:
                looks[wait] |= np.where((start < END) & (start + wait == at) & (at <= end), 1 << bit, 0)
            if task.waits:
                late = (first == at) & (start <= at) & (first > start + min(task.waits))
                event |= np.where(late, 1 << bit, 0)
        tellings = [(Telling.EXPOSED, -1, np.zeros(len(rows), np.int64), exposed)]
        tellings += [(Telling.LOOK, wait, mask, mask != 0) for wait, mask in looks.items()]
        tellings += [(Telling.EVENT, -1, event, event != 0), (Telling.FINAL, -1, final, final != 0)]
        rich = exposed | (event != 0) | (self._shape.chain.features_on_final & (final != 0))
        for mask in looks.values():
            rich = rich | (mask != 0)
        place = payload.touched(rows, rich, final != 0)
        number = ring.get("exposure", rows)
        return [_pick(*telling, at, number, at - time, place) for telling in tellings if telling[-1].any()]

    def _rows(self, parts: list[Told], states: States, payload: "_Payload") -> pa.RecordBatch:
        """Put tellings in order and fill in their states."""
        kinds, waits = _join(parts, lambda part: part.kind), _join(parts, lambda part: part.wait)
        tasks, offsets = _join(parts, lambda part: part.tasks), _join(parts, lambda part: part.offset)
        places, moments = _join(parts, lambda part: part.place), _join(parts, lambda part: part.moment)
        starts = np.cumsum([0] + [len(part.kind) for part in parts])
        of = np.concatenate([part.alike + start for part, start in zip(parts, starts[:-1], strict=True)])
        told, exposure = _join(parts, lambda part: part.told), _join(parts, lambda part: part.exposure)
        order = order_by(told * 4 + kinds[of], exposure, waits[of], tasks[of])
        told, exposure, of = told[order], exposure[order], of[order]
        place = places[of]
        place = payload.place(np.where(moments[of] < 0, place + exposure, place))
        wait = waits[of]
        columns = [
            pa.array(told),
            pa.array(kinds[of]),
            pa.array(exposure),
            pa.array(told - offsets[of]),
            _nullable(pa.int64(), wait, wait >= 0),
            pa.array(tasks[of]),
            pa.array(place),
        ]
        for task in self._shape.chain.tasks:
            columns += self._state_columns(task, states, offsets, moments, of)
        return pa.RecordBatch.from_arrays(columns, schema=self._schema)

    def _state_columns(
        self, task: TaskSpec, states: States, offsets: Ints, moments: Ints, of: Ints
    ) -> list[pa.Array]:
        """Return label, at and value of one task. Untouched exposures know no event; their windows may have closed."""
        stirred = np.flatnonzero(moments >= 0)
        moment = moments[stirred]
        known = np.zeros(len(moments), np.bool_)
        if task.given is None:
            known = offsets >= self._shape.untouched_end[task.event]
        label, at = np.zeros(len(moments), np.int8), np.zeros(len(moments), np.int64)
        label[stirred], known[stirred] = (
            states.label[task.name][0][moment],
            states.label[task.name][1][moment],
        )
        at[stirred] = states.at[task.name][moment]
        columns = [
            _nullable(pa.int8(), label[of], known[of]),
            _nullable(pa.int64(), at[of], (known & (label == 1))[of]),
        ]
        if task.regression:
            value = np.full(len(moments), np.nan)
            value[stirred] = states.value[task.name][moment]
            columns.append(_nullable(pa.float64(), value[of], ~np.isnan(value)[of]))
        return columns

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


class _Payload:
    """Collects the exposures that a batch of tellings speaks of: those that carry fields stand in front."""

    def __init__(self, exposures: Exposures, touched: Touched, key: list[str]) -> None:
        self._exposures = exposures
        self._touched = touched
        self._key = key
        self._rich: list[pa.RecordBatch] = []
        self._poor: list[pa.RecordBatch] = []
        self._rich_rows = 0
        self._poor_rows = 0

    def range(self, start: int, stop: int, fields: bool) -> int:
        """Add exposures [start, stop) of the log and return the place of the first (poor places are negative)."""
        slices = self._exposures.pile.slices(start, stop)
        return self._add(slices, stop - start, fields)

    def touched(self, rows: Rows, rich: Bools, poor: Bools) -> Ints:
        """Add touched exposures, each once, and return their places. (n,)"""
        place = np.zeros(len(rows), np.int64)
        full = np.flatnonzero(rich)
        bare = np.flatnonzero(poor & ~rich)
        if len(full):
            place[full] = self._add([self._touched.pile.take(rows[full])], len(full), True) + np.arange(
                len(full)
            )
        if len(bare):
            batch = self._touched.pile.take(rows[bare], self._key)
            place[bare] = self._add([batch], len(bare), False) + np.arange(len(bare))
        return place

    def _add(self, batches: list[pa.RecordBatch], n: int, fields: bool) -> int:
        if fields:
            self._rich += batches
            self._rich_rows += n
            return self._rich_rows - n
        self._poor += batches
        self._poor_rows += n
        return self._poor_rows - n + _POOR

    def place(self, places: Ints) -> npt.NDArray[np.int32]:
        """Return final places: the poor ones come after the rich ones."""
        return np.where(places < _POOR // 2, places - _POOR + self._rich_rows, places).astype(np.int32)

    def tables(self, keys: pa.Schema, fields: pa.Schema) -> tuple[pa.Table, pa.Table]:
        """Return (keys of all places, fields of the rich ones)."""
        every = [batch.select(self._key) for batch in self._rich + self._poor]
        return pa.Table.from_batches(every, keys), pa.Table.from_batches(self._rich, fields)


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
    n = len(rows)
    kinds, waits = np.full(n, int(kind), np.int8), np.full(n, wait)
    return Told(at[rows], exposure[rows], kinds, waits, tasks[rows], offset[rows], place[rows], rows)


def _join(parts: list[Told], column: Callable[[Told], npt.NDArray[Any]]) -> npt.NDArray[Any]:
    return np.concatenate([column(part) for part in parts])


def _nullable(kind: pa.DataType, values: npt.NDArray[np.generic], valid: Bools) -> pa.Array:
    bitmap = pa.py_buffer(np.packbits(valid, bitorder="little"))
    return pa.Array.from_buffers(kind, len(values), [bitmap, pa.py_buffer(np.ascontiguousarray(values))])

"""What is told of a log of clicks in a span of time, as the join tells it: exposures, looks, conversions, ends.

A row of the log holds a click with what became of it, so nothing has to be joined. That it tells what the join tells
is a test (tests/public/test_stream.py).
"""

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pyarrow as pa

from stream_mtl.clock import Millis
from stream_mtl.join.spec import ChainSpec, KindSpec, TaskSpec
from stream_mtl.join.transitions import Telling, Transitions, rows_schema
from stream_mtl.label.oracle import Truth
from stream_mtl.label.told import Ints
from stream_mtl.processes.criteo_log import ClickLog

TASK = TaskSpec("cvr", "conversion")
_SLICE = 1 << 20  # rows whose ends are told at a time


@dataclass(frozen=True)
class ClickStream:
    """A log, the window in which conversions count (closed), and the looks that are taken."""

    log: ClickLog
    window: Millis
    waits: tuple[Millis, ...] = ()

    @cached_property
    def _came(self) -> Ints:
        """The rows that convert within the window, in order of conversion."""
        rows = np.flatnonzero(self.log.delay <= self.window)
        return rows[np.argsort((self.log.click + self.log.delay)[rows], kind="stable")]

    @cached_property
    def _came_at(self) -> Ints:
        return (self.log.click + self.log.delay)[self._came]

    def tell(self, begin: Millis, end: Millis) -> Transitions:
        """Return what is told in [begin, end), in order: of each instant exposures, looks, conversions, ends."""
        start, stop = np.searchsorted(self._came_at, (begin, end))
        parts = [self._part(Telling.EXPOSED, self._due(begin, end, 0), 0)]
        parts += [self._part(Telling.LOOK, self._due(begin, end, wait), wait) for wait in self.waits]
        parts += [self._part(Telling.EVENT, self._came[start:stop], None)]
        parts += [self._part(Telling.FINAL, self._due(begin, end, self.window), self.window)]
        rows = np.concatenate([part.row for part in parts])
        told = np.concatenate([part.told for part in parts])
        kind = np.concatenate([np.full(len(part.row), int(part.kind), np.int8) for part in parts])
        order = np.lexsort((rows, kind, told))
        exposures, place = np.unique(rows[order], return_inverse=True)
        return Transitions(
            self._rows(rows[order], told[order], kind[order], place),
            pa.table({"click_id": exposures}),
            self.log.fields(exposures),
        )

    def truth(self) -> Truth:
        """Return the final labels of all clicks, those whose window ends behind the log too."""
        truth = Truth((TASK,))
        for start in range(0, len(self.log), _SLICE):
            rows = np.arange(start, min(start + _SLICE, len(self.log)))
            kind = np.full(len(rows), int(Telling.FINAL), np.int8)
            told = self.log.click[rows] + self.window
            ends = self._rows(rows, told, kind, rows - start)
            truth.add(Transitions(ends, pa.table({"click_id": rows}), pa.table({})))
        return truth

    def _due(self, begin: Millis, end: Millis, after: Millis) -> Ints:
        rows = self.log.clicks(begin - after, end - after)
        return np.arange(rows.start, rows.stop)

    def _part(self, kind: Telling, rows: Ints, after: Millis | None) -> "_Part":
        passed = self.log.delay[rows] if after is None else after
        return _Part(kind, rows, self.log.click[rows] + passed)

    def _rows(self, row: Ints, told: Ints, kind: np.typing.NDArray[np.int8], place: Ints) -> pa.RecordBatch:
        time, delay = self.log.click[row], self.log.delay[row]
        look, final = kind == Telling.LOOK, kind == Telling.FINAL
        happened = (delay <= self.window) & (time + delay <= told) & (kind != Telling.EXPOSED)
        known = happened | final
        columns = {
            "told": pa.array(told),
            "kind": pa.array(kind),
            "exposure": pa.array(row),
            "time": pa.array(time),
            "wait": pa.array(told - time, mask=~look),
            "tasks": pa.array(np.ones(len(row), np.int64)),
            "row": pa.array(place.astype(np.int32)),
            f"label.{TASK.name}": pa.array(happened.astype(np.int8), mask=~known),
            f"at.{TASK.name}": pa.array(np.where(happened, time + delay, 0), mask=~happened),
        }
        return pa.RecordBatch.from_pydict(columns, schema=rows_schema(chain(self.window)))


@dataclass(frozen=True, slots=True)
class _Part:
    kind: Telling
    row: Ints
    told: Ints


def chain(window: Millis) -> ChainSpec:
    """Return the chain of the log: clicks, and conversions within the window."""
    return ChainSpec(
        key=("click_id",),
        kinds=(KindSpec("click", id="click_id"), KindSpec("conversion", ("click",), window)),
        tasks=(TASK,),
    )


def spans(begin: Millis, end: Millis, width: Millis) -> Iterator[tuple[Millis, Millis]]:
    """Give [begin, end) in parts of this width."""
    for start in range(begin, end, width):
        yield start, min(start + width, end)


def looks(waits: Collection[Millis]) -> tuple[Millis, ...]:
    """Return each wait once, ascending."""
    return tuple(sorted(set(waits)))

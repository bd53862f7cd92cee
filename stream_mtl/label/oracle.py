"""The oracle teaches at the exposure what only the window's end will tell: to compare with, in replays."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np

from stream_mtl.join.spec import TaskSpec
from stream_mtl.join.transitions import Telling, Transitions
from stream_mtl.label.base import DelayedFeedback, Emitted, Kind, Part, Plain, emitted, seconds
from stream_mtl.label.heads import OneLook
from stream_mtl.label.told import Bools, Foreseen, Ints, Told, ahead_of, tell

_FIRST = 1 << 10


@dataclass(frozen=True)
class Oracle(Plain):
    """Teach every chain, when it is exposed, its final label. Chains whose end the log lacks are left out."""

    refuses_at_final: ClassVar[bool] = False
    unreached: ClassVar[tuple[Kind, ...]] = (Kind.FINAL,)

    def emit(self, told: Told) -> Emitted:
        """Emit the foreseen label of every exposure."""
        ahead = ahead_of(told)
        rows = _exposed(told) & ahead.known
        out = emitted(told, Part(rows, ahead.label, Kind.FINAL))
        return replace(out, elapsed=seconds(ahead.delay[out.row]))

    def refuses(self, told: Told) -> Bools:
        """Return the exposures that will not have the event."""
        ahead = ahead_of(told)
        return _exposed(told) & ahead.known & ~ahead.label

    def overtaken(self, told: Told) -> Bools:
        """Return the later rows of exposures whose event will be taken back: they were refused."""
        ahead = ahead_of(told)
        rows: Bools = ~_exposed(told) & ahead.known & ~ahead.label
        return rows


class Truth:
    """The final labels of a log, collected beforehand: one per joiner partition."""

    def __init__(self, tasks: Sequence[TaskSpec]) -> None:
        self._tasks = tuple(tasks)
        self._labels = {task.name: _Labels() for task in tasks}

    def add(self, transitions: Transitions) -> None:
        """Take the final labels of a batch."""
        exposure = transitions.rows.column("exposure").to_numpy()
        for task in self._tasks:
            told = tell(transitions, self._tasks, task)
            rows = np.flatnonzero(told.finals())
            self._labels[task.name].put(exposure[rows], told.happened[rows], told.delay(rows))

    def of(self, task: str, exposures: Ints) -> Foreseen:
        """Return the final labels of these exposures."""
        return self._labels[task].get(exposures)


class _Labels:
    """Final labels by exposure number, which are dense."""

    def __init__(self) -> None:
        self._state = np.zeros(_FIRST, np.int8)  # bit 0: known, bit 1: label
        self._delay = np.zeros(_FIRST, np.int64)

    def put(self, exposures: Ints, label: Bools, delay: Ints) -> None:
        most = int(exposures.max(initial=-1))
        while most >= len(self._state):
            self._state = np.concatenate([self._state, np.zeros_like(self._state)])
            self._delay = np.concatenate([self._delay, np.zeros_like(self._delay)])
        self._state[exposures] = 1 + 2 * label.astype(np.int8)
        self._delay[exposures] = delay

    def get(self, exposures: Ints) -> Foreseen:
        inside = exposures < len(self._state)
        place = np.where(inside, exposures, 0)
        state = np.where(inside, self._state[place], 0)
        return Foreseen((state & 1).astype(np.bool_), (state & 2).astype(np.bool_), self._delay[place])


def _exposed(told: Told) -> Bools:
    rows: Bools = told.kind == Telling.EXPOSED
    return rows


def reads_ahead(method: DelayedFeedback) -> bool:
    """Return whether a method wants to be told what only the log's future says."""
    return isinstance(method, Oracle) or (isinstance(method, OneLook) and method.heads.ahead)

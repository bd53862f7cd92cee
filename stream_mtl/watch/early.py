"""What a batch of transitions says of outputs before their labels are final: clocks that start, events that come."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from stream_mtl.clock import BEGINNING
from stream_mtl.join.transitions import Telling, Transitions
from stream_mtl.label.plan import Plan
from stream_mtl.label.told import Bools, Ints, Told, tell


@dataclass(frozen=True, slots=True)
class Early:
    """One output over the rows of a batch. (n,) each."""

    task: Told  # of a product: its last task's
    clock: (
        Ints  # ms: when the output's clock started; of a product the exposure's time. Junk where it did not
    )
    served: npt.NDArray[np.float64]  # nan where no score was served, or none that can be one
    joint: bool
    stands: Ints | None = None  # ms: since when an event that may be taken back stands, or last stood

    def exposed(self) -> Bools:
        """Return the rows that tell of an exposure for the first time."""
        rows: Bools = self.task.kind == Telling.EXPOSED
        return rows

    def ended(self) -> Bools:
        """Return the rows that tell the final label; of a product also that it can come no more."""
        if not self.joint:
            return self.task.finals() & self.task.about
        rows: Bools = (self.task.kind == Telling.FINAL) & self.task.about
        return rows

    def comes(self, look: int) -> Bools:
        """Return the rows that are the first to tell of the event, where the task's shortest look is at `look` ms.

        That look shows what came by then, a row of its own what came after; where the window closed before the look, the
        final row is the first to tell.
        """
        late = self.ended() & self.task.happened & (self.task.start + look > self.task.told)
        return self.task.looks(look) & self.task.happened | self.task.events(look) | late

    def taken_back(self, look: int) -> Bools:
        """Return the rows that take back an event that had been told, where the shortest look is at `look` ms.

        What came and went before the look was not told.
        """
        if self.stands is None:
            return np.zeros(len(self.clock), np.bool_)
        at = self.task.start + look
        told = (self.stands > at) | (at < self.task.told)
        rows: Bools = (self.task.kind == Telling.RETRACTED) & self.task.about & self.task.defined & told
        return rows


def early(plan: Plan, transitions: Transitions, served: npt.NDArray[np.float64]) -> Mapping[str, Early]:
    """Return, by output, what the rows say; `served` is (n, outputs), in the order of `Plan.outputs`."""
    time = transitions.rows.column("time").to_numpy()
    columns = dict(zip(plan.outputs, served.T, strict=True))
    found = {}
    for lesson in plan.lessons:
        name = lesson.task.name
        told, came = tell(transitions, plan.tasks, lesson.task), _came(transitions, name)
        found[name] = Early(told, told.start, columns[name], False, came)
        if lesson.joint:
            found[lesson.name] = Early(told, time, columns[lesson.name], True, came)
    return found


def _came(transitions: Transitions, task: str) -> Ints | None:
    """Return since when the event of a task that may be taken back stands, or last stood. (n,)"""
    name = f"came.{task}"
    if name not in transitions.rows.schema.names:
        return None
    came: Ints = transitions.rows.column(name).fill_null(BEGINNING).to_numpy()
    return came

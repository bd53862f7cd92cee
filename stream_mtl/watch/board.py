"""The board: sums of served scores and what became of them, per output, over many choices of examples.

Per output it keeps sums over

- the life of the stream;
- sliding windows of event time (of telling), each in 12 parts: a window reaches from the end of what was told back
  to the beginning of its 12th part, so it holds between 11 and 12 twelfths of its length;
- the examples that each snapshot served: the newest 50 apart, the ones before them together;
- the examples with each value of a slice's field: the first `max_slices` values that come apart, the rest together.

A product along a chain is told early where the answer is no (unclicked) and late where it can still be yes. Counted as
told, its first days would show misses only. So its rows are held back in cohorts of exposure time, as sums, until the
last label of the cohort must be in, and are counted as told at that moment.

All these are sums over final labels. What can be said before them comes from a run-off per output (`runoff.py`).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from stream_mtl.clock import BEGINNING, DAY, HOUR, Millis
from stream_mtl.join.spec import ChainSpec
from stream_mtl.label.plan import Plan, lives
from stream_mtl.measures import BinarySums, Sums, ValueSums
from stream_mtl.watch.cells import Arrays
from stream_mtl.watch.course import courses
from stream_mtl.watch.estimates import Before, corrected_of, maturity_of, proxies_of
from stream_mtl.watch.ledger import Ledger, Scored
from stream_mtl.watch.outcomes import Coded, Ints, Outcomes
from stream_mtl.watch.readings import LIFE, OutputReadings, Reading, Readings, reading_of, reliability_of
from stream_mtl.watch.runoff import Runoff
from stream_mtl.watch.words import window_name

__all__ = ["OTHER", "Board", "BoardOptions", "window_name"]

OTHER = "other"
"""The values of a slice that came after the limit was reached."""

_EARLY = "early"  # the arrays of a run-off


@dataclass(frozen=True, slots=True)
class BoardOptions:
    """What is kept and shown."""

    windows: tuple[Millis, ...] = (HOUR, DAY)  # of event time
    bins: int = 10  # of the reliability diagram
    slices: tuple[str, ...] = ()  # fields
    max_slices: int = 50  # values of a field that are told apart
    min_examples: int = 100  # below it a reading is absent


class Board:
    """The sums of one log of transitions."""

    def __init__(self, plan: Plan, chain: ChainSpec, options: BoardOptions = BoardOptions()) -> None:
        self.options = options
        self.told_before: Millis = BEGINNING
        self.ledgers: dict[str, Ledger] = {}
        self._known: dict[str, list[str]] = {field: [] for field in options.slices}
        values = {task.name for task in plan.tasks if task.regression}
        held = {lesson.name for lesson in plan.lessons if lesson.joint}
        ends = lives(plan, chain)
        for name in plan.outputs:
            sums = ValueSums if name in values else BinarySums
            self.ledgers[name] = Ledger(sums, ends[name], name in held, options.windows)
        self.runoffs = {
            name: Runoff(course, options.windows) for name, course in courses(plan, chain).items()
        }

    def update(self, outcomes: Outcomes, told_before: Millis) -> None:
        """Count outcomes; with them every label told before this event time is in."""
        self.told_before = max(self.told_before, told_before)
        slices = {field: self._admit(field, outcomes.slices[field]) for field in self._known}
        for i, ledger in enumerate(self.ledgers.values()):
            truth, served = ~np.isnan(outcomes.truth[:, i]), ~np.isnan(outcomes.served[:, i])
            impossible = int(outcomes.impossible[i])
            ledger.impossible += impossible
            ledger.unserved += int((truth & ~served).sum()) - impossible
            ledger.add(_scored(outcomes, slices, i, np.flatnonzero(truth & served)), self.told_before)
        for name, runoff in self.runoffs.items():
            runoff.add(outcomes.early[name], self.told_before)

    def readings(self) -> Readings:
        """Return what the sums say."""
        told = None if self.told_before == BEGINNING else self.told_before
        return Readings(told, {name: self._read(name) for name in self.ledgers})

    def state(self) -> tuple[dict[str, npt.NDArray[Any]], dict[str, Any]]:
        """Return everything: arrays by name, and facts that are JSON."""
        arrays: dict[str, npt.NDArray[Any]] = {}
        outputs: dict[str, Any] = {}
        for name, ledger in self.ledgers.items():
            packed, outputs[name] = ledger.state()
            arrays |= {f"{name}/{key}": array for key, array in packed.items()}
            early = self.runoffs[name].state()
            arrays |= {f"{name}/{_EARLY}/{key}": array for key, array in early.items()}
        known = {field: list(values) for field, values in self._known.items()}
        return arrays, {"told_before": self.told_before, "known": known, "outputs": outputs}

    def restore(self, arrays: Arrays, facts: Mapping[str, Any]) -> None:
        """Take back what the `state` of a board of the same plan, chain and options gave."""
        self.told_before = facts["told_before"]
        self._known = {field: list(values) for field, values in facts["known"].items()}
        for name, ledger in self.ledgers.items():
            own = _below(arrays, f"{name}/")
            ledger.restore(own, facts["outputs"][name])
            self.runoffs[name].restore(_below(own, f"{_EARLY}/"))

    def shown(self, sums: Mapping[str, Sums]) -> dict[str, Reading]:
        """Return the readings of sums, by name; one of too few examples is left out."""
        readings = {name: reading_of(one, self.told_before) for name, one in sums.items()}
        least = max(self.options.min_examples, 1)
        return {name: reading for name, reading in readings.items() if reading.examples >= least}

    def views(self, ledger: Ledger) -> dict[str, Reading]:
        """Return the readings of the life and the windows."""
        windows = {window_name(window): ledger.window(window) for window in self.options.windows}
        return self.shown({LIFE: ledger.life, **windows})

    def early(self, name: str) -> Before:
        """Return what is known of an output before its labels are final."""
        runoff, told, least = self.runoffs[name], self.told_before, self.options.min_examples
        windows = {window_name(window): window for window in self.options.windows}
        corrected, why_not = corrected_of(runoff, windows, told, least)
        return Before(
            maturity_of(runoff, self.ledgers[name].newest, windows, told),
            proxies_of(runoff, windows, told, least),
            corrected,
            why_not,
        )

    def _admit(self, field: str, coded: Coded) -> Coded:
        """Put the values beyond the limit together as "other"; first come, first told apart."""
        known = self._known[field]
        for value in coded.values:
            if len(known) < self.options.max_slices and value not in known and value != OTHER:
                known.append(value)
        names = [*known, OTHER]
        places = [names.index(value) if value in known else len(known) for value in coded.values]
        return Coded(names, np.array(places, np.int64)[coded.codes])

    def _read(self, name: str) -> OutputReadings:
        ledger, views, early = self.ledgers[name], self.views(self.ledgers[name]), self.early(name)
        told = self.told_before
        return OutputReadings(
            views=views,
            reliability=reliability_of(ledger.life, self.options.bins) if LIFE in views else [],
            snapshots=self.shown(ledger.snapshots()),
            slices={field: self.shown(ledger.slices(field)) for field in self._known},
            ripe_before=None if told == BEGINNING else ledger.ripe_before(told),
            unserved=ledger.unserved,
            impossible=ledger.impossible,
            maturity=early.maturity,
            proxy=early.proxy,
            corrected=early.corrected,
            uncorrected=early.uncorrected,
        )


def _below(arrays: Arrays, start: str) -> Arrays:
    return {key.removeprefix(start): arrays[key] for key in arrays if key.startswith(start)}


def _scored(outcomes: Outcomes, slices: Mapping[str, Coded], output: int, rows: Ints) -> Scored:
    return Scored(
        told=outcomes.told[rows],
        time=outcomes.time[rows],
        snapshot=outcomes.snapshot[rows],
        served=outcomes.served[rows, output],
        truth=outcomes.truth[rows, output],
        slices={field: Coded(coded.values, coded.codes[rows]) for field, coded in slices.items()},
    )

"""What predictions made at exposures were worth, by the time and by the hour of the day at which these were exposed.

Learners that follow one log are graded on the same exposures, cell by cell: so they compare in pairs.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import reduce
from operator import add
from typing import Any

import numpy as np
import numpy.typing as npt

from stream_mtl.clock import DAY, HOUR, MINUTE, Millis
from stream_mtl.measures import (
    BinarySums,
    auc,
    average_precision,
    calibration,
    count,
    expected_calibration_error,
    log_loss,
    normalised_entropy,
    observed,
    precision_recall_trapezoid,
)

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[Any]

HOURS = 24
_WIDTHS = tuple(
    minutes * MINUTE for minutes in (1, 2, 5, 10, 15, 30, 60, 120, 180, 360, 720, 1440, 2880, 10080, 40320)
)
_FOLD = 1 << 15  # rows that are kept before they are summed


@dataclass(frozen=True, slots=True)
class Span:
    """Which exposures are graded: those in [since, until), in `blocks` of equal time at most."""

    since: Millis
    until: Millis
    blocks: int = 48

    @property
    def width(self) -> Millis:
        """How much time one block takes: a round number."""
        least = max(self.until - self.since, 1) / self.blocks
        return next((width for width in _WIDTHS if width >= least), round(least) + 1)

    @property
    def halves(self) -> "tuple[Span, Span]":
        """Both halves of the time."""
        middle = (self.since + self.until) // 2
        blocks = max(self.blocks // 2, 1)
        return Span(self.since, middle, blocks), Span(middle, self.until, blocks)

    def block(self, time: Ints) -> Ints:
        """Return the number of the block of each time. (n,)"""
        return (time - self.since) // self.width

    def __len__(self) -> int:
        return -(-max(self.until - self.since, 0) // self.width)


MEASURES: Mapping[str, Callable[[BinarySums], float | None]] = {
    "log_loss": log_loss,
    "normalised_entropy": normalised_entropy,
    "calibration": calibration,
    "auc": auc,
    "average_precision": average_precision,
    "precision_recall_trapezoid": precision_recall_trapezoid,
    "expected_calibration_error": expected_calibration_error,
}
"""What is said of predictions."""


@dataclass(frozen=True, slots=True)
class Value:
    """One measure: of everything, of each part, and of everything but one block. None where it is not defined."""

    whole: float | None
    blocks: tuple[float | None, ...]
    without: tuple[float | None, ...]  # of all blocks but this one: what a jackknife asks for
    hours: tuple[float | None, ...]  # of the day, UTC


@dataclass(frozen=True, slots=True)
class Marks:
    """What the predictions of one output were worth."""

    examples: tuple[int, ...]  # in each block
    positives: int  # in all
    values: Mapping[str, Value]  # by MEASURES


class Grades:
    """The sums of one output."""

    def __init__(self, span: Span) -> None:
        self.span = span
        self._blocks = [BinarySums.nothing() for _ in range(len(span))]
        self._hours = [BinarySums.nothing() for _ in range(HOURS)]
        self._waiting: list[tuple[Ints, Floats, Floats]] = []
        self._rows = 0

    def marks(self) -> "Marks":
        """Return what the sums come to."""
        self._fold()
        whole = reduce(add, self._blocks, BinarySums.nothing())
        without = [whole - block for block in self._blocks]
        return Marks(
            examples=tuple(map(count, self._blocks)),
            positives=int(observed(whole)),
            values={
                name: _value(how, whole, self._blocks, without, self._hours) for name, how in MEASURES.items()
            },
        )

    def add(self, time: Ints, predicted: Floats, truth: Floats) -> None:
        """Take exposures: when they were, what was predicted, what became of them; nan where not known. (n,) each"""
        known = ~np.isnan(truth) & ~np.isnan(predicted)
        rows = np.flatnonzero(known & (time >= self.span.since) & (time < self.span.until))
        self._waiting.append((time[rows], predicted[rows], truth[rows]))
        self._rows += len(rows)
        if self._rows >= _FOLD:
            self._fold()

    def _fold(self) -> None:
        if self._rows:
            time, predicted, truth = (np.concatenate(column) for column in zip(*self._waiting, strict=True))
            _put(self._blocks, self.span.block(time), predicted, truth)
            _put(self._hours, time % DAY // HOUR, predicted, truth)
        self._waiting, self._rows = [], 0


class Grader:
    """The grades of several outputs of one learner: what a trainer is given to tell them to."""

    def __init__(self, outputs: Sequence[str], graded: Sequence[str], span: Span) -> None:
        """`outputs` are all of the learner's (Plan.outputs), `graded` the yes-or-no ones that are looked at."""
        self.grades: Mapping[str, Grades] = {name: Grades(span) for name in graded}
        self._columns = [(list(outputs).index(name), grades) for name, grades in self.grades.items()]

    def __call__(self, time: Ints, predictions: Floats, truths: Floats) -> None:
        """Take final rows."""
        for column, grades in self._columns:
            grades.add(time, predictions[:, column], truths[:, column])


def _value(
    how: Callable[[BinarySums], float | None],
    whole: BinarySums,
    blocks: Sequence[BinarySums],
    without: Sequence[BinarySums],
    hours: Sequence[BinarySums],
) -> Value:
    parts = (tuple(map(how, some)) for some in (blocks, without, hours))
    return Value(how(whole), *parts)


def _put(cells: list[BinarySums], cell: Ints, predicted: Floats, truth: Floats) -> None:
    for number, rows in _groups(cell):
        cells[number] = cells[number] + BinarySums.of(predicted[rows], truth[rows])


def _groups(key: Ints) -> Iterator[tuple[int, Ints]]:
    order = np.argsort(key, kind="stable")
    values, first = np.unique(key[order], return_index=True)
    yield from zip(values.tolist(), np.split(order, first[1:]), strict=True)

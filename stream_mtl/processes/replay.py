"""The whole journey over recorded events, as fast as they can be read: join, learn, and say how good it was."""

import time
from array import array
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from stream_mtl.clock import MINUTE, Millis, system_clock
from stream_mtl.config.chains import limits
from stream_mtl.config.labels import is_labelled, labels
from stream_mtl.config.load import Loaded
from stream_mtl.connectors.append import JsonLinesSink
from stream_mtl.connectors.letters import DeadLetters
from stream_mtl.events.codec import Codec
from stream_mtl.events.letters import letters_of
from stream_mtl.join.digest import TransitionDigest
from stream_mtl.join.transitions import Transitions
from stream_mtl.label.oracle import Truth, reads_ahead
from stream_mtl.learn.learner import StepReport
from stream_mtl.learn.outcomes import nothing_measured
from stream_mtl.learn.recipe import Recipe
from stream_mtl.learn.tally import Tally
from stream_mtl.learn.trainer import Stepped, Trainer
from stream_mtl.measures import Sums
from stream_mtl.processes.bus import file_sources
from stream_mtl.processes.crew import Accounts
from stream_mtl.processes.declared import Declared, declared
from stream_mtl.processes.digest import of_trainer
from stream_mtl.processes.joined import Progress, joined
from stream_mtl.processes.recipe import prepare_torch, recipe_of
from stream_mtl.processes.stop import Stop
from stream_mtl.processes.watch import board_options
from stream_mtl.watch.board import Board
from stream_mtl.watch.curve import Curve
from stream_mtl.watch.outcomes import outcomes

_ROWS = 1_024
"""Rows that bring their labels are learned in such portions, between which the measures are noted."""

_APART = 1024  # rows with labels whose positions are told apart as times


@dataclass(slots=True)
class Replayed:
    """What a replay came to."""

    made: Declared
    recipe: Recipe
    accounts: Accounts
    tally: Tally
    waiting: int  # predictions whose labels the log does not tell
    measures: Mapping[str, Sums]  # by output, for the life of the stream
    later: Mapping[str, Sums]  # the same of about the second half
    intervals: Sequence[tuple[Millis, Mapping[str, Sums]]]
    losses: Mapping[str, Sequence[tuple[int, float]]]
    served: Board | None  # of the scores that were served when the events were recorded
    span: tuple[Millis, Millis] | None  # event times
    seconds: float
    cpu_seconds: float
    digest: dict[str, object] = field(default_factory=dict)
    stopped: bool = False


def replay(loaded: Loaded, letters: Path, stop: Stop, progress: Progress) -> Replayed:
    """Replay the events of a configuration; records that are none go to `letters`. Raises ConfigError, DataError."""
    begun, cpu = time.perf_counter(), time.process_time()
    made = declared(loaded)
    prepare_torch(made.config)
    run = _Run(made, recipe_of(made))
    read = _rows if is_labelled(made.config) else _events
    accounts = read(run, letters, stop, progress)
    report = run.trainer.flush()
    if report is not None:
        run.count(report)
    return run.result(accounts, time.perf_counter() - begun, time.process_time() - cpu, stop())


class _Run:
    """A learner and what is noted of it on the way."""

    def __init__(self, made: Declared, recipe: Recipe) -> None:
        self.made, self.recipe = made, recipe
        self.trainer, self.tally = Trainer(recipe), Tally()
        self.truth: Truth | None = None
        self.hashed = TransitionDigest(made.chain.features_on_final)
        labelled = is_labelled(made.config)
        self._curve = Curve(nothing_measured(recipe.plan), every=1 if labelled else MINUTE)
        self._losses: dict[str, array[float]] = {name: array("f") for name in recipe.plan.names}
        self._board = _board(made) if made.chain.before is not None else None
        self._first: Millis | None = None

    def take(self, transitions: Transitions, told_before: Millis) -> None:
        """Learn from a batch of transitions."""
        self.hashed.update(transitions)
        self.trainer.take(transitions, 0, self.truth, self._after)
        if self._board is not None:
            found = outcomes(self.made.plan, transitions, self._board.options.slices)
            self._board.update(found, told_before)

    def learn_rows(self, fields: pa.Table, positions: npt.NDArray[np.int64]) -> None:
        """Learn from rows that bring their labels. Their time is their position, however they were read."""
        times = positions // _APART * _APART
        starts = np.flatnonzero(np.diff(times, prepend=-1)).tolist()
        for start, stop in pairwise([*starts, len(times)]):
            rows = fields.slice(start, stop - start)
            for report in self.trainer.learn_rows(rows, labels(self.made.config, rows), int(times[start])):
                self.count(report)

    def count(self, report: StepReport) -> None:
        """Note a step."""
        self._first = report.time if self._first is None else self._first
        self.tally.add(report)
        for name, loss in report.loss.items():
            self._losses[name].append(loss)
        self._curve.pass_by(report.time, self.trainer.measures)

    def result(self, accounts: Accounts, seconds: float, cpu: float, stopped: bool) -> Replayed:
        """Return what it came to."""
        last, upto = self.trainer.measures, self.tally.upto
        return Replayed(
            made=self.made,
            recipe=self.recipe,
            accounts=accounts,
            tally=self.tally,
            waiting=self.trainer.waiting,
            measures=last,
            later=self._curve.second_half(last),
            intervals=self._curve.intervals(upto, last),
            losses={name: _thinned(losses) for name, losses in self._losses.items()},
            served=self._board,
            span=None if self._first is None else (self._first, upto),
            seconds=seconds,
            cpu_seconds=cpu,
            digest={"transitions": self.hashed.value(), "rows": self.hashed.rows, **of_trainer(self.trainer)},
            stopped=stopped,
        )

    def _after(self, stepped: Stepped) -> None:
        self.count(stepped.report)


def _events(run: _Run, letters: Path, stop: Stop, progress: Progress) -> Accounts:
    """Join, and learn from what is told as it is told."""
    if any(reads_ahead(method) for method in run.made.plan.methods.values()):
        truth = Truth(run.made.plan.tasks)
        for _, transitions in joined(run.made, letters, stop, lambda *_: None):
            truth.add(transitions)
        run.truth = truth
    accounts: Accounts = {}
    for header, transitions in joined(run.made, letters, stop, progress):
        run.take(transitions, header.told_before)
        accounts = header.accounts
    return accounts


def _rows(run: _Run, letters: Path, stop: Stop, progress: Progress) -> Accounts:
    """Learn from rows that bring their labels."""
    made = run.made
    (source,) = file_sources(made)
    codec = Codec(made.specs, limits(made.config), system_clock)
    dead = DeadLetters(JsonLinesSink(letters))
    counts = {"joined": 0, "malformed": 0}
    try:
        while not source.ended() and not stop():
            for records in source.poll(made.config.join.poll_rows):
                arrivals = codec.decode(records)
                for events in arrivals.events:
                    counts["joined"] += len(events)
                    run.learn_rows(pa.Table.from_batches([events.fields]), events.position)
                counts["malformed"] += len(arrivals.malformed)
                for letter in letters_of(arrivals):
                    dead.add(letter)
            progress(*source.progress(), sum(counts.values()))
    finally:
        source.close()
        dead.close()
    return {made.chain.root.name: counts}


def _board(made: Declared) -> Board:
    return Board(made.plan, made.chain, board_options(made.config))


def _thinned(losses: "array[float]", most: int = 300) -> list[tuple[int, float]]:
    """Return (step, loss): means over equally many steps."""
    values = np.array(losses)
    size = max(-(-len(values) // most), 1)
    starts = np.arange(0, len(values), size)
    if len(values) == 0:
        return []
    means = np.add.reduceat(values, starts) / np.diff(np.append(starts, len(values)))
    return [(int(start) + size, float(mean)) for start, mean in zip(starts, means, strict=True)]

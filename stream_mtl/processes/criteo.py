"""The Criteo streaming protocol (Yang et al., AAAI 2021): every method along the same stream, hour by hour.

1. every learner begins with what a log that ends with day 29 teaches
2. hour by hour it learns what is told in hour k, in the order of telling
3. then predicts all clicks of hour k + 1, scored by their final labels
4. the score is the mean over hours of the measures within each, by the hours' rows
"""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch

from stream_mtl.clock import DAY, END, HOUR, Millis
from stream_mtl.errors import ConfigError
from stream_mtl.label.base import DelayedFeedback
from stream_mtl.label.heads import OneLook
from stream_mtl.label.methods import parse
from stream_mtl.label.oracle import Oracle
from stream_mtl.label.wait import Mature
from stream_mtl.learn.arrays import Arrays
from stream_mtl.learn.learner import Learner
from stream_mtl.processes.criteo_learners import (
    Beginning,
    FrozenHeads,
    Heads,
    Student,
    needs_warm_up,
    penalise,
    recipe_of,
    transplanted,
    warm_up,
)
from stream_mtl.processes.criteo_log import ClickLog, read_clicks
from stream_mtl.processes.criteo_measures import HourlyMeans, improvements
from stream_mtl.processes.criteo_methods import Vanilla
from stream_mtl.processes.criteo_stream import ClickStream, looks, spans

METHODS = (
    "wait,wait:1h,fnc,fnw,pu,es_dfm:15m,ddfm:15m,defer:15m,defer_rn:15m,defuse:15m,bi_defuse:15m,fsiw:15m,ulc:15m,"
    "dfm:15m,1d,7d"
)
"""Those that are compared where none are named, besides the references."""
PRETRAINED, VANILLA, ORACLE = "pretrained", "vanilla:1h", "oracle"
"""The references: no learning on the stream; the 0 and the 1 of relative improvements."""

Progress = Callable[[str, int, int], None]
"""Is told what is being done, how much of it is done and how much there is to do."""


@dataclass(frozen=True, slots=True)
class Protocol:
    """How the protocol is run; the days, the window and the epochs are the published ones."""

    pretrain_days: int = 30
    days: int = 60
    window_days: int = 30  # in which a conversion counts
    epochs: int = 5
    frozen_heads: bool = False  # auxiliary logits are learned beforehand, by a network of their own, and stay
    leaky_labels: bool = False  # pretraining knows conversions that come during the stream, as published
    seed: int = 0
    threads: int = 1

    @property
    def begin(self) -> Millis:
        """When the stream begins."""
        return self.pretrain_days * DAY

    @property
    def hours(self) -> range:
        """The hours that are learned; each is followed by one that is predicted."""
        return range(self.pretrain_days * 24, self.days * 24 - 1)


@dataclass(frozen=True, slots=True)
class Scored:
    """What a method came to."""

    name: str
    means: Mapping[str, float | None]
    relative: Mapping[str, float | None]  # 0: vanilla, 1: oracle
    examples: Mapping[str, int]  # learned on the stream, by kind
    steps: int
    cpu_seconds: float  # on the stream: learning and predicting


@dataclass(frozen=True, slots=True)
class Table:
    """All methods, over the same hours."""

    protocol: Protocol
    clicks: int
    conversions: int
    unreadable: Mapping[str, int]
    hours: int
    one_class: int  # hours that count for nothing
    rows: int  # predicted, in hours that count
    methods: Sequence[Scored] = field(default_factory=tuple)


def methods_of(text: str) -> dict[str, DelayedFeedback]:
    """Return the methods that a text like "es_dfm:15m,dfm:1h,1d,fnw" names, by name. Raises ConfigError."""
    names: list[str] = []
    for piece in (part.strip() for part in text.split(",")):
        if names and piece[:1].isdigit():
            names[-1] += f",{piece}"
        elif piece:
            names.append(piece)
    found = {name: parse(name) for name in names if name not in (PRETRAINED, VANILLA, ORACLE)}
    for name, method in found.items():
        if isinstance(method, Oracle):
            raise ConfigError(f'"{name}" is among the references already; leave it out')
    return found


def run_criteo(
    path: Path,
    methods: Mapping[str, DelayedFeedback],
    protocol: Protocol,
    rows: int | None,
    progress: Progress,
) -> Table:
    """Read the log, or so many rows of it, and run the protocol. Raises DataError, ConfigError."""
    log = read_clicks(path, lambda done, total, _: progress("reading", done, total), protocol.begin, rows)
    return compare(log, methods, protocol, progress)


def compare(
    log: ClickLog, methods: Mapping[str, DelayedFeedback], protocol: Protocol, progress: Progress
) -> Table:
    """Run the protocol over a log. Raises ConfigError where a span of it has no clicks."""
    _check(log, protocol)
    torch.set_num_threads(protocol.threads)
    torch.set_deterministic_debug_mode("error")
    chosen: dict[str, DelayedFeedback] = {VANILLA: Vanilla(HOUR), ORACLE: Oracle(), **methods}
    stream = ClickStream(
        log, protocol.window_days * DAY, looks([w for m in chosen.values() for w in m.waits])
    )
    school = _School(stream, chosen, protocol, progress)
    students = [school.untaught(), *(school.student(name, method) for name, method in chosen.items())]
    means, seconds = _stream(stream, students, protocol, progress)
    zero, one = means[VANILLA].means, means[ORACLE].means
    scored = [
        Scored(
            student.name,
            means[student.name].means,
            improvements(means[student.name].means, zero, one),
            dict(student.kinds),
            student.steps,
            seconds[student.name],
        )
        for student in students
    ]
    first = means[PRETRAINED]
    conversions = int((log.delay <= stream.window).sum())
    counts = (first.hours, first.one_class, first.rows)
    return Table(protocol, len(log), conversions, log.unreadable, *counts, scored)


class _School:
    """What every method begins with; what several have in common is learned once."""

    def __init__(
        self,
        stream: ClickStream,
        methods: Mapping[str, DelayedFeedback],
        protocol: Protocol,
        progress: Progress,
    ) -> None:
        self._stream, self._protocol, self._progress = stream, protocol, progress
        self._done, self._work = 0, _rows_to_learn(stream, methods, protocol)
        known = END if protocol.leaky_labels else protocol.begin
        self._beginning = Beginning(stream, protocol.begin, known, protocol.epochs, protocol.seed, self._tick)
        self._base = self._beginning.base()
        self._with_heads: dict[tuple[str, Millis], Arrays] = {}
        self._heads: dict[Millis, Heads] = {}

    def untaught(self) -> Student:
        """Return one that is not to learn."""
        return Student(PRETRAINED, Mature(), self._learner(Mature(), self._base), None)

    def student(self, name: str, method: DelayedFeedback) -> Student:
        """Return a method at the beginning of the stream."""
        state, heads = self._base, None
        if isinstance(method, OneLook):
            if self._protocol.frozen_heads:
                heads = self._frozen(method.wait)
            else:
                state = self._beside(method, method.wait)
        truth = self._stream.truth() if isinstance(method, Oracle) else None
        student = Student(name, method, self._learner(method, state, heads), truth)
        if needs_warm_up(method):
            warm_up(student, self._stream, spans(0, self._protocol.begin, HOUR), self._tick)
            state = student.learner.arrays()
            student = Student(name, method, self._learner(method, state), None)
        return student

    def _frozen(self, wait: Millis) -> Heads:
        if wait not in self._heads:
            self._heads[wait] = self._beginning.heads(wait)
        return self._heads[wait]

    def _beside(self, method: DelayedFeedback, wait: Millis) -> Arrays:
        key = _group(method, wait)
        if key not in self._with_heads:
            self._with_heads[key] = self._beginning.with_heads(self._base, method, wait)
        return self._with_heads[key]

    def _learner(self, method: DelayedFeedback, state: Arrays, heads: Heads | None = None) -> Learner:
        recipe = recipe_of(method, self._protocol.seed)
        learner = Learner(recipe) if heads is None else FrozenHeads(recipe, heads)
        penalise(transplanted(learner, state).model)
        return learner

    def _tick(self, rows: int) -> None:
        self._done += rows
        self._progress("pretraining", min(self._done, self._work), self._work)


def _rows_to_learn(stream: ClickStream, methods: Mapping[str, DelayedFeedback], protocol: Protocol) -> int:
    """Return about how many rows are learned before the stream."""
    looking = [method for method in methods.values() if isinstance(method, OneLook)]
    heads = len({method.wait for method in looking}) * protocol.epochs
    beside = len({_group(method, method.wait) for method in looking})
    warm = sum(needs_warm_up(method) for method in methods.values())
    passes = protocol.epochs + warm + (heads if protocol.frozen_heads else beside)
    return passes * int(stream.log.clicks(0, protocol.begin).stop)


def _group(method: DelayedFeedback, wait: Millis) -> tuple[str, Millis]:
    """Return what methods have in common that learn the same auxiliary logits from matured labels."""
    return ",".join(one.name for one in method.auxiliary), wait


def _stream(
    stream: ClickStream, students: Sequence[Student], protocol: Protocol, progress: Progress
) -> tuple[dict[str, HourlyMeans], dict[str, float]]:
    """Learn hour after hour, and predict the next one each time. Return the scores and CPU seconds, by method."""
    log, encode = stream.log, students[0].learner.recipe.features.encode
    means = {student.name: HourlyMeans() for student in students}
    seconds = dict.fromkeys(means, 0.0)
    for done, hour in enumerate(protocol.hours):
        told = stream.tell(hour * HOUR, (hour + 1) * HOUR)
        taught = encode(told.fields)
        next_ = log.clicks((hour + 1) * HOUR, (hour + 2) * HOUR)
        asked, label = encode(log.fields(next_)), log.delay[next_] <= stream.window
        for student in students:
            began = time.process_time()
            if student.name != PRETRAINED:
                student.learn(told, taught)
            if len(label):
                means[student.name].add(student.predict(asked), label)
            else:
                means[student.name].one_class += 1
            seconds[student.name] += time.process_time() - began
        progress("streaming", done + 1, len(protocol.hours))
    return means, seconds


def _check(log: ClickLog, protocol: Protocol) -> None:
    if not 0 < protocol.pretrain_days < protocol.days:
        raise ConfigError(
            f"{protocol.pretrain_days} days of {protocol.days} before the stream leave no stream, or nothing to "
            "begin with; choose fewer, but one at least"
        )
    if protocol.epochs < 1:
        raise ConfigError("--epochs: pretraining needs at least one pass")
    before = log.clicks(0, protocol.begin).stop
    behind = len(log) - int(np.searchsorted(log.click, protocol.begin + HOUR))
    if before < 2 or not behind:
        raise ConfigError(
            f"{before} clicks before day {protocol.pretrain_days}, {behind} after its first hour: nothing to learn "
            "from or to predict; is the log shorter? see --pretrain-days"
        )

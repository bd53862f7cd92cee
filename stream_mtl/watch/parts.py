"""What a report is made of: plain data, every part optional."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from stream_mtl.clock import Millis
from stream_mtl.measures import Group, Reading
from stream_mtl.watch.readings import WAITING, Corrected, Maturity, Proxy


@dataclass(frozen=True, slots=True)
class Fact:
    """A headline: what, how much, and a word about it."""

    label: str
    value: str
    note: str = ""


@dataclass(frozen=True, slots=True)
class Point:
    """What was read of an interval of event time."""

    time: Millis  # its end
    reading: Reading


@dataclass(frozen=True, slots=True)
class Early:
    """What is known of one output before its labels are final."""

    ripe_before: Millis | None = None
    maturity: Maturity | None = None
    view: str = WAITING  # of the proxy and the estimate
    proxy: Proxy | None = None
    corrected: Corrected | None = None
    why_not: str = "nothing was told yet"
    looks: Mapping[str, Proxy] = field(default_factory=dict)  # by horizon: what looks had seen


@dataclass(frozen=True, slots=True)
class EarlyPoint:
    """What was known at a moment of labels that were not final then."""

    time: Millis  # event time
    proxy: float | None  # calibration so far
    estimate: float | None
    interval: tuple[float, float] | None  # of the estimate, 95 %


@dataclass(frozen=True, slots=True)
class TaskReport:
    """How well one task, or one product of tasks, was predicted."""

    name: str
    about: str  # one sentence
    reading: Reading  # `measures.reading` of everything
    curve: Sequence[Point] = ()
    reliability: Sequence[Group] = ()
    early: Early | None = None
    early_curve: Sequence[EarlyPoint] = ()


@dataclass(frozen=True, slots=True)
class Learning:
    """What was learned, and how the loss fell."""

    steps: int
    examples: int
    rows_per_second: float | None = None
    losses: Mapping[str, Sequence[tuple[int, float]]] = field(default_factory=dict)  # by lesson: (step, loss)


@dataclass(frozen=True, slots=True)
class SnapshotRow:
    """A version, and how the scores that it served did."""

    version: str
    time: Millis | None  # event time up to which it had learned
    examples: int | None
    calibration: Mapping[str, float | None]  # by task


@dataclass(frozen=True, slots=True)
class NextStep:
    """Something to do, and the command that does it."""

    text: str
    command: str = ""


@dataclass(frozen=True, slots=True)
class Report:
    """A page about one run."""

    title: str
    subtitle: str = ""  # when, and from what it was made
    facts: Sequence[Fact] = ()
    accounts: Mapping[str, Mapping[str, int]] = field(default_factory=dict)  # kind -> fate -> records
    tasks: Sequence[TaskReport] = ()
    learning: Learning | None = None
    snapshots: Sequence[SnapshotRow] = ()
    notes: Sequence[str] = ()
    next_steps: Sequence[NextStep] = ()

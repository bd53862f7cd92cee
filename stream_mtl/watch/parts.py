"""What a report is made of: plain data, every part optional."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from stream_mtl.clock import Millis
from stream_mtl.measures import Group, Reading


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
class TaskReport:
    """How well one task, or one product of tasks, was predicted."""

    name: str
    about: str  # one sentence
    reading: Reading  # `measures.reading` of everything
    curve: Sequence[Point] = ()
    reliability: Sequence[Group] = ()


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

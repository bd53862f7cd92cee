"""One measured run: CPU and wall seconds, peak memory, and medians over rounds."""

import gc
import resource
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import median
from typing import Any, Generic, TypeVar

Result = TypeVar("Result")


@dataclass(frozen=True, slots=True)
class Run(Generic[Result]):
    """What a call gave and cost."""

    result: Result
    cpu: float  # seconds, of this process, all threads
    wall: float
    peak: float | None = None  # MB of the process, where the run had one of its own


def timed(call: Callable[[], Result]) -> Run[Result]:
    """Run a call once, with the garbage of earlier ones collected before."""
    gc.collect()
    cpu, wall = time.process_time(), time.perf_counter()
    result = call()
    return Run(result, time.process_time() - cpu, time.perf_counter() - wall)


def peak_megabytes() -> float:
    """Return the most memory that this process has held so far."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


@dataclass(frozen=True, slots=True)
class Rate:
    """Items per CPU second over several rounds, and the wall seconds of the median one."""

    name: str
    items: int
    cpu: tuple[float, ...]
    wall: tuple[float, ...]
    peaks: tuple[float, ...] = ()  # MB, where each run had a process of its own

    @property
    def per_cpu_second(self) -> float:
        """The median rate."""
        return self.items / median(self.cpu)

    def times(self, other: "Rate") -> tuple[float, float, float]:
        """Return how many times as fast as `other`, round by round: median, least, most."""
        ratios = [
            (self.items / mine) / (other.items / theirs)
            for mine, theirs in zip(self.cpu, other.cpu, strict=True)
        ]
        return median(ratios), min(ratios), max(ratios)


@dataclass(frozen=True, slots=True)
class Compared:
    """Ways to do one thing, by turns in one process; the others are compared with the first."""

    about: str
    unit: str  # what the rates count
    rates: list[Rate]
    peak_megabytes: float


def by_turns(
    ways: Mapping[str, Callable[[], Run[Any]]],
    items: int,
    rounds: int,
    check: Callable[[str, Any], None] = lambda name, result: None,
) -> list[Rate]:
    """Run every way in turn, so many rounds. `check` is told each way's name and what it gave, and may raise."""
    runs: dict[str, list[Run[None]]] = {name: [] for name in ways}
    for _ in range(rounds):
        for name, way in ways.items():
            run = way()
            check(name, run.result)
            runs[name].append(replace(run, result=None))
    return [_rate(name, items, made) for name, made in runs.items()]


def _rate(name: str, items: int, runs: Sequence[Run[None]]) -> Rate:
    cpu, wall = tuple(run.cpu for run in runs), tuple(run.wall for run in runs)
    return Rate(name, items, cpu, wall, tuple(run.peak for run in runs if run.peak is not None))


@dataclass(frozen=True, slots=True)
class Latency:
    """Requests of one size, one after the other."""

    candidates: int
    wall: tuple[float, ...]  # seconds of whole requests, as the client has them
    scorer_ms: float  # CPU a request, in process: rows of fields to scores
    answer_ms: float  # CPU a request, in process: the body of a request to that of its answer
    server_ms: float  # CPU a request of the server's process

    def millis(self, share: float) -> float:
        """Return the milliseconds within which this share of the requests was answered."""
        place = min(int(share * len(self.wall)), len(self.wall) - 1)
        return sorted(self.wall)[place] * 1_000

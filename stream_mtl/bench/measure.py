"""One measured run: CPU and wall seconds, peak memory, and medians over rounds."""

import gc
import resource
import time
from collections.abc import Callable
from dataclasses import dataclass
from statistics import median
from typing import Generic, TypeVar

Result = TypeVar("Result")


@dataclass(frozen=True, slots=True)
class Run(Generic[Result]):
    """What a call gave and cost."""

    result: Result
    cpu: float  # seconds, of this process, all threads
    wall: float


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

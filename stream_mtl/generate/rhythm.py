"""How the market moves: the day's rhythm of traffic, weights that swing, things that change at once."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import inf, tau
from typing import Literal, TypeAlias

import numpy as np
import numpy.typing as npt

from stream_mtl.clock import DAY, HOUR, MINUTE, Millis
from stream_mtl.errors import ConfigError

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]
Moved: TypeAlias = Literal["clicks", "conversions", "click_delays", "conversion_delays"]


@dataclass(frozen=True, slots=True)
class Sudden:
    """From `at` after the start on: the odds of clicks and conversions, and all delays, times a factor."""

    at: Millis
    clicks: float = 1.0
    conversions: float = 1.0
    click_delays: float = 1.0
    conversion_delays: float = 1.0

    def __post_init__(self) -> None:
        factors = (self.clicks, self.conversions, self.click_delays, self.conversion_delays)
        if not all(0 < factor < inf for factor in factors):
            raise ConfigError(f"a sudden change's factors must be above zero and finite, not {factors}")


def sudden_factor(changes: Sequence[Sudden], what: Moved, elapsed: Ints) -> Floats:
    """Return (n,) the product of the factors that hold so long after the start."""
    out = np.ones(len(elapsed))
    for change in changes:
        out *= np.where(elapsed >= change.at, getattr(change, what), 1.0)
    return out


@dataclass(frozen=True, slots=True)
class Weights:
    """One weight for each value of a feature, each swinging about its mean at a pace of its own."""

    mean: Floats  # (values,)
    swing: float  # amplitude
    pace: Floats  # (values,) radians a millisecond
    phase: Floats  # (values,)

    @classmethod
    def draw(
        cls,
        mean: Floats,
        swing: float,
        periods: tuple[Millis, Millis],
        rng: np.random.Generator,
        speed: float = 1.0,
    ) -> "Weights":
        """Return weights whose periods are drawn between two bounds, and then gone through so many times as fast."""
        pace = speed * tau / rng.uniform(periods[0], periods[1], len(mean))
        return cls(mean, swing, pace, rng.uniform(0, tau, len(mean)))

    def at(self, value: Ints, elapsed: Ints) -> Floats:
        """Return (n,) the weight of each value so long after the start; the two broadcast."""
        if self.swing == 0:
            return self.mean[value]
        return self.mean[value] + self.swing * np.sin(self.pace[value] * elapsed + self.phase[value])


def traffic(
    n: int, start: Millis, duration: Millis, amplitude: float, peak_hour: float, rng: np.random.Generator
) -> Ints:
    """Return (n,) sorted times; the rate is 1 + amplitude cos(2 pi (hour - peak) / 24), in UTC."""
    drawn = np.sort(rng.random(n))
    if amplitude == 0:
        return start + (drawn * duration).astype(np.int64)
    grid = np.append(np.arange(0, duration, MINUTE), duration).astype(np.float64)
    angle = tau * (start % DAY + grid - peak_hour * HOUR) / DAY
    expected = grid + amplitude * DAY / tau * (np.sin(angle) - np.sin(angle[0]))
    return np.asarray(start + np.interp(drawn * expected[-1], expected, grid).astype(np.int64))

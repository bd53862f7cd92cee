"""How long people take: laws of delay that can be drawn from and asked how much of them is over by when."""

from dataclasses import dataclass
from math import gamma, inf
from typing import Protocol

import numpy as np
import numpy.typing as npt

from stream_mtl.errors import ConfigError

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]


class Law(Protocol):
    """A distribution of delays in milliseconds."""

    @property
    def mean(self) -> float:
        """The mean delay in ms."""
        ...

    def draw(self, n: int, rng: np.random.Generator) -> Floats:
        """Return (n,) delays."""
        ...

    def reached(self, delay: Floats) -> Floats:
        """Return P(a delay is at most this), for each; 0 for what is below zero."""
        ...


@dataclass(frozen=True, slots=True)
class Exponential:
    """No memory: what has not happened is as far away as ever."""

    mean: float  # ms

    def __post_init__(self) -> None:
        _positive(self, mean=self.mean)

    def draw(self, n: int, rng: np.random.Generator) -> Floats:
        """Return (n,) delays."""
        return rng.standard_exponential(n) * self.mean

    def reached(self, delay: Floats) -> Floats:
        """Return 1 - exp(-x / mean)."""
        return -np.expm1(-np.maximum(delay, 0.0) / self.mean)


@dataclass(frozen=True, slots=True)
class Weibull:
    """Shape below 1: most come early and some very late; above 1: few come at once."""

    scale: float  # ms: 63 % have come by then
    shape: float

    def __post_init__(self) -> None:
        _positive(self, scale=self.scale, shape=self.shape)

    @property
    def mean(self) -> float:
        """The mean delay in ms."""
        return self.scale * gamma(1 + 1 / self.shape)

    def draw(self, n: int, rng: np.random.Generator) -> Floats:
        """Return (n,) delays."""
        return rng.standard_exponential(n) ** (1 / self.shape) * self.scale

    def reached(self, delay: Floats) -> Floats:
        """Return 1 - exp(-(x / scale)^shape)."""
        return -np.expm1(-((np.maximum(delay, 0.0) / self.scale) ** self.shape))


@dataclass(frozen=True, slots=True)
class Mixture:
    """Two kinds of people: a `share` follows `first`, the others follow `second`."""

    first: Law
    second: Law
    share: float

    def __post_init__(self) -> None:
        if not 0 <= self.share <= 1:
            raise ConfigError(f"a mixture's share must be between 0 and 1, not {self.share}")

    @property
    def mean(self) -> float:
        """The mean delay in ms."""
        return self.share * self.first.mean + (1 - self.share) * self.second.mean

    def draw(self, n: int, rng: np.random.Generator) -> Floats:
        """Return (n,) delays."""
        quick = rng.random(n) < self.share
        return np.where(quick, self.first.draw(n, rng), self.second.draw(n, rng))

    def reached(self, delay: Floats) -> Floats:
        """Return the parts' own, weighed by their shares."""
        return self.share * self.first.reached(delay) + (1 - self.share) * self.second.reached(delay)


@dataclass(frozen=True, slots=True)
class Delays:
    """A law for each value of a feature: value v has `laws[v % len(laws)]`, stretched by `scales[v]`."""

    laws: tuple[Law, ...]
    scales: Floats  # (values,)

    def draw(self, value: Ints, stretch: Floats, rng: np.random.Generator) -> Ints:
        """Return (n,) whole milliseconds; `stretch` is one more factor for each."""
        out = np.empty(len(value))
        for number, law in enumerate(self.laws):
            rows = np.flatnonzero(value % len(self.laws) == number)
            out[rows] = law.draw(len(rows), rng)
        return (out * self.scales[value] * stretch).astype(np.int64)

    def reached(self, value: Ints, stretch: Floats, delay: Ints) -> Floats:
        """Return (n,) P(a delay of whole milliseconds is at most this)."""
        # What was drawn is cut to whole milliseconds, so a delay of 5 was one below 6.
        plain = (delay + 1) / (self.scales[value] * stretch)
        out = np.empty(len(value))
        for number, law in enumerate(self.laws):
            rows = np.flatnonzero(value % len(self.laws) == number)
            out[rows] = law.reached(plain[rows])
        return out


def _positive(law: object, **values: float) -> None:
    for name, value in values.items():
        if not 0 < value < inf:
            raise ConfigError(f"{type(law).__name__}: {name} must be above zero and finite, not {value}")

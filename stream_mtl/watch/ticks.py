"""Where the axes of a chart are marked, and what stands there."""

import math
from typing import NamedTuple

from stream_mtl.clock import DAY, HOUR, MINUTE, SECOND, Millis
from stream_mtl.watch.words import at_utc, brief, number

_STEPS: tuple[Millis, ...] = (
    *(n * SECOND for n in (1, 2, 5, 10, 15, 30)),
    *(n * MINUTE for n in (1, 2, 5, 10, 15, 30)),
    *(n * HOUR for n in (1, 2, 3, 6, 12)),
    *(n * DAY for n in (1, 2, 4, 7, 14, 28, 91, 182, 365, 730, 3650)),
)


class Tick(NamedTuple):
    """A mark on an axis."""

    place: float
    text: str


def time_ticks(low: float, high: float, most: int = 6) -> list[Tick]:
    """Return marks at round hours or days; midnight carries its date."""
    step = next((step for step in _STEPS if (high - low) / step <= most), _STEPS[-1])
    first = math.ceil(low / step) * step
    times = range(int(first), int(high) + 1, step)
    return [Tick(time, _time_text(time, step)) for time in times]


def number_ticks(low: float, high: float, most: int = 5) -> list[Tick]:
    """Return marks at round numbers."""
    step = _round_step((high - low) / most)
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    return [Tick(n * step, _number_text(n * step, step)) for n in range(first, last + 1)]


def log_ticks(low: float, high: float) -> list[Tick]:
    """Return marks at powers of ten as percentages, or at 1, 2, 5 where there are too few of these."""
    marks = [10.0**power for power in range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)]
    within = [mark for mark in marks if low <= mark <= high * 1.0001]
    if len(within) < 3:
        within = [m * f for m in marks for f in (1, 2, 5) if low <= m * f <= high * 1.0001]
    return [Tick(mark, percent(mark)) for mark in within]


def percent_ticks(low: float, high: float, most: int = 5) -> list[Tick]:
    """Return marks at round percentages."""
    return [Tick(tick.place, percent(tick.place)) for tick in number_ticks(low, high, most)]


def percent(value: float) -> str:
    """Return a round share: "0.5 %"."""
    return f"{value * 100:.4g} %"


def _time_text(time: Millis, step: Millis) -> str:
    at = at_utc(time)
    if step >= 91 * DAY:
        return f"{at:%b %Y}"
    if time % DAY == 0:
        return f"{at:%b} {at.day}"
    return f"{at:%H:%M:%S}" if step < MINUTE else f"{at:%H:%M}"


def _round_step(least: float) -> float:
    power = 10.0 ** math.floor(math.log10(least))
    return float(next(power * factor for factor in (1, 2, 2.5, 5, 10) if power * factor >= least * 0.999))


def _number_text(value: float, step: float) -> str:
    if abs(value) >= 10_000:
        return brief(value)
    places = max(0, -math.floor(math.log10(step) + 1e-9))
    text = f"{value:.{places + (abs(step * 10**places - 2.5) < 0.01)}f}"
    return text if float(text) or not value else number(value, 2)

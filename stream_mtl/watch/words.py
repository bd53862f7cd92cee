"""How numbers and times are written for people: few digits, UTC, and a dash for what is not defined."""

import math
from datetime import UTC, datetime, timedelta

from stream_mtl.clock import DAY, HOUR, MINUTE, SECOND, Millis

DASH = "–"

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def known(value: float | None) -> float | None:
    """Return the number; None where it is not finite."""
    return value if value is not None and math.isfinite(value) else None


def count(value: float | None) -> str:
    """Return a whole number: "12,345"."""
    return DASH if known(value) is None else f"{value:,.0f}"


def share(value: float | None) -> str:
    """Return a share as a percentage of three digits: "3.42 %", "0.0512 %"."""
    return DASH if known(value) is None else f"{_digits((value or 0) * 100, 3)} %"


def number(value: float | None, digits: int = 4) -> str:
    """Return a number with so many digits that mean something: "1.034", "0.06932", "12,345"."""
    return DASH if known(value) is None else _digits(value or 0, digits)


def ratio(value: float | None) -> str:
    """Return a number near one, so that numbers below each other line up: "0.995", "1.033"."""
    far = value is not None and abs(value) >= 100
    return number(value) if far or known(value) is None else f"{value:.3f}"


def brief(value: float | None) -> str:
    """Return a number in a few characters: "950", "12.3k", "4.5M"."""
    value = known(value)
    if value is None:
        return DASH
    for least, unit, letter in ((1e9, 1e9, "G"), (1e6, 1e6, "M"), (1e4, 1e3, "k")):
        if abs(value) >= least:
            return f"{_digits(value / unit, 3)}{letter}"
    return count(value) if float(value).is_integer() else _digits(value, 3)


def size(value: float | None) -> str:
    """Return a number of bytes: "950 B", "12.3 MB"."""
    value = known(value)
    if value is None:
        return DASH
    for unit, name in ((1e12, "TB"), (1e9, "GB"), (1e6, "MB"), (1e3, "kB")):
        if abs(value) >= unit:
            return f"{_digits(value / unit, 3)} {name}"
    return f"{value:.0f} B"


def moment(time: Millis | None) -> str:
    """Return an instant: "2026-03-05 14:00"; seconds only where there are some."""
    if time is None:
        return DASH
    at = at_utc(time)
    return f"{at:%Y-%m-%d %H:%M:%S}" if at.second else f"{at:%Y-%m-%d %H:%M}"


def lapse(time: Millis | None) -> str:
    """Return a length of time by its two greatest units: "2 d 3 h", "4 min 10 s", "35 ms"."""
    if time is None:
        return DASH
    if time < SECOND:
        return f"{time} ms"
    parts: list[str] = []
    for unit, name in ((DAY, "d"), (HOUR, "h"), (MINUTE, "min"), (SECOND, "s")):
        whole, time = divmod(time, unit)
        if whole or parts:
            parts.append(f"{whole} {name}" if whole else "")
    return " ".join(part for part in parts[:2] if part)


def window_name(window: Millis) -> str:
    """Return a window as people write it: "15m", "24h", "7d"."""
    if window == DAY:
        return "24h"
    for letter, unit in (("d", DAY), ("h", HOUR), ("m", MINUTE), ("s", SECOND)):
        if window and window % unit == 0:
            return f"{window // unit}{letter}"
    return f"{window}ms" if window else "0s"


def at_utc(time: Millis) -> datetime:
    """Return an instant as a date and time; what is beyond the calendar stands at its edge."""
    try:
        return _EPOCH + timedelta(milliseconds=time)
    except OverflowError:
        edge = datetime.max if time > 0 else datetime.min
        return edge.replace(tzinfo=UTC)


def _digits(value: float, digits: int) -> str:
    if value == 0:
        return "0"
    places = digits - 1 - math.floor(math.log10(abs(value)))
    return f"{value:,.{min(max(places, 0), 8)}f}"

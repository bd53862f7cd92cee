"""Times as they are written, numbers or texts, to milliseconds since the epoch; a bad one is a mask."""

import re
from collections.abc import Callable, Mapping
from typing import Final, Literal, TypeAlias

import numpy as np
import pyarrow as pa

from stream_mtl.errors import ConfigError
from stream_mtl.events.columns import Mask, Numbers, valid
from stream_mtl.events.convert import from_texts
from stream_mtl.events.scan import Scan

Unit: TypeAlias = Literal["s", "ms", "us", "ns"]
Read: TypeAlias = tuple[Numbers, Mask]
"""Milliseconds (n,), and which of them were read; where not, the number means nothing."""

FAR: Final = 2**60  # ms, beyond every time that is accepted; what is further counts as this

_MULTIPLY: Final[Mapping[Unit, int]] = {"s": 1_000, "ms": 1, "us": 1, "ns": 1}
_DIVIDE: Final[Mapping[Unit, int]] = {"s": 1, "ms": 1, "us": 1_000, "ns": 1_000_000}
# Fractions are read to the microsecond: 1569888000.123 s is no float, and must not become 122 ms. A float has
# no place for nanoseconds since 1970.
_MICROS: Final[Mapping[Unit, float]] = {"s": 1e6, "ms": 1e3, "us": 1.0}
_MONTHS: Final = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_DAYS: Final = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_ZERO_ZONES: Final = (" UTC", " GMT", " Z", "UTC", "GMT", "Z")


class Times:
    """Reads one kind's time field: numbers by their unit, texts by a format.

    `format` is of strptime, in UTC unless it has %z; a zone of zero (Z, UTC, GMT) may follow it. Without a
    format a text is ISO 8601 (extended form, a blank may stand for the T, any zone, no zone is UTC) or a
    number in `unit`. Raises ConfigError for a format that is not known here.
    """

    def __init__(self, unit: Unit, format: str | None = None) -> None:
        self._unit = unit
        self._steps = None if format is None else _steps(format)

    def read(self, column: pa.Array) -> Read:
        """Return a column of longs, doubles or texts (n,) as milliseconds; a null is not read."""
        if pa.types.is_integer(column.type):
            return self._longs(column), valid(column)
        if pa.types.is_floating(column.type):
            return self._doubles(column)
        return self._texts(column)

    def _longs(self, column: pa.Array) -> Numbers:
        filled = column.fill_null(0) if column.null_count else column
        values: Numbers = np.asarray(filled).astype(np.int64, copy=False)
        divide, multiply = _DIVIDE[self._unit], _MULTIPLY[self._unit]
        far = FAR // multiply
        clipped = np.minimum(np.maximum(values if divide == 1 else values // divide, -far), far)
        return clipped if multiply == 1 else clipped * multiply

    def _doubles(self, column: pa.Array) -> Read:
        values = np.asarray(column.fill_null(float("nan")))
        factor = _MICROS.get(self._unit)
        known = np.isfinite(values)
        if factor is None:
            return np.zeros(len(values), np.int64), np.zeros(len(values), bool)
        micros = np.clip(np.where(known, values, 0.0) * factor, -float(FAR), float(FAR))
        return np.rint(micros).astype(np.int64) // 1_000, known

    def _texts(self, column: pa.Array) -> Read:
        if self._steps is not None:
            return _formatted(column, self._steps)
        millis, known = _iso(column)
        rest = np.flatnonzero(~known & valid(column))
        if len(rest):
            millis[rest], known[rest] = self._numerals(column.take(pa.array(rest)))
        return millis, known

    def _numerals(self, texts: pa.Array) -> Read:
        longs, bad = from_texts(texts, "long")
        millis = self._longs(longs)
        if bad is None:
            return millis, valid(texts)
        doubles, _ = from_texts(texts.filter(pa.array(bad)), "double")
        millis[bad], known = self._doubles(doubles)
        read = ~bad
        read[bad] = known
        return millis, read


class _Moment:
    """What the steps of a format have read so far, (n,) each."""

    def __init__(self, rows: int) -> None:
        self.year, self.month, self.day = (np.full(rows, first, np.int64) for first in (1970, 1, 1))
        self.hour = self.minute = self.second = self.nanos = self.offset = np.zeros(rows, np.int64)

    def millis(self) -> Numbers:
        """Return milliseconds since the epoch."""
        days = _days(self.year, self.month, self.day)
        minutes = (days * 24 + self.hour) * 60 + self.minute - self.offset
        return (minutes * 60 + self.second) * 1_000 + self.nanos // 1_000_000

    def real(self) -> Mask:
        """Return which moments there are; a leap second counts as the second after it."""
        leap = (self.year % 4 == 0) & ((self.year % 100 != 0) | (self.year % 400 == 0))
        month = np.clip(self.month, 1, 12)
        last = _LENGTHS[month] + (leap & (month == 2))
        date = (self.month == month) & (self.day >= 1) & (self.day <= last)
        clock = (self.hour < 24) & (self.minute < 60) & (self.second <= 60)
        known: Mask = date & clock & (np.abs(self.offset) < 24 * 60)
        return known


_LENGTHS: Final = np.array([0, 31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31])
_Step: TypeAlias = Callable[[Scan, _Moment], None]


def _days(year: Numbers, month: Numbers, day: Numbers) -> Numbers:
    """Return days since 1970-01-01 of the Gregorian calendar (Hinnant, days_from_civil)."""
    year = year - (month <= 2)
    era = year // 400
    of_era = year - era * 400
    of_year = (153 * ((month + 9) % 12) + 2) // 5 + day - 1
    days: Numbers = era * 146_097 + of_era * 365 + of_era // 4 - of_era // 100 + of_year - 719_468
    return days


def _iso(texts: pa.Array) -> Read:
    scan = Scan(texts)
    moment = _Moment(len(texts))
    moment.year = scan.number(4)
    scan.literal("-")
    moment.month = scan.number(2)
    scan.literal("-")
    moment.day = scan.number(2)
    timed = ~scan.ended()
    scan.ok &= scan.option(["T", " "], timed) | ~timed
    moment.hour = scan.number(2, where=timed)
    scan.literal(":", timed)
    moment.minute = scan.number(2, where=timed)
    exact = scan.option([":"], timed)
    moment.second = scan.number(2, where=exact)
    moment.nanos = scan.fraction(scan.option([".", ","], exact))
    moment.offset = _zone(scan, timed)
    return _finish(scan, moment)


def _formatted(texts: pa.Array, steps: list[_Step]) -> Read:
    scan, moment = Scan(texts), _Moment(len(texts))
    for step in steps:
        step(scan, moment)
    scan.option(_ZERO_ZONES)
    return _finish(scan, moment)


def _finish(scan: Scan, moment: _Moment) -> Read:
    return moment.millis(), scan.ok & scan.ended() & moment.real()


def _zone(scan: Scan, where: Mask) -> Numbers:
    """Read a zone, or nothing; return how many minutes (n,) it is ahead of UTC."""
    named = scan.option(_ZERO_ZONES, where)
    ahead, behind = scan.option(["+"], where & ~named), scan.option(["-"], where & ~named)
    signed = ahead | behind
    minutes = scan.number(2, where=signed) * 60
    scan.option([":"], signed)
    minutes = minutes + scan.number(2, where=signed & ~scan.ended())
    return np.where(ahead, minutes, np.where(behind, -minutes, 0))


def _steps(format: str) -> list[_Step]:
    """Return how to read a format, step by step."""
    for short, long in {"%F": "%Y-%m-%d", "%T": "%H:%M:%S", "%R": "%H:%M", "%D": "%m/%d/%y"}.items():
        format = format.replace(short, long)
    steps: list[_Step] = []
    for directive, text in re.findall(r"%(.?)|([^%]+)", format, re.DOTALL):
        if text or directive == "%":
            steps.append(_literal(text or "%"))
        elif directive in _DIRECTIVES:
            steps.append(_DIRECTIVES[directive])
        else:
            known = " ".join(f"%{letter}" for letter in _DIRECTIVES)
            raise ConfigError(
                f"time format {format!r}: %{directive} is not known; known are {known} %F %T %R %D"
            )
    return steps


def _literal(text: str) -> _Step:
    return lambda scan, moment: scan.literal(text)


def _part(name: str, least: int, most: int) -> _Step:
    return lambda scan, moment: setattr(moment, name, scan.number(least, most))


def _short_year(scan: Scan, moment: _Moment) -> None:
    year = scan.number(2)
    moment.year = np.where(year < 69, 2_000 + year, 1_900 + year)  # POSIX


def _named_month(scan: Scan, moment: _Moment) -> None:
    moment.month = scan.name(_MONTHS)


def _fraction(scan: Scan, moment: _Moment) -> None:
    moment.nanos = scan.fraction(np.ones(len(scan.ok), bool))


def _offset(scan: Scan, moment: _Moment) -> None:
    moment.offset = _zone(scan, np.ones(len(scan.ok), bool))


def _weekday(scan: Scan, moment: _Moment) -> None:
    scan.name(_DAYS)


_DIRECTIVES: Final[Mapping[str, _Step]] = {
    "Y": _part("year", 4, 4),
    "y": _short_year,
    "m": _part("month", 1, 2),
    "b": _named_month,
    "d": _part("day", 1, 2),
    "a": _weekday,
    "H": _part("hour", 1, 2),
    "M": _part("minute", 1, 2),
    "S": _part("second", 1, 2),
    "f": _fraction,
    "z": _offset,
    "Z": lambda scan, moment: None,  # a zone of zero, which may follow anyway
}

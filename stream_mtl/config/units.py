"""Durations and sizes as people write them, "30m" and "512MiB", and back."""

import re
from collections.abc import Mapping
from fractions import Fraction
from typing import Annotated

from pydantic import BeforeValidator, PlainSerializer, WithJsonSchema

from stream_mtl.clock import DAY, HOUR, MINUTE, SECOND, Millis

DURATIONS: Mapping[str, Millis] = {"ms": 1, "s": SECOND, "m": MINUTE, "h": HOUR, "d": DAY, "w": 7 * DAY}
SIZES: Mapping[str, int] = {
    "B": 1,
    **{f"{prefix}B": 1000**power for power, prefix in enumerate("KMGT", start=1)},
    **{f"{prefix}iB": 1024**power for power, prefix in enumerate("KMGT", start=1)},
}

# Sums of a few of these stay far inside the range of event times (clock.END).
LONGEST: Millis = 100 * 366 * DAY
LARGEST: int = 1 << 50

_WRITTEN = re.compile(r"(\d{1,18}(?:\.\d{1,18})?)\s*([A-Za-z]*)", re.ASCII)


def parse_duration(value: object) -> Millis:
    """Return the milliseconds of "250ms", "15s", "30m", "1.5h", "7d" or "1w".

    Raises ValueError for a number without a unit, parts of a millisecond, and more than a hundred years.
    """
    return _parse(value, DURATIONS, "duration", ("30s", "30m"), "ms", LONGEST)


def format_duration(millis: Millis) -> str:
    """Return the shortest exact way to write a duration: a whole number of the greatest unit that fits."""
    return _format(millis, DURATIONS, zero="0s")


def parse_size(value: object) -> int:
    """Return the bytes of "512MiB" (powers of 1024) or "4KB" (powers of 1000). Raises ValueError."""
    return _parse(value, SIZES, "size", ("512MiB", "4KB"), "B", LARGEST)


def format_size(size: int) -> str:
    """Return the shortest exact way to write a size: a whole number of the greatest unit that fits."""
    return _format(size, SIZES, zero="0B")


def _parse(
    value: object, units: Mapping[str, int], what: str, examples: tuple[str, str], smallest: str, most: int
) -> int:
    hint = f'write a number and a unit, like "{examples[0]}" or "{examples[1]}" (units: {", ".join(units)})'
    if isinstance(value, int | float) and not isinstance(value, bool):
        raise ValueError(f"{value} has no unit, so it is no {what}; {hint}")
    if not isinstance(value, str):
        raise ValueError(f"is no {what}; {hint}")
    written = _WRITTEN.fullmatch(value.strip())
    if written is None:
        raise ValueError(f'"{value}" is no {what}; {hint}')
    number, unit = written.groups()
    if unit not in units:
        fault = f'has the unknown unit "{unit}"' if unit else "has no unit"
        raise ValueError(f'"{value}" {fault}; {hint}')
    exact = Fraction(number) * units[unit]
    if exact.denominator != 1:
        raise ValueError(f'"{value}" is not a whole number of {smallest}; give it in a smaller unit')
    if exact > most:
        raise ValueError(f'"{value}" is too long a {what}; the most is "{_format(most, units, zero="0")}"')
    return int(exact)


def _format(amount: int, units: Mapping[str, int], zero: str) -> str:
    if amount == 0:
        return zero
    number, unit = min((amount // size, unit) for unit, size in units.items() if amount % size == 0)
    return f"{number}{unit}"


Duration = Annotated[
    int,
    BeforeValidator(parse_duration),
    PlainSerializer(format_duration, return_type=str),
    WithJsonSchema(
        {"type": "string", "pattern": r"^\s*\d+(\.\d+)?\s*(ms|s|m|h|d|w)\s*$", "examples": ["15s", "30m"]}
    ),
]
"""Milliseconds, written with a unit."""

Size = Annotated[
    int,
    BeforeValidator(parse_size),
    PlainSerializer(format_size, return_type=str),
    WithJsonSchema(
        {"type": "string", "pattern": r"^\s*\d+(\.\d+)?\s*([KMGT]i?)?B\s*$", "examples": ["512MiB", "4KB"]}
    ),
]
"""Bytes, written with a unit."""

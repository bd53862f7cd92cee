"""How far a measure may be off: intervals over blocks of time, by leaving each out once."""

import math
from collections.abc import Sequence
from statistics import NormalDist, fmean
from typing import TypeAlias

Interval: TypeAlias = tuple[float, float]

LEAST = 5
"""Blocks below which no interval is given."""

_Z = NormalDist().inv_cdf(0.975)


def jackknife(value: float, without: Sequence[float | None]) -> Interval | None:
    """Return the interval of 95 % of a measure from what it is without each block (Tukey's jackknife, Student's t).

    Blocks are taken for independent. None where there are too few, or where it is not defined without one of them.
    """
    left = [one for one in without if one is not None]
    if len(left) < max(LEAST, len(without)):
        return None
    middle, n = fmean(left), len(left)
    error = math.sqrt((n - 1) / n * sum((one - middle) ** 2 for one in left))
    reach = student(n - 1) * error
    return value - reach, value + reach


def student(freedom: int) -> float:
    """Return the 97.5 % quantile of Student's t, within 0.002 from 4 degrees of freedom on (Abramowitz and Stegun 26.7.5)."""
    z, v = _Z, float(freedom)
    terms = (
        (z**3 + z) / 4,
        (5 * z**5 + 16 * z**3 + 3 * z) / 96,
        (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / 384,
        (79 * z**9 + 776 * z**7 + 1482 * z**5 - 1920 * z**3 - 945 * z) / 92160,
    )
    return z + sum(term / v**power for power, term in enumerate(terms, 1))

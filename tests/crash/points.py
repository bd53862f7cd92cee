"""Which failpoints are reached how often by which process, and which of them are tried every day."""

from collections.abc import Iterable, Sequence

import pytest

TIMES = (1, 2)


def orders(daily: Sequence[str], names: Iterable[str], times: Sequence[int] = TIMES) -> list[object]:
    """Return orders to kill at these failpoints, each at each of its times; what is not `daily` is marked so."""
    made = [f"{name}:{time}" for name in names for time in times]
    return [
        pytest.param(f"{one}:kill", id=one, marks=() if one in daily else pytest.mark.whole_crash)
        for one in made
    ]

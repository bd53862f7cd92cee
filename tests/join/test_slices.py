"""Where facts are cut, against cutting by hand, row by row."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from stream_mtl.join.slices import cut_times

ROWS = st.lists(st.tuples(st.integers(0, 3), st.integers(0, 60)), max_size=40)


def by_hand(rows: list[tuple[int, int]], span: int) -> list[int]:
    """Go from instant to instant, and cut before one with a row that is too far from the first of its group."""
    cuts: list[int] = []
    first: dict[int, int] = {}
    for now in sorted({time for _, time in rows}):
        groups = [group for group, time in rows if time == now]
        if any(now - first.get(group, now) > span for group in groups):
            cuts.append(now)
            first = {}
        first = dict.fromkeys(groups, now) | first
    return cuts


@given(ROWS, st.integers(0, 20))
def test_facts_are_cut_where_two_of_a_group_would_be_too_far_apart(
    rows: list[tuple[int, int]], span: int
) -> None:
    groups, times = (np.array(column, np.int64) for column in (zip(*rows, strict=True) if rows else ((), ())))
    assert cut_times(groups, times, span) == by_hand(rows, span)

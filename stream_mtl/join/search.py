"""Searches in columns sorted by two keys, and orders that are cheap when nearly sorted."""

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

Ints = npt.NDArray[np.int64]


def runs(sorted_keys: npt.NDArray[np.generic]) -> npt.NDArray[np.bool_]:
    """Return where a run of equal keys begins. (n,)"""
    begins = np.ones(len(sorted_keys), np.bool_)
    begins[1:] = sorted_keys[1:] != sorted_keys[:-1]
    return begins


def ranks(begins: npt.NDArray[np.bool_]) -> Ints:
    """Return each row's place within its run, from 0. (n,)"""
    places = np.arange(len(begins))
    return places - np.maximum.accumulate(np.where(begins, places, 0))


def last_at_or_before(
    keys: npt.NDArray[np.generic], times: Ints, wanted: npt.NDArray[np.generic], at: Ints
) -> Ints:
    """Return the index of the last row with that key and a time <= `at`, or -1. Rows are sorted by (key, time)."""
    low = np.searchsorted(keys, wanted, "left")
    high = np.searchsorted(keys, wanted, "right")
    first = low.copy()
    while bool((open_ := low < high).any()):
        middle = (low + high) >> 1
        before = open_ & (times[np.minimum(middle, len(times) - 1)] <= at)
        low = np.where(before, middle + 1, low)
        high = np.where(open_ & ~before, middle, high)
    return np.where(low > first, low - 1, -1)


def first_after(
    keys: npt.NDArray[np.generic], times: Ints, wanted: npt.NDArray[np.generic], at: Ints
) -> Ints:
    """Return the index of the first row with that key and a time > `at`, or -1. Rows are sorted by (key, time)."""
    if len(keys) == 0:
        return np.full(len(wanted), -1)
    before = last_at_or_before(keys, times, wanted, at)
    start = np.where(before >= 0, before + 1, np.searchsorted(keys, wanted, "left"))
    inside = np.minimum(start, len(keys) - 1)
    return np.where((start < len(keys)) & (keys[inside] == wanted), inside, -1)


def order_by(first: Ints, *ties: Callable[[Ints], Ints]) -> Ints:
    """Return the stable order by `first`, then by the ties' values of the rows they are given.

    Cheap where rows come nearly in order and ties are few.
    """
    order = np.argsort(first, kind="stable")
    by = first[order]
    again = np.flatnonzero(by[1:] == by[:-1])
    if len(again):
        places = np.union1d(again, again + 1)
        rows = order[places]
        order[places] = rows[np.lexsort((*(tie(rows) for tie in ties[::-1]), first[rows]))]
    return order


def sort_hashes(hashes: npt.NDArray[np.uint64]) -> Ints:
    """Return the stable order of hashes, in which ties are rare: quicksort, then the ties put in order."""
    order = np.argsort(hashes)
    by = hashes[order]
    tied = np.flatnonzero(by[1:] == by[:-1])
    if len(tied):
        places = np.union1d(tied, tied + 1)
        rows = order[places]
        order[places] = rows[np.lexsort((rows, hashes[rows]))]
    return order

"""The index of keys gives the latest live row of each hash, as a dict would."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stream_mtl.join import keys
from stream_mtl.join.keys import KeyIndex
from stream_mtl.join.rows import Ring


def expect_as_a_dict(steps: list[tuple[int, int]], hashes: np.ndarray, first: int) -> None:
    """Insert and drop in steps (rows appended, rows dropped), of hashes taken in turns; compare after each."""
    ring = Ring(hash=np.uint64)
    index = KeyIndex(ring)
    ring.restore(first, {})
    held: dict[int, int] = {}
    for count, dropped in steps:
        new = hashes[(np.arange(count) + ring.next) * 7 % len(hashes)]
        rows = ring.append(count, {"hash": new})
        ring.drop_before(ring.first + dropped)
        order = np.argsort(new, kind="stable")
        index.insert(new[order], rows[order])
        held |= zip(new.tolist(), rows.tolist(), strict=True)
        found = index.lookup(np.sort(hashes)).tolist()
        expected = [held.get(hash_, -1) for hash_ in np.sort(hashes).tolist()]
        assert found == [row if row >= ring.first else -1 for row in expected]


STEPS = st.lists(st.tuples(st.integers(0, 300), st.integers(0, 400)), max_size=30)


@given(STEPS, st.integers(1, 2_000), st.integers(0, 2**40))
def test_an_index_finds_what_a_dict_would(steps: list[tuple[int, int]], different: int, first: int) -> None:
    hashes = np.random.default_rng(different).integers(0, 2**64, different, dtype=np.uint64)
    expect_as_a_dict(steps, hashes, first)


@given(STEPS, st.integers(1, 60))
@settings(deadline=None)
def test_crowded_hashes_spill_over_and_are_found(steps: list[tuple[int, int]], different: int) -> None:
    hashes = (np.uint64(2**64 - 1) << np.uint64(32)) + np.arange(different, dtype=np.uint64)
    expect_as_a_dict(steps, hashes, 0)


@given(STEPS, st.integers(1, 300))
def test_an_index_is_laid_anew_before_its_row_numbers_run_out(
    steps: list[tuple[int, int]], different: int
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(keys, "_SPAN", 1_000)
        hashes = np.random.default_rng(different).integers(0, 2**64, different, dtype=np.uint64)
        expect_as_a_dict(steps, hashes, 0)


def test_after_a_burst_an_index_becomes_small_again() -> None:
    ring = Ring(hash=np.uint64)
    index = KeyIndex(ring)
    hashes = np.sort(np.random.default_rng(0).integers(0, 2**64, 100_000, dtype=np.uint64))
    index.insert(hashes, ring.append(100_000, {"hash": hashes}))
    large = index.nbytes
    ring.drop_before(ring.next - 1_000)
    index.insert(hashes[:100], ring.append(100, {"hash": hashes[:100]}))
    assert index.nbytes < large / 20
    assert index.lookup(hashes[:100]).tolist() == list(range(100_000, 100_100))

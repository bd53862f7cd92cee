"""A ring is a growing list whose front is forgotten, whatever its buffer does."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from stream_mtl.join.rows import Ring

STEPS = st.lists(st.tuples(st.integers(0, 400), st.integers(0, 500)), max_size=40)
"""How many rows are appended, and how many of the oldest are dropped then."""


@given(STEPS, st.integers(0, 2**40))
def test_a_ring_holds_what_was_appended_and_not_dropped(steps: list[tuple[int, int]], first: int) -> None:
    ring, held = Ring(value=np.int64), np.zeros(0, np.int64)
    ring.restore(first, {})
    for count, dropped in steps:
        rows = ring.append(count, {"value": np.arange(count) + ring.next * 3})
        assert rows.tolist() == list(range(ring.next - count, ring.next))
        ring.put("value", rows[::7], rows[::7])
        held = np.concatenate(
            [held, np.where(np.arange(count) % 7 == 0, rows, np.arange(count) + rows[:1] * 3)]
        )
        ring.drop_before(ring.first + dropped)
        held = held[len(held) - len(ring) :]
        assert ring.live()["value"].tolist() == held.tolist()
        assert ring.get("value", np.arange(ring.first, ring.next)).tolist() == held.tolist()
        for low, high in ((0, len(held) // 2), (len(held) // 3, len(held))):
            part = ring.range("value", ring.first + low, ring.first + high)
            assert part.tolist() == held[low:high].tolist()


def test_a_ring_finds_the_first_row_that_is_not_less() -> None:
    ring = Ring(time=np.int64)
    for start in range(0, 5_000, 100):
        ring.append(100, {"time": np.arange(start, start + 100) // 3})
        ring.drop_before(ring.next - 220)
        for value in (ring.first // 3, ring.next // 3 - 1, ring.next):
            wanted = min(max(value * 3, ring.first), ring.next)
            assert ring.bisect("time", value, ring.first) == wanted


def test_after_a_burst_a_ring_becomes_small_again() -> None:
    ring = Ring(value=np.int64)
    ring.append(100_000, {"value": 1})
    large = ring.nbytes
    for _ in range(400):
        ring.drop_before(ring.next - 100)
        ring.append(1_000, {"value": 1})
    assert ring.nbytes < large / 20

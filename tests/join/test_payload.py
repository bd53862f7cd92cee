"""Ranges of exposures that several tellings of a batch share are held once."""

from hypothesis import given
from hypothesis import strategies as st

from stream_mtl.join.payload import united

RANGES = st.lists(st.tuples(st.integers(0, 30), st.integers(0, 12)).map(lambda r: (r[0], r[0] + r[1])))


@given(RANGES)
def test_united_ranges_cover_the_same_exposures_once(ranges: list[tuple[int, int]]) -> None:
    covered = [number for start, stop in united(ranges) for number in range(start, stop)]
    assert covered == sorted({number for start, stop in ranges for number in range(start, stop)})
    assert all(any(low <= start and stop <= high for low, high in united(ranges)) for start, stop in ranges)

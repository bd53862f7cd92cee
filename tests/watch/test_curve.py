"""A curve keeps sums at some moments: whatever it drops, what lies between the rest adds up to the whole."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from stream_mtl.clock import Millis
from stream_mtl.measures import BinarySums, Sums, count, observed
from stream_mtl.watch.curve import Curve

NOTHING: dict[str, Sums] = {"ctr": BinarySums.nothing()}
offers = st.lists(st.integers(0, 40), max_size=60).map(lambda steps: np.cumsum(steps).tolist())


def stand(examples: int) -> dict[str, Sums]:
    """Return the sums of so many examples, every third of them a yes."""
    return {"ctr": BinarySums.of(np.full(examples, 0.25), np.arange(examples) % 3 == 0)}


def curve(times: list[Millis], every: Millis, most: int) -> Curve:
    """Offer the sums of 1, 2, 3, ... examples at these times."""
    made = Curve(NOTHING, every, most)
    for examples, time in enumerate(times, 1):
        made.pass_by(time, stand(examples))
    return made


@given(offers, st.integers(1, 30), st.integers(1, 9))
def test_the_intervals_add_up_to_the_whole(times: list[Millis], every: Millis, most: int) -> None:
    last = stand(len(times) + 1)
    end = times[-1] + 1 if times else 0
    intervals = curve(times, every, most).intervals(end, last)
    total = NOTHING["ctr"]
    for _, sums in intervals:
        assert count(sums["ctr"]) >= 0
        total = total + sums["ctr"]  # type: ignore[operator]
    assert np.array_equal(total.counts, last["ctr"].counts)  # type: ignore[union-attr]
    assert observed(total) == observed(last["ctr"])


@given(offers, st.integers(1, 30), st.integers(1, 9))
def test_there_are_never_more_borders_than_asked_for_and_they_rise(
    times: list[Millis], every: Millis, most: int
) -> None:
    end = times[-1] + 1 if times else 0
    intervals = curve(times, every, most).intervals(end, stand(len(times) + 1))
    borders = [time for time, _ in intervals]
    assert 1 <= len(borders) <= most + 1  # the last is the end of the run
    assert borders[-1] == end
    assert borders == sorted(set(borders))


@given(offers, st.integers(1, 30), st.integers(1, 9))
def test_a_border_stands_where_it_was_offered(times: list[Millis], every: Millis, most: int) -> None:
    end = times[-1] + 1 if times else 0
    so_far = 0
    for time, sums in curve(times, every, most).intervals(end, stand(len(times) + 1))[:-1]:
        so_far += count(sums["ctr"])
        assert times[so_far - 1] == time


def test_moments_of_one_interval_make_one_border() -> None:
    made = curve([0, 3, 9, 10, 19, 25], every=10, most=9)
    assert [time for time, _ in made.intervals(30, stand(7))] == [0, 10, 25, 30]


def test_the_second_half_begins_at_the_border_where_half_of_the_examples_were_counted() -> None:
    made = curve([0, 10, 20, 30], every=10, most=9)
    assert count(made.second_half(stand(6))["ctr"]) == 3  # behind 20, where there were three
    assert count(made.second_half(stand(100))["ctr"]) == 96  # no border lies nearer to the half


def test_the_second_half_of_a_run_without_a_border_is_all_of_it() -> None:
    assert count(curve([], 10, 9).second_half(stand(5))["ctr"]) == 5

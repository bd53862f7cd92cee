"""The scaler's mean and spread are those of all rows learned."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from stream_mtl.learn.scaling import LIMIT, SURE, Scaler


@settings(max_examples=80, deadline=None)
@given(seed=st.integers(0, 9_999), cuts=st.lists(st.integers(0, 300), max_size=5))
def test_rows_are_scaled_by_the_mean_and_deviation_of_what_came_before(seed: int, cuts: list[int]) -> None:
    rng = np.random.default_rng(seed)
    values = rng.normal([5.0, -1e6, 0.1], [2.0, 1e3, 0.0], (300, 3))
    values[rng.random((300, 3)) < 0.2] = np.nan
    scaler = Scaler(np.array([True, True, True]))
    for part in np.split(values, sorted(cuts)):
        scaler.learn(part)
    mean, deviation = np.nanmean(values, axis=0), np.nanstd(values, axis=0)
    expected = np.nan_to_num((values - mean) / np.where(deviation > 1e-9, deviation, 1))
    np.testing.assert_allclose(scaler.scale(values), expected, atol=1e-5)


def test_before_anything_is_known_numbers_pass_and_missing_ones_are_zero() -> None:
    scaler = Scaler(np.array([True]))
    np.testing.assert_array_equal(scaler.scale(np.array([[2.0], [np.nan]])), [[2], [0]])


def test_columns_with_limits_pass_as_they_are() -> None:
    scaler = Scaler(np.array([False, True]))
    scaler.learn(np.array([[0.2, 10.0], [0.4, 30.0]]))
    np.testing.assert_allclose(
        scaler.scale(np.array([[0.3, 20.0], [np.nan, 30.0]])), [[0.3, 0], [0, 1]], atol=1e-6
    )


def test_a_wild_value_is_clipped_and_does_not_spoil_what_was_known() -> None:
    rng = np.random.default_rng(0)
    scaler = Scaler(np.array([True]))
    scaler.learn(rng.normal(0, 1, (SURE, 1)))
    before = scaler.scale(np.array([[1.0]]))
    scaler.learn(np.array([[1e30]]))
    assert scaler.scale(np.array([[1e30]]))[0, 0] == LIMIT
    np.testing.assert_allclose(scaler.scale(np.array([[1.0]])), before, atol=0.5)


def test_a_column_that_was_constant_for_long_is_followed_when_it_moves() -> None:
    scaler = Scaler(np.array([True]))
    scaler.learn(np.full((10 * SURE, 1), 7.0))
    scaler.learn(np.tile([[5.0], [9.0]], (500 * SURE, 1)))
    np.testing.assert_allclose(scaler.scale(np.array([[7.0], [9.0]])), [[0], [1]], atol=0.02)


def test_it_goes_on_from_saved_state_as_if_nothing_had_happened() -> None:
    rng = np.random.default_rng(1)
    first, second = rng.normal(3, 2, (50, 2)), rng.normal(3, 2, (70, 2))
    whole, back = Scaler(np.array([True, True])), Scaler(np.array([True, True]))
    whole.learn(first)
    back.restore({name: array.copy() for name, array in whole.arrays().items()})
    whole.learn(second)
    back.learn(second)
    for name, array in whole.arrays().items():
        np.testing.assert_array_equal(array, back.arrays()[name])

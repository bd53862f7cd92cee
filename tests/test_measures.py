"""Metric sums add, and their values are those of the formulas computed directly."""

from itertools import pairwise

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stream_mtl import measures
from stream_mtl.measures import BinarySums, ValueSums

Floats = npt.NDArray[np.float64]

SEEDS = st.integers(0, 10_000)


def draw(seed: int, n: int = 400, ties: bool = False) -> tuple[Floats, Floats]:
    rng = np.random.default_rng(seed)
    logit = rng.normal(-1, 2, n)
    p = 1 / (1 + np.exp(-(np.round(logit) if ties else logit)))
    return p, (rng.random(n) < p).astype(np.float64)


def direct_auc(p: Floats, y: Floats) -> float:
    above = p[y == 1][:, None] - p[y == 0][None, :]
    return float(((above > 0) + 0.5 * (above == 0)).mean())


@settings(max_examples=60, deadline=None)
@given(seed=SEEDS, ties=st.booleans())
def test_auc_is_the_share_of_pairs_in_order_with_ties_half(seed: int, ties: bool) -> None:
    p, y = draw(seed, ties=ties)
    sums = BinarySums.of(p, y)
    found, error = measures.auc(sums), measures.auc_error(sums)
    assert found is not None
    assert error is not None
    assert abs(found - direct_auc(p, y)) <= (1e-12 if ties else error + 1e-12)
    assert ties or error < 1e-3


@settings(max_examples=60, deadline=None)
@given(seed=SEEDS)
def test_log_loss_calibration_and_entropy_are_those_of_the_formulas(seed: int) -> None:
    p, y = draw(seed)
    sums = BinarySums.of(p, y)
    loss = -(y * np.log(p) + (1 - y) * np.log(1 - p)).mean()
    q = y.mean()
    assert measures.count(sums) == len(p)
    assert measures.log_loss(sums) == pytest.approx(loss)
    assert measures.calibration(sums) == pytest.approx(p.sum() / y.sum())
    assert measures.positive_rate(sums) == pytest.approx(q)
    assert measures.normalised_entropy(sums) == pytest.approx(
        loss / -(q * np.log(q) + (1 - q) * np.log(1 - q))
    )


@settings(max_examples=60, deadline=None)
@given(seed=SEEDS, at=st.integers(0, 400))
def test_sums_of_parts_are_the_sums_of_the_whole_and_a_window_is_a_difference(seed: int, at: int) -> None:
    p, y = draw(seed)
    left, right, whole = BinarySums.of(p[:at], y[:at]), BinarySums.of(p[at:], y[at:]), BinarySums.of(p, y)
    for found, expected in [
        (left + right, whole),
        (whole - left, right),
        (BinarySums.nothing() + whole, whole),
    ]:
        np.testing.assert_array_equal(found.counts, expected.counts)
        np.testing.assert_allclose(found.predicted, expected.predicted, atol=1e-9)
        np.testing.assert_allclose(found.loss, expected.loss, atol=1e-9)


def test_a_constant_prediction_of_the_rate_has_normalised_entropy_one_however_often_it_is_repeated() -> None:
    y = np.array([1.0, 0, 0, 0])
    for times in (1, 7):
        sums = BinarySums.of(np.full(4 * times, 0.25), np.tile(y, times))
        assert measures.normalised_entropy(sums) == pytest.approx(1)


def test_calibration_above_one_means_that_too_much_was_promised() -> None:
    assert measures.calibration(
        BinarySums.of(np.full(10, 0.4), np.array([1.0] + [0.0] * 9))
    ) == pytest.approx(4)


@settings(max_examples=40, deadline=None)
@given(seed=SEEDS, groups=st.integers(1, 20))
def test_reliability_groups_hold_every_example_once_and_are_of_even_mass(seed: int, groups: int) -> None:
    p, y = draw(seed)
    sums = BinarySums.of(p, y)
    for found in (measures.equal_mass(sums, groups), measures.equal_width(sums, groups)):
        assert sum(group.count for group in found) == len(p)
        assert sum(group.count * group.predicted for group in found) == pytest.approx(p.sum())
        assert sum(group.count * group.observed for group in found) == pytest.approx(y.sum())
        means = [group.predicted for group in found]
        assert means == sorted(means)
    even = [group.count for group in measures.equal_mass(sums, groups)]
    fullest = int(sums.counts.sum(axis=0).max())
    assert max(abs(count - len(p) / groups) for count in even) <= fullest + 1


@settings(max_examples=40, deadline=None)
@given(seed=SEEDS)
def test_the_calibration_error_is_the_mean_gap_of_sorted_tenths(seed: int) -> None:
    p, y = draw(seed, n=5_000)
    order = np.argsort(p)
    gaps = [abs(p[part].mean() - y[part].mean()) * len(part) for part in np.array_split(order, 10)]
    found = measures.expected_calibration_error(BinarySums.of(p, y), 10)
    assert found == pytest.approx(sum(gaps) / len(p), abs=0.004)


@pytest.mark.parametrize(
    ("p", "y"),
    [([], []), ([0.2, 0.3], [0, 0]), ([0.2, 0.3], [1, 1])],
    ids=["nothing", "negatives", "positives"],
)
def test_what_is_not_defined_is_none(p: list[float], y: list[float]) -> None:
    sums = BinarySums.of(np.array(p), np.array(y))
    assert measures.auc(sums) is None
    assert measures.auc_error(sums) is None
    assert measures.normalised_entropy(sums) is None
    assert (measures.log_loss(sums) is None) == (not p)
    assert (measures.calibration(sums) is None) == (not any(y))
    assert (measures.expected_calibration_error(sums) is None) == (not p)


def test_certain_predictions_cost_the_clip_at_most() -> None:
    sums = BinarySums.of(np.array([0.0, 1.0, 0.0, 1.0]), np.array([0, 1, 1, 0]))
    assert measures.log_loss(sums) == pytest.approx((2 * -np.log(1e-7) + 2e-7) / 4)
    assert measures.auc(sums) == pytest.approx(0.5)


@pytest.mark.parametrize("p", [float("nan"), 1.5, -0.1, float("inf")])
def test_what_is_no_probability_is_refused(p: float) -> None:
    with pytest.raises(ValueError, match="outside"):
        BinarySums.of(np.array([0.5, p]), np.array([0, 1]))


@settings(max_examples=40, deadline=None)
@given(seed=SEEDS, at=st.integers(0, 50))
def test_value_sums_are_those_of_the_formulas_and_add(seed: int, at: int) -> None:
    rng = np.random.default_rng(seed)
    y = rng.normal(5, 2, 50)
    f = y + rng.normal(0.1, 1, 50)
    sums = ValueSums.of(f[:at], y[:at]) + ValueSums.of(f[at:], y[at:])
    assert measures.count(sums) == 50
    assert measures.calibration(sums) == pytest.approx(f.sum() / y.sum())
    assert measures.mean_absolute_error(sums) == pytest.approx(np.abs(f - y).mean())
    assert measures.root_mean_squared_error(sums) == pytest.approx(np.sqrt(((f - y) ** 2).mean()))
    assert measures.explained(sums) == pytest.approx(1 - ((f - y) ** 2).sum() / ((y - y.mean()) ** 2).sum())


def test_value_sums_of_nothing_have_no_values() -> None:
    sums = ValueSums.nothing()
    assert measures.mean_absolute_error(sums) is None
    assert measures.root_mean_squared_error(sums) is None
    assert measures.explained(sums) is None
    assert measures.explained(ValueSums.of(np.array([1.0, 2.0]), np.array([3.0, 3.0]))) is None


def test_saved_sums_come_back_as_they_were() -> None:
    p, y = draw(3)
    for sums in (BinarySums.of(p, y), ValueSums.of(p, y)):
        back = type(sums).of_arrays(sums.arrays())
        assert back.arrays().keys() == sums.arrays().keys()
        for name, array in sums.arrays().items():
            np.testing.assert_array_equal(back.arrays()[name], array)
            assert back.arrays()[name].dtype == array.dtype


def direct_precision_recall(p: Floats, y: Floats) -> list[tuple[float, float]]:
    """Return (recall, precision) when all from each prediction up are taken, the highest prediction first."""
    taken = [y[p >= threshold] for threshold in sorted(set(p.tolist()), reverse=True)]
    return [(one.sum() / y.sum(), one.mean()) for one in taken]


@settings(max_examples=30, deadline=None)
@given(seed=SEEDS)
def test_precision_over_recall_is_that_of_every_threshold_by_both_rules(seed: int) -> None:
    p, y = draw(seed, ties=True)  # then bins are thresholds
    sums = BinarySums.of(p, y)
    points = [(0.0, 1.0), *direct_precision_recall(p, y)]
    steps = [(after - before, low, high) for (before, low), (after, high) in pairwise(points)]
    assert measures.average_precision(sums) == pytest.approx(sum(gain * high for gain, _, high in steps))
    trapezoid = sum(gain * (low + high) / 2 for gain, low, high in steps)
    assert measures.precision_recall_trapezoid(sums) == pytest.approx(trapezoid)


def test_without_a_positive_there_is_no_recall() -> None:
    sums = BinarySums.of(np.array([0.1, 0.4]), np.zeros(2))
    assert measures.average_precision(sums) is None
    assert measures.precision_recall_trapezoid(sums) is None

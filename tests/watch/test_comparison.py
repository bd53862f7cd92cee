"""Which way to take is said of what was graded, and no more surely than that."""

from collections.abc import Sequence

import numpy as np
import pytest

from stream_mtl.clock import DAY, HOUR
from stream_mtl.learn.grades import Grades, Marks, Span
from stream_mtl.watch.comparison import (
    Contender,
    best_of_rates,
    difference,
    estimate,
    ranked,
    recommend,
    share_of_gain,
)
from stream_mtl.watch.comparison_page import Compared, Comparison, as_plain, html
from stream_mtl.watch.intervals import jackknife, student

SPAN = Span(0, 20 * DAY, blocks=20)


def marks(shift: float = 0.0, noise: float = 0.0, n: int = 20_000, seed: int = 0, lost: int = 0) -> Marks:
    """Predictions that are off by so much in the logit, of the same exposures for all; some perhaps not finite."""
    rng = np.random.default_rng(5)
    time, logit = rng.integers(0, SPAN.until, n), rng.normal(-1.5, 1, n)
    truth = (rng.random(n) < 1 / (1 + np.exp(-logit))).astype(float)
    said = logit + shift + noise * np.random.default_rng(seed).normal(size=n)
    predicted = 1 / (1 + np.exp(-said))
    predicted[:lost] = np.nan
    grades = Grades(SPAN)
    grades.add(time, predicted.astype(np.float32), truth)
    return grades.marks()


def contender(
    name: str, *some: Marks, examples: float = 100, rate: float = 1, ahead: bool = False
) -> Contender:
    return Contender(name, some or (marks(),), examples, 1.0, ahead, rate)


def test_the_least_log_loss_is_taken_and_an_oracle_never() -> None:
    oracle = contender("oracle", marks(), ahead=True)
    good, biased = contender("good", marks(noise=0.3)), contender("biased", marks(shift=-1))
    advice = recommend([biased, oracle, good])
    assert advice.way == "good"
    assert any(reason.startswith("biased has 0.0") for reason in advice.reasons)
    assert any("oracle, which reads ahead" in reason for reason in advice.reasons)
    assert [one.name for one in ranked([biased, oracle, good])] == ["oracle", "good", "biased"]


def test_of_ways_that_are_as_good_the_one_that_learns_less_is_taken() -> None:
    best = contender("best", marks(noise=0.300, seed=1), examples=300)
    same = contender("same", marks(noise=0.303, seed=1), examples=200)
    behind = difference(same, best)
    assert behind is not None and 0 < behind.value < 5e-4
    advice = recommend([best, same])
    assert advice.way == ("best" if behind.certain else "same")
    assert recommend([best, contender("twin", marks(noise=0.300, seed=1), examples=200)]).way == "twin"


def test_a_way_that_promises_too_little_is_not_taken_for_its_price() -> None:
    best = contender("best", marks(noise=0.3, seed=1), examples=300)
    low = Contender("low", [marks(noise=0.3, seed=1)], 10, 1.0)
    values = {**low.marks[0].values, "calibration": marks(shift=-0.5).values["calibration"]}
    low = contender("low", Marks(low.marks[0].examples, low.marks[0].positives, values), examples=10)
    assert recommend([best, low]).way == "best"


def test_predictions_that_are_not_finite_disqualify() -> None:
    broken, sound = contender("broken", marks(lost=10)), contender("sound", marks(shift=1))
    advice = recommend([broken, sound])
    assert advice.way == "sound"
    assert any("broken gave predictions that are not finite" in warning for warning in advice.warnings)


def test_what_is_not_sure_is_said() -> None:
    few = contender("few", marks(shift=1, n=300))
    warnings = " ".join(recommend([few]).warnings)
    assert "positives were graded" in warnings
    assert "promises too much" in warnings
    assert recommend([]).way is None
    assert recommend([contender("oracle", ahead=True)]).way is None


def test_the_difference_of_pairs_is_surer_than_each_alone() -> None:
    one, other = contender("one", marks(noise=0.3)), contender("other", marks(noise=0.4))
    apart, own = difference(other, one), estimate(one, "log_loss").over_time
    assert apart is not None and apart.over_time is not None and own is not None
    assert apart.certain
    assert apart.over_time[1] - apart.over_time[0] < (own[1] - own[0]) / 3


def test_of_each_way_the_rate_that_did_best_is_kept() -> None:
    slow, fast = contender("a", marks(shift=0.5), rate=0.5), contender("a", marks(), rate=2)
    other = contender("b", marks(shift=0.1), rate=0.5)
    assert best_of_rates([slow, fast, other]) == [fast, other]


def test_seeds_are_averaged_and_their_range_is_said() -> None:
    seeds = [marks(noise=0.5, seed=seed) for seed in range(3)]
    found = estimate(contender("a", *seeds), "auc")
    each = [one.values["auc"].whole or 0 for one in seeds]
    assert found.value == pytest.approx(np.mean(each))
    assert found.over_seeds == (min(each), max(each))
    assert found.over_hours is not None and found.over_hours[0] < np.mean(each) < found.over_hours[1]


def test_the_gain_is_shared_between_floor_and_ceiling() -> None:
    floor, ceiling = contender("floor", marks(shift=-1)), contender("ceiling")
    assert share_of_gain(floor, floor, ceiling) == pytest.approx(0)
    assert share_of_gain(ceiling, floor, ceiling) == pytest.approx(1)
    assert share_of_gain(ceiling, floor, floor) is None


def test_an_interval_holds_the_truth_about_as_often_as_it_says() -> None:
    rng, held = np.random.default_rng(0), 0
    for _ in range(400):
        sample = rng.normal(3, 1, 12)
        low, high = jackknife(float(sample.mean()), leave_out(sample)) or (0, 0)
        held += low <= 3 <= high
    assert 0.92 < held / 400 < 0.98


def leave_out(sample: np.ndarray) -> Sequence[float]:
    return [float(np.delete(sample, i).mean()) for i in range(len(sample))]


def test_too_few_blocks_give_no_interval() -> None:
    assert jackknife(1.0, [1.0] * 4) is None
    assert jackknife(1.0, [1.0, None, 1.0, 1.0, 1.0, 1.0]) is None


@pytest.mark.parametrize(("freedom", "quantile"), [(4, 2.7764), (9, 2.2622), (47, 2.0117)])
def test_student_is_that_of_the_tables(freedom: int, quantile: float) -> None:
    assert student(freedom) == pytest.approx(quantile, abs=2e-3)


def test_page_and_json_show_every_way_and_break_out_of_nothing() -> None:
    ways = [
        contender("<b>", marks(noise=0.2)),
        contender("b", marks(shift=1)),
        contender("oracle", ahead=True),
    ]
    made = Comparison("t & t", "", (), SPAN, [Compared("cvr", "", ways)], ["<script>"])
    page = html(made)
    assert "<script>" not in page and "<b><b>" not in page
    assert page.count("&lt;b&gt;") > 5
    plain = as_plain(made)["outputs"]["cvr"]
    assert [way["way"] for way in plain["ways"]] == ["oracle", "<b>", "b"]
    assert plain["recommended"] == "<b>"
    assert plain["ways"][1]["measures"]["calibration"]["over_hours"][0] > 0
    assert SPAN.width == 24 * HOUR

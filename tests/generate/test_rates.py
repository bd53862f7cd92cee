"""The base rates hold, and the true probabilities are true: calibrated, and better than any one number."""

import tomllib
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from stream_mtl.clock import DAY, HOUR, MINUTE
from stream_mtl.generate.delays import Exponential, Mixture
from stream_mtl.generate.generated import Generated, generate
from stream_mtl.generate.knobs import options_from
from stream_mtl.generate.market import Market
from stream_mtl.generate.options import PAIR_KEY, GeneratorOptions
from stream_mtl.generate.rhythm import Sudden
from stream_mtl.generate.stories import live

Floats = npt.NDArray[np.float64]

WORLDS: dict[str, dict[str, Any]] = {
    "as it comes": {},
    "rare": {"ctr": 0.01, "cvr": 0.03},
    "common": {"ctr": 0.5, "cvr": 0.6},
    "nothing to learn": {"click_strength": 0.0, "conversion_strength": 0.0, "position_effect": 0.0},
    "much to learn": {"click_strength": 2.5, "conversion_strength": 2.0},
    "drifting": {"drift_amplitude": 1.0, "duration": 10 * DAY, "drift_periods": (DAY, 3 * DAY)},
    "slates": {"slate": 10, "position_effect": 1.0},
    "few hot keys": {"hot_keys": 3, "hot_share": 0.5},
}


def column(generated: Generated, name: str) -> npt.NDArray[Any]:
    return np.asarray(generated.truth[name].to_numpy())


def log_loss(p: Floats | float, y: npt.NDArray[np.bool_]) -> float:
    return float(-np.where(y, np.log(p), np.log1p(-np.asarray(p))).mean())


def assert_calibrated(p: Floats, y: npt.NDArray[np.bool_]) -> None:
    """Assert that the sum of the probabilities is within 4 standard deviations of what happened."""
    assert abs(y.sum() - p.sum()) < 4 * np.sqrt((p * (1 - p)).sum()) + 1e-9


@pytest.mark.parametrize("world", WORLDS)
def test_the_base_rates_are_those_asked_for(world: str) -> None:
    options = GeneratorOptions(impressions=150_000, seed=3, **WORLDS[world])
    generated = generate(options)
    p, q = column(generated, "p_click"), column(generated, "p_conversion")
    assert p.mean() == pytest.approx(options.ctr, rel=0.03)
    assert np.average(q, weights=p) == pytest.approx(options.cvr, rel=0.03)
    clicked = column(generated, "clicked")
    noise = 4 * np.sqrt(options.ctr / len(clicked))
    assert clicked.mean() == pytest.approx(options.ctr, rel=0.03, abs=noise)


@pytest.mark.parametrize(
    "world",
    [{}, {"key": PAIR_KEY, "hot_keys": 20, "hot_share": 0.4}, {"skew": MINUTE, "skewed": 0.3}],
)
def test_the_true_probabilities_are_calibrated_and_beat_the_base_rate(world: dict[str, Any]) -> None:
    options = GeneratorOptions(
        impressions=150_000,
        seed=4,
        ctr=0.15,
        click_within=2 * MINUTE,
        conversion_within=20 * HOUR,
        **world,
    )
    generated = generate(options)
    clicked = column(generated, "clicked")
    pairs = (
        ("p_click_in_time", "clicked_in_time", np.full(len(clicked), True)),
        ("p_conversion_in_time", "converted_in_time", clicked),
    )
    for p_name, y_name, rows in pairs:
        p, y = column(generated, p_name)[rows], column(generated, y_name)[rows]
        assert 0.01 < y.mean() < 0.9
        assert_calibrated(p, y)
        for part in np.array_split(np.argsort(p, kind="stable"), 10):
            assert_calibrated(p[part], y[part])
        sure = (p > 0) & (p < 1)  # exposures of one key in one instant have no chance at all
        assert not y[~sure].any()
        assert log_loss(p[sure], y[sure]) < log_loss(float(y[sure].mean()), y[sure]) - 0.002


BACK: dict[str, Any] = {
    "refund_rate": 0.3,
    "invalid_rate": 0.2,
    "refund_within": 4 * DAY,
    "invalid_within": HOUR,
}


@pytest.mark.parametrize(
    "world",
    [
        {},
        {"root": "click", "drift_amplitude": 1.5, "drift_periods": (DAY, 2 * DAY)},
        {"key": PAIR_KEY, "hot_keys": 20, "hot_share": 0.4},
        {"skew": MINUTE, "skewed": 0.3},
    ],
)
def test_what_is_taken_back_is_by_the_true_probabilities_which_features_tell(world: dict[str, Any]) -> None:
    options = GeneratorOptions(impressions=50_000, seed=6, ctr=0.4, cvr=0.4, **BACK, **world)
    generated = generate(options)
    everyone = np.ones(options.impressions, np.bool_)
    clicked = column(generated, "clicked") if options.root == "impression" else everyone
    pairs = (
        ("refund", "refunded", column(generated, "converted")),
        ("invalid_click", "found_invalid", clicked),
    )
    for kind, past, rows in pairs:
        ever = column(generated, f"p_{kind}")[rows]
        assert ever.mean() == pytest.approx(0.3 if kind == "refund" else 0.2, rel=0.05)
        p, y = column(generated, f"p_{kind}_in_time")[rows], column(generated, f"{past}_in_time")[rows]
        for part in np.array_split(np.argsort(p, kind="stable"), 10):
            assert_calibrated(p[part], y[part])
        assert log_loss(p, y) < log_loss(float(y.mean()), y) - 0.01


def test_a_share_of_the_refunds_gives_a_part_back_and_the_others_all() -> None:
    options = GeneratorOptions(
        impressions=60_000, root="click", cvr=0.5, refund_rate=0.4, refund_partial=0.25
    )
    generated = generate(options)
    back = column(generated, "refunded")
    value, given = column(generated, "value")[back], column(generated, "given_back")[back]
    assert (given <= value).all()
    assert (given < value).mean() == pytest.approx(0.25, rel=0.1)
    refunds = generated.streams["refund"]
    amounts = dict(zip(column(generated, "click_id")[back], given, strict=True))
    told = zip(refunds.table["click_id"].to_pylist(), refunds.table["amount"].to_pylist(), strict=True)
    assert all(
        amounts[click] == amount for (click, amount), bad in zip(told, refunds.fate, strict=True) if bad == 0
    )


@pytest.mark.parametrize(
    "world",
    [
        {},
        {"root": "click", "drift_amplitude": 1.5, "delay_drift_amplitude": 0.5, "duration": 10 * DAY},
        {"key": PAIR_KEY, "hot_keys": 20, "hot_share": 0.4},
        {"skew": MINUTE, "skewed": 0.3},
    ],
)
def test_the_chances_at_a_look_are_the_true_ones(world: dict[str, Any]) -> None:
    """After ten minutes, counted from the click as the join counts: (late share, dp, rn) against what happened."""
    laws = (Exponential(10 * MINUTE), Mixture(Exponential(5 * MINUTE), Exponential(9 * HOUR), 0.3))
    options = GeneratorOptions(
        impressions=40_000,
        seed=7,
        ctr=0.5,
        cvr=0.4,
        conversion_delays=laws,
        conversion_within=20 * HOUR,
        looks=(10 * MINUTE, HOUR),
        **world,
    )
    generated = generate(options)
    clicked = np.ones(options.impressions, np.bool_)
    at = column(generated, "ts")
    if options.root == "impression":
        clicked, at = column(generated, "clicked"), column(generated, "click_time")
    bought = column(generated, "converted_in_time")
    for look, name in ((10 * MINUTE, "10m"), (HOUR, "1h")):
        late = bought & (column(generated, "conversion_time") - at > look)
        shown_no = clicked & ~(bought & ~late)
        share, dp, rn = (column(generated, f"{what}_{name}") for what in ("late", "dp", "rn"))
        for p, y, rows in ((dp, late, clicked), (share, late, bought), (rn, ~bought, shown_no)):
            for part in np.array_split(np.flatnonzero(rows)[np.argsort(p[rows], kind="stable")], 8):
                assert_calibrated(p[part], y[part])
        given = column(generated, "p_conversion_in_time")
        assert share * given == pytest.approx(dp, abs=1e-12)


def test_a_key_that_comes_back_early_has_less_time() -> None:
    options = GeneratorOptions(
        impressions=100_000,
        key=PAIR_KEY,
        hot_keys=20,
        hot_share=0.5,
        ctr=0.3,
        click_delays=(Exponential(10 * MINUTE),),
    )
    generated = generate(options)
    ever, in_time = column(generated, "p_click"), column(generated, "p_click_in_time")
    hot = in_time < 0.5 * ever
    assert 0.2 < hot.mean() < 0.6
    assert_calibrated(in_time[hot], column(generated, "clicked")[hot])


def test_the_spread_of_the_logit_is_the_strength_asked_for() -> None:
    for strength in (0.3, 1.0, 2.0):
        generated = generate(GeneratorOptions(impressions=60_000, click_strength=strength))
        p = column(generated, "p_click")
        assert np.log(p / (1 - p)).std() == pytest.approx(strength, rel=0.03)


def test_amounts_follow_the_price() -> None:
    generated = generate(GeneratorOptions(impressions=100_000, ctr=0.3, cvr=0.3, value_elasticity=0.5))
    bought = column(generated, "converted")
    ratio = column(generated, "value")[bought] / column(generated, "expected_value")[bought]
    assert ratio.mean() == pytest.approx(1, abs=4 * 0.25 / np.sqrt(bought.sum()))
    assert np.log(ratio).std() == pytest.approx(0.25, rel=0.05)


def test_a_sudden_change_of_the_odds_is_seen_at_its_time_and_not_before() -> None:
    change = Sudden(at=DAY, clicks=3.0, conversions=0.25)
    generated = generate(GeneratorOptions(impressions=200_000, ctr=0.02, cvr=0.3, sudden=(change,)))
    after = column(generated, "ts") >= generated.options.start + DAY
    clicked, converted = column(generated, "clicked"), column(generated, "converted")
    assert clicked[~after].mean() == pytest.approx(0.02, rel=0.1)
    assert clicked[after].mean() == pytest.approx(0.06, rel=0.1)
    assert converted[clicked & ~after].mean() == pytest.approx(0.3, rel=0.1)
    assert converted[clicked & after].mean() == pytest.approx(0.1, rel=0.15)


def test_a_sudden_change_of_the_delays_is_seen() -> None:
    change = Sudden(at=DAY, click_delays=10.0, conversion_delays=0.1)
    generated = generate(GeneratorOptions(impressions=200_000, ctr=0.2, cvr=0.3, sudden=(change,)))
    after = column(generated, "ts") >= generated.options.start + DAY
    for name, since, factor in (("click_time", "ts", 10.0), ("conversion_time", "click_time", 0.1)):
        delay = column(generated, name) - column(generated, since)
        medians = [np.nanmedian(delay[rows].astype(float)) for rows in (~after, after)]
        assert medians[1] / medians[0] == pytest.approx(factor, rel=0.15)


@pytest.mark.parametrize("speed", [1.0, 2.0, 0.0])
def test_drift_moves_what_a_model_has_learned_as_fast_as_is_said(speed: float) -> None:
    cycle: dict[str, Any] = {"drift_amplitude": 1.0, "drift_periods": (2 * DAY, 2 * DAY)}
    for knobs in ({}, cycle | {"drift_speed": speed}):
        market = Market(GeneratorOptions(items=200, new_items=0.0, **knobs))
        now = market.options.start
        shown = market.sample_context(20_000, now, np.random.default_rng(5))
        for kind in ("click", "conversion"):
            # A day is half a cycle: every weight has swung to the other side. At twice the speed it is back.
            p, after = (market.probability(kind, shown, now + at) for at in (0, DAY))
            moved = np.corrcoef(np.log(p / (1 - p)), np.log(after / (1 - after)))[0, 1]
            assert -0.5 <= moved <= 0.8 if knobs and speed == 1.0 else moved >= 0.999


def test_in_the_example_who_stands_still_loses_what_makes_the_methods_differ() -> None:
    """Section by section, the setting of `examples/delayed.toml` at a tenth of its size: rates, delays, drift."""
    path = Path(__file__).parents[2] / "examples" / "delayed.toml"
    options = options_from(tomllib.loads(path.read_text())["generate"], ["impressions=72000"])
    generated, market = generate(options), Market(options)
    y, dp, p = (column(generated, name) for name in ("converted_in_time", "dp_15m", "p_conversion_in_time"))
    assert p.mean() == pytest.approx(0.1, rel=0.1)
    assert dp.sum() / p.sum() == pytest.approx(0.7, abs=0.03)
    assert log_loss(p, y) < 0.24
    stories = live(options, market)
    for days, lost in ((1, 0.01), (3, 0.1)):
        old = market.conversion_probability(stories.exposures.context, stories.exposures.time - days * DAY)
        assert log_loss(old, y) > log_loss(p, y) + lost

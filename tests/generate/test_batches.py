"""One order over all kinds, cut anywhere, and the generator as a live market."""

from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest

from stream_mtl.clock import DAY, HOUR
from stream_mtl.errors import ConfigError
from stream_mtl.generate.fields import KINDS, event_fields
from stream_mtl.generate.generated import batches, generate
from stream_mtl.generate.market import Market
from stream_mtl.generate.options import GeneratorOptions
from stream_mtl.generate.workload import performance_workload

OPTIONS = GeneratorOptions(impressions=5_000, ctr=0.3, cvr=0.3)


@pytest.mark.parametrize("size", [1, 7, 1_000, 10**6])
def test_batches_are_the_streams_in_one_order_of_arrival(size: int) -> None:
    options = OPTIONS if size > 1 else GeneratorOptions(impressions=300, ctr=0.3, cvr=0.3)
    whole, parts = generate(options), list(batches(options, size))
    assert all(len(part) == size for part in parts[:-1])
    arrival = np.concatenate([part.arrival for part in parts])
    assert (np.diff(arrival) >= 0).all()
    for number, (kind, stream) in enumerate(whole.streams.items()):
        assert kind == KINDS[number]
        pieces = [part.streams[kind] for part in parts]
        assert pa.concat_tables([piece.table for piece in pieces]).equals(stream.table)
        assert np.concatenate([piece.fate for piece in pieces]).tolist() == stream.fate.tolist()
        for part in parts:
            of_kind = part.kinds == number
            assert part.arrival[of_kind].tolist() == part.streams[kind].arrival.tolist()


def test_the_workload_is_the_one_on_the_performance_page() -> None:
    options = performance_workload(200_000)
    generated = generate(options)
    assert options.duration == 48 * HOUR // 5
    assert performance_workload(4_000_000).duration == 8 * DAY
    fields = event_fields(options, "impression")
    assert fields.pop("exposure_id") == "string" and fields.pop("ts") == "long"
    assert sorted(fields.values()) == ["double"] * 4 + ["long"] * 8
    assert all(len(name) == 16 for name in generated.truth["exposure_id"].to_pylist()[:100])
    accounts = generated.accounts()["impression"]
    assert accounts["joined"] == 200_000
    assert accounts["duplicate"] / 200_000 == pytest.approx(0.02, rel=0.05)
    assert accounts["read"] == accounts["joined"] + accounts["duplicate"]
    clicked = generated.truth["clicked"].to_numpy()
    assert clicked.mean() == pytest.approx(0.03, rel=0.05)
    assert generated.truth["converted"].to_numpy()[clicked].mean() == pytest.approx(0.10, rel=0.1)
    behind = generated.impressions.arrival - generated.impressions.table["ts"].to_numpy()
    assert behind.max() <= 60_000 and (behind > 0).mean() == pytest.approx(0.05, rel=0.5)


def test_a_live_population_behaves_by_the_same_truth() -> None:
    market = Market(GeneratorOptions(slate=8, position_effect=1.0))
    rng, now = np.random.default_rng(1), market.options.start + DAY
    shown = market.sample_requests(4_000, 8, now, rng)
    assert len(shown) == 32_000 and (shown.request == np.repeat(np.arange(4_000), 8)).all()
    p = market.click_probability(shown, now)
    best = np.argsort(-p.reshape(-1, 8), axis=1, kind="stable")
    rows = (np.arange(4_000)[:, None] * 8 + best).reshape(-1)
    ranked = replace(shown.take(rows), position=np.tile(np.arange(8), 4_000))
    top = market.click_probability(ranked, now).reshape(-1, 8)[:, 0]
    assert top.mean() > p.mean()
    clicked = rng.random(len(ranked)) < market.click_probability(ranked, now)
    delay = market.click_delay(ranked, now, rng)[clicked]
    assert (delay >= 0).all() and delay.max() < DAY
    assert market.features(ranked, now).keys() == {
        name
        for name in event_fields(market.options, "impression")
        if name not in ("exposure_id", "ts", "request_id")
    }


def test_a_market_of_one_seed_is_always_the_same_and_keeps_nothing() -> None:
    def answers(market: Market) -> list[float]:
        shown = market.sample_context(50, market.options.start, np.random.default_rng(3))
        p = market.click_probability(shown, market.options.start)
        delay = market.conversion_delay(shown, market.options.start, np.random.default_rng(4))
        return [*p.tolist(), *delay.tolist(), *market.value(shown, np.random.default_rng(5)).tolist()]

    market = Market(OPTIONS)
    assert answers(market) == answers(market) == answers(Market(OPTIONS))
    assert answers(market) != answers(Market(replace(OPTIONS, seed=9)))


def test_a_slate_shows_nothing_twice_and_nothing_unborn() -> None:
    for items in (12, 500):
        options = GeneratorOptions(slate=10, items=items, new_items=0.15, popularity=2.0)
        market = Market(options)
        shown = market.sample_requests(3_000, 10, options.start, np.random.default_rng(6))
        assert (market.people.item_born[shown.item] <= options.start).all()
        assert (np.diff(np.sort(shown.item.reshape(-1, 10), axis=1), axis=1) > 0).all()


def test_new_items_appear_as_time_goes_on() -> None:
    generated = generate(GeneratorOptions(impressions=40_000, items=100, new_items=0.5, popularity=0))
    items = generated.truth["item_id"].to_numpy()
    assert len(np.unique(items[:2_000])) < 60
    assert len(np.unique(items[-2_000:])) == 100


@pytest.mark.parametrize(
    ("knobs", "message"),
    [
        ({"ctr": 0.0}, "ctr must be between"),
        ({"impressions": 0}, "impressions must be between"),
        ({"duplicates": 1.5}, "duplicates must be between"),
        ({"key": ("user_id",)}, "key must be"),
        ({"max_disorder": HOUR}, "max_disorder must not be above lateness"),
        ({"skewed": 0.1}, "need a skew"),
        ({"hot_share": 0.1}, "hot_share needs hot_keys"),
        ({"slate": 1_900}, "slate must not be above"),
        ({"late": 0.6, "missing": 0.6}, "late and missing"),
        ({"click_delays": ()}, "at least one law"),
        ({"drift_periods": (2 * DAY, DAY)}, "shortest, longest"),
        ({"price_median": float("nan")}, "price_median must be between"),
        ({"root": "page"}, "root must be impression or click"),
        ({"root": "click", "slate": 2}, "slate must be 1"),
        ({"looks": (0,)}, "looks must be above zero"),
        ({"refund_rate": 1.5}, "refund_rate must be between"),
        ({"invalid_delays": ()}, "at least one law"),
    ],
)
def test_options_that_cannot_be_are_refused(knobs: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        GeneratorOptions(**knobs)  # type: ignore[arg-type]

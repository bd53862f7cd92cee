"""Charts: small, whole SVG texts whose ranges follow the bulk of the values."""

import re
import xml.etree.ElementTree as ET
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from stream_mtl.clock import DAY, HOUR, MINUTE
from stream_mtl.watch.charts import (
    MOST_POINTS,
    Dot,
    Series,
    alone,
    averaged,
    decimate,
    interval,
    line_chart,
    reliability_chart,
    y_range,
)
from stream_mtl.watch.ticks import log_ticks, number_ticks, time_ticks

numbers = st.floats(-1e9, 1e9) | st.none() | st.just(float("nan")) | st.just(float("inf"))


@given(ys=st.lists(numbers, min_size=1, max_size=30), reference=st.none() | st.floats(-10, 10))
def test_any_line_becomes_an_svg_without_nan(ys: list[float | None], reference: float | None) -> None:
    svg = line_chart("any", [Series("y", range(len(ys)), ys)], reference=reference)
    ET.fromstring(svg)
    assert not re.search(r'"[^"]*(nan|inf)[^"]*"', svg)


@given(
    st.lists(st.builds(Dot, st.integers(0, 10_000), st.floats(0, 1), st.floats(0, 1)), max_size=12),
    st.booleans() | st.none(),
)
def test_any_groups_become_a_diagram(dots: list[Dot], log: bool | None) -> None:
    svg = reliability_chart("any", dots, log)
    ET.fromstring(svg)
    assert "nan" not in svg
    assert svg.count("<circle") == sum(dot.count > 0 for dot in dots)


def test_titles_and_names_are_escaped() -> None:
    svg = line_chart("<b>&", [Series("<i>", [0, 1], [1, 2]), Series("z", [0, 1], [1, 2])], y_label='"<')
    assert "<b>" not in svg and "<i>" not in svg
    assert ET.fromstring(svg).attrib["aria-label"] == "<b>&"


def test_a_chart_has_a_title_for_those_who_do_not_see_it() -> None:
    root = ET.fromstring(line_chart("Calibration", [Series("ctr", [0, 1], [1, 2])]))
    assert root.attrib["role"] == "img"
    assert root[0].text == "Calibration"


def test_a_file_of_its_own_carries_its_style() -> None:
    root = ET.fromstring(alone(line_chart("alone", [Series("a", [0, 1], [1, 2])])))
    assert root[0].tag.endswith("style")


def test_long_lines_are_thinned_and_keep_their_extremes() -> None:
    y = np.random.default_rng(0).normal(size=10_000)
    y[1234], y[5678] = 50, -50
    thin = decimate(Series("y", range(10_000), y.tolist()))
    assert len(thin.x) <= MOST_POINTS
    assert max(v for v in thin.y if v is not None) == 50
    assert min(v for v in thin.y if v is not None) == -50
    assert list(thin.x) == sorted(thin.x)
    assert len(line_chart("long", [Series("y", range(10_000), y.tolist())])) < 12_000


def test_noisy_lines_are_averaged_within_a_band() -> None:
    y = np.random.default_rng(0).normal(size=3_000)
    line = averaged(Series("y", range(3_000), y.tolist()), most=100)
    assert len(line.x) == len(line.y) == len(line.band) == 100
    assert np.mean(np.array(line.y, float)) == pytest.approx(y.mean())


def test_an_outlier_does_not_blow_the_range_up() -> None:
    y = [1 + 0.01 * (i % 7) for i in range(100)]
    assert y_range([Series("y", range(100), y)]) == pytest.approx((0.995, 1.065), abs=0.01)
    assert y_range([Series("y", range(100), [*y[:50], 900.0, *y[51:]])])[1] < 1.3


def test_a_reference_is_always_in_the_range() -> None:
    low, high = y_range([Series("y", [0, 1], [3.0, 3.5])], reference=1.0)
    assert low < 1 < 3.5 < high


def test_what_is_beyond_the_edge_is_marked_there() -> None:
    y = [1 + 0.01 * (i % 7) for i in range(99)]
    svg = line_chart("one beyond", [Series("y", range(100), [*y, 900.0])])
    assert svg.count("<path") == 1
    assert "900.0" in svg


def test_a_gap_breaks_the_line() -> None:
    svg = line_chart("gap", [Series("y", range(6), [1, 2, 3, None, 4, 5])])
    assert svg.count("<polyline") == 2


def test_nothing_is_said_to_be_nothing() -> None:
    assert "nothing to show yet" in line_chart("none", [Series("y", [0], [None])])
    assert "nothing to show yet" in reliability_chart("none", [])


def test_small_rates_are_drawn_on_logarithmic_axes() -> None:
    dots = [Dot(1_000, p, p) for p in (0.0005, 0.005, 0.05)]
    assert "0.1 %" in reliability_chart("wide", dots)
    assert "0.1 %" not in reliability_chart("plain", dots, log=False)
    assert reliability_chart("narrow", [replace(dot, predicted=0.4) for dot in dots]).count("0 %<") >= 1


@pytest.mark.parametrize(("n", "p"), [(10, 0.5), (200, 0.03), (1_000, 0.0)])
def test_the_interval_is_the_set_of_rates_that_are_not_refused(n: int, p: float) -> None:
    rates = np.linspace(0, 1, 200_001)[1:-1]
    kept = rates[np.abs(p - rates) <= 1.96 * np.sqrt(rates * (1 - rates) / n)]
    low, high = interval(Dot(n, 0.5, p))
    assert (low, high) == pytest.approx((kept[0] if p else 0, kept[-1]), abs=2e-5)


def test_ticks_of_time_are_round_and_midnight_has_its_date() -> None:
    begin = 1_772_668_800_000
    assert [tick.text for tick in time_ticks(begin + HOUR, begin + 2 * DAY)][:3] == [
        "12:00",
        "Mar 6",
        "12:00",
    ]
    assert [tick.text for tick in time_ticks(begin, begin + 4 * MINUTE)][1] == "00:01"
    assert len(time_ticks(0, 4_000 * DAY)) <= 7


@given(st.floats(-1e6, 1e6), st.floats(1e-6, 1e6))
def test_ticks_of_numbers_are_few_and_within(low: float, span: float) -> None:
    assume(span >= 1e-6 * abs(low))  # as y_range sees to
    ticks = number_ticks(low, low + span)
    assert 1 <= len(ticks) <= 7
    assert all(low - span * 1e-6 <= tick.place <= low + span * 1.000001 for tick in ticks)


@given(st.lists(st.floats(-1e9, 1e9), min_size=1, max_size=20), st.none() | st.floats(-10, 10))
def test_a_range_is_never_too_thin_for_its_ticks(ys: list[float], reference: float | None) -> None:
    low, high = y_range([Series("y", range(len(ys)), ys)], reference)
    assert high - low >= 0.99e-6 * max(abs(low), abs(high))


def test_ticks_of_rates_are_percentages() -> None:
    assert [tick.text for tick in log_ticks(0.0005, 0.2)] == ["0.1 %", "1 %", "10 %"]
    assert [tick.text for tick in log_ticks(0.04, 0.3)] == ["5 %", "10 %", "20 %"]


def test_what_is_not_final_is_broken_and_a_proxy_does_not_stretch_the_range() -> None:
    final = Series("final", [0, 1, 2], [1.0, 1.1, 0.9])
    estimate = Series("estimate", [0, 1, 2], [1.0, 1.2, 1.0], [(0.9, 1.1)] * 3, "estimate")
    proxy = Series("proxy", [0, 1, 2], [40.0, 9.0, 1.3], (), "proxy")
    svg = line_chart("x", [final, estimate, proxy])
    assert svg.count('class="series estimate"') == svg.count('class="series proxy"') == 2  # line and legend
    assert "<circle" in svg and "<title>estimate" not in svg and "<title>proxy" not in svg
    assert y_range([final, estimate, proxy]) == y_range([final, estimate])
    assert y_range([proxy])[1] >= 40

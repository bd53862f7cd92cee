"""Delays follow their laws: what is drawn, and what is said to be reached, are the same distribution."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stream_mtl.clock import HOUR, MINUTE, SECOND
from stream_mtl.errors import ConfigError
from stream_mtl.generate.delays import Delays, Exponential, Law, Mixture, Weibull

LAWS = [
    Exponential(20 * SECOND),
    Weibull(20 * HOUR, 0.7),
    Weibull(HOUR, 2.0),
    Mixture(Exponential(MINUTE), Weibull(20 * HOUR, 0.8), 0.4),
]

# By hand, for a chance of 1/2: the median of each law in ms.
MEDIANS = [(Exponential(1000.0), 693.147), (Weibull(1000.0, 0.5), 480.453), (Weibull(1000.0, 2.0), 832.555)]


@pytest.mark.parametrize("law", LAWS)
def test_the_share_drawn_below_a_quantile_is_the_chance_of_it(law: Law) -> None:
    drawn = np.sort(law.draw(40_000, np.random.default_rng(1)))
    # The greatest distance of the drawn from the true distribution exceeds 1.63 / sqrt(n) once in a hundred.
    distance = np.abs(law.reached(drawn) - (np.arange(len(drawn)) + 0.5) / len(drawn)).max()
    assert distance < 1.63 / np.sqrt(len(drawn))


@pytest.mark.parametrize(("law", "median"), MEDIANS)
def test_half_have_come_at_the_median(law: Law, median: float) -> None:
    assert law.reached(np.array([median]))[0] == pytest.approx(0.5, abs=1e-5)


@pytest.mark.parametrize("law", LAWS)
def test_the_mean_is_that_of_what_is_drawn(law: Law) -> None:
    drawn = law.draw(400_000, np.random.default_rng(2))
    assert drawn.mean() == pytest.approx(law.mean, rel=5 * drawn.std() / drawn.mean() / np.sqrt(len(drawn)))


def test_nothing_has_come_before_the_beginning() -> None:
    for law in LAWS:
        assert law.reached(np.array([-1.0, 0.0])).tolist() == [0.0, 0.0]


@settings(max_examples=100, deadline=None)
@given(
    stretch=st.floats(0.01, 100),
    scale=st.floats(0.01, 100),
    value=st.integers(0, 3),
    seed=st.integers(0, 2**32),
)
def test_each_value_has_its_own_law_stretched_and_cut_to_milliseconds(
    stretch: float, scale: float, value: int, seed: int
) -> None:
    laws = (Exponential(10.0), Weibull(30.0, 0.5))
    delays = Delays(laws, np.full(4, scale))
    values, factors = np.full(4_000, value), np.full(4_000, stretch)
    drawn = delays.draw(values, factors, np.random.default_rng(seed))
    at = np.quantile(drawn, 0.7, method="lower")
    said = delays.reached(values, factors, np.full(4_000, at))[0]
    law = laws[value % 2]
    assert said == law.reached(np.array([(at + 1) / (scale * stretch)]))[0]
    assert (drawn <= at).mean() == pytest.approx(said, abs=6 * np.sqrt(said * (1 - said) / 4_000) + 1e-9)


@pytest.mark.parametrize("wrong", [0.0, -1.0, float("inf"), float("nan")])
def test_a_law_without_a_scale_is_refused(wrong: float) -> None:
    with pytest.raises(ConfigError, match="above zero"):
        Exponential(wrong)
    with pytest.raises(ConfigError, match="above zero"):
        Weibull(1.0, wrong)
    with pytest.raises(ConfigError, match="share"):
        Mixture(Exponential(1.0), Exponential(2.0), wrong - 1 if wrong == 0 else wrong)

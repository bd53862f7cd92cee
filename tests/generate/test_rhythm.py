"""Traffic has the rhythm of the day, weights swing at their own pace, sudden changes multiply."""

import numpy as np
import pytest

from stream_mtl.clock import DAY, HOUR
from stream_mtl.errors import ConfigError
from stream_mtl.generate.rhythm import Sudden, Weights, sudden_factor, traffic


@pytest.mark.parametrize("start", [0, 7 * HOUR + 123])
@pytest.mark.parametrize("amplitude", [0.0, 0.5, 1.0])
def test_every_hour_has_its_share_of_the_traffic(amplitude: float, start: int) -> None:
    n = 200_000
    times = traffic(n, start, 4 * DAY, amplitude, 20.0, np.random.default_rng(1))
    assert (np.diff(times) >= 0).all() and start <= times[0] and times[-1] < start + 4 * DAY
    counts = np.bincount(times // HOUR % 24, minlength=24)
    middle = np.arange(24) + 0.5
    # The mean of a cosine over an hour is a little flatter than the cosine at its middle.
    flat = np.sin(np.pi / 24) / (np.pi / 24)
    expected = n / 24 * (1 + amplitude * flat * np.cos(2 * np.pi * (middle - 20) / 24))
    assert (np.abs(counts - expected) < 5 * np.sqrt(expected) + 1).all()


def test_an_even_stream_is_even_within_the_hour_too() -> None:
    times = traffic(100_000, 0, HOUR, 0.0, 0.0, np.random.default_rng(2))
    counts = np.bincount(times // (HOUR // 10), minlength=10)
    assert (np.abs(counts - 10_000) < 5 * np.sqrt(10_000)).all()


def test_a_weight_swings_by_its_amplitude_once_in_its_period() -> None:
    weights = Weights.draw(np.array([1.0, -2.0]), 0.5, (2 * DAY, 2 * DAY), np.random.default_rng(3))
    elapsed = np.arange(0, 4 * DAY, HOUR)
    for value, mean in enumerate((1.0, -2.0)):
        seen = weights.at(np.full(len(elapsed), value), elapsed)
        assert seen.max() == pytest.approx(mean + 0.5, abs=0.01)
        assert seen.min() == pytest.approx(mean - 0.5, abs=0.01)
        assert seen[: len(seen) // 2] == pytest.approx(seen[len(seen) // 2 :])


def test_a_weight_that_does_not_swing_stays() -> None:
    weights = Weights.draw(np.array([1.0, -2.0]), 0.0, (DAY, DAY), np.random.default_rng(4))
    assert weights.at(np.array([1, 0, 1]), np.array([0, DAY, 5 * DAY])).tolist() == [-2.0, 1.0, -2.0]


def test_sudden_changes_multiply_from_their_instants_on() -> None:
    changes = (Sudden(at=10, clicks=2.0), Sudden(at=20, clicks=3.0, click_delays=0.5))
    elapsed = np.array([0, 9, 10, 19, 20, 1000])
    assert sudden_factor(changes, "clicks", elapsed).tolist() == [1, 1, 2, 2, 6, 6]
    assert sudden_factor(changes, "click_delays", elapsed).tolist() == [1, 1, 1, 1, 0.5, 0.5]
    assert sudden_factor(changes, "conversions", elapsed).tolist() == [1] * 6


def test_a_change_to_nothing_is_refused() -> None:
    with pytest.raises(ConfigError, match="above zero"):
        Sudden(at=0, clicks=0.0)

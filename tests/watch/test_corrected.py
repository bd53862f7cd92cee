"""The delay-corrected estimate: right long before labels are final, as sure as it says, and silent where it cannot know."""

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pytest

from stream_mtl.clock import HOUR, MINUTE, SECOND, Millis
from stream_mtl.watch.board import Board, BoardOptions
from stream_mtl.watch.corrected import LEAST_DELAYS, LEAST_KNOWN, Seen, delayed, estimate
from stream_mtl.watch.readings import SO_FAR
from tests.label.world import Life, cut, tell

from .served import PLAN, feed, looking, made, serve, told

CHAIN = looking(ctr=[0], cvr=[0])
OPTIONS = BoardOptions(windows=(HOUR,))
CLICKED, PROMISED = 0.5, 0.2
DOUBLES = 7 * HOUR
"""From here on conversions are twice as many as they were, and twice as many as the served scores promise."""


def market(seed: int, until: Millis = 9 * HOUR) -> list[Life]:
    """Draw exposures every two seconds; conversions take half an hour in the mean, and count within two."""
    rng = np.random.default_rng(seed)
    shown = np.arange(0, until, 2 * SECOND)
    rate = np.where(shown < DOUBLES, PROMISED, 2 * PROMISED)
    clicked = rng.random(len(shown)) < CLICKED
    within = 1 - np.exp(-4)  # of the delays' law
    delay = -30 * MINUTE * np.log1p(-rng.random(len(shown)) * within)
    bought = rng.random(len(shown)) < rate
    click = rng.exponential(MINUTE, len(shown))
    return [
        Life(int(at), int(c) if yes else None, int(d) if yes and b else None, 1.0)
        for at, yes, c, b, d in zip(shown, clicked, click, bought, delay, strict=True)
    ]


def watched(histories: list[Life], now: Millis) -> Board:
    count = len(histories)
    promises = {
        "scored.ctr": np.full(count, CLICKED),
        "scored.cvr": np.full(count, PROMISED),
        "scored.joint_cvr": np.full(count, CLICKED * PROMISED),
    }
    log = serve(tell(CHAIN, histories), {name: pa.array(column) for name, column in promises.items()})
    stop = int(np.searchsorted(told(log), now))
    board = Board(PLAN, CHAIN, OPTIONS)
    feed(board, cut(log, [stop])[0], range(0, stop, 5_000))
    board.update(made(cut(log, [0])[0]), now)
    return board


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_rates_double_and_it_knows_an_hour_before_the_first_label_is_final(seed: int) -> None:
    now = DOUBLES + 65 * MINUTE
    histories = market(seed)
    outputs = watched(histories, now).readings().outputs
    began = [life.shown + life.click for life in histories if life.click is not None]
    final = {life.shown: life.conversion is not None for life in histories if life.click is not None}
    recent = [final[life.shown] for life in histories if life.click is not None]
    recent = [yes for yes, at in zip(recent, began, strict=True) if now - HOUR < at < now]
    for name, truth in (("cvr", PROMISED * len(recent) / sum(recent)), ("joint.cvr", 0.5)):
        output = outputs[name]
        immature, corrected = output.proxy[SO_FAR]["1h"], output.corrected["1h"]
        assert truth == pytest.approx(0.5, abs=0.04)
        assert corrected.low < truth < corrected.high
        assert corrected.high < 0.65  # it does not take it for chance
        assert immature.calibration is not None and immature.calibration > 1.5 * truth  # this is wrong
        assert output.views["1h"].calibration == pytest.approx(1, abs=0.15)  # this is of the time before
        assert corrected.upto > now - 2 * MINUTE
    maturity = outputs["cvr"].maturity
    assert maturity is not None and maturity.shares["1h"] == 0  # not one of these labels is final


def test_without_a_change_it_says_one_while_the_proxy_promises_a_disaster() -> None:
    outputs = watched(market(4, until=8 * HOUR), DOUBLES).readings().outputs
    for name in ("cvr", "joint.cvr"):
        proxy = outputs[name].proxy[SO_FAR]["1h"].calibration
        assert proxy is not None and proxy > 1.6
        for corrected in outputs[name].corrected.values():
            assert corrected.low < 1 < corrected.high
            assert corrected.calibration == pytest.approx(1, abs=0.12)


def drawn(
    rng: np.random.Generator, truth: float, events: float, history: int
) -> tuple[Seen, npt.NDArray[np.float64]]:
    """Draw 40 cohorts of ages 0 to 39 whose rates are promised `truth` times too high, and delays of as many events."""
    share = np.diff(np.append(0.0, 1 - np.exp(-np.arange(1, 41) / 12)))
    share /= share.sum()
    scores = rng.beta(2, 6, (40, 200))
    scores *= events * truth / scores.sum()
    lag = np.arange(40)
    come = np.cumsum(share)[lag]
    known = rng.random(scores.shape) < scores / truth * come[:, None]
    delays = rng.multinomial(history, share).astype(np.float64)
    clocks = np.full(40, 200.0)
    return Seen(clocks, scores.sum(1), (scores**2).sum(1), known.sum(1).astype(float), lag, clocks), delays


@pytest.mark.parametrize(
    ("truth", "events", "history"), [(1.0, 900, 300), (2.0, 300, 2_000), (0.5, 1_500, 150)]
)
def test_its_interval_holds_the_truth_as_often_as_it_says(truth: float, events: float, history: int) -> None:
    rng = np.random.default_rng(7)
    found = [estimate(*drawn(rng, truth, events, history)) for _ in range(400)]
    made_ = [one for one in found if one is not None]
    assert len(made_) == 400
    covered = np.mean([one.low < truth < one.high for one in made_])
    assert 0.93 < covered < 0.97
    errors = np.std([np.log(one.ratio) for one in made_])
    assert np.mean([one.error for one in made_]) == pytest.approx(errors, rel=0.1)


def cohort(clocks: float, promised: float, squared: float, known: float, lag: int) -> Seen:
    one = [np.array([value], np.float64) for value in (clocks, promised, squared, known, 0)]
    return Seen(one[0], one[1], one[2], one[3], np.array([lag]), one[4])


def test_too_few_events_give_no_estimate() -> None:
    assert estimate(cohort(100, 20, 4, LEAST_KNOWN, 2), np.array([30.0, 10, 5, 4])) is None
    assert estimate(cohort(100, 20, 4, LEAST_KNOWN - 1, 2), np.array([30.0, 10, 5, 5])) is None
    assert estimate(cohort(100, 20, 4, LEAST_KNOWN, 2), np.array([30.0, 10, 5, 5])) is not None
    assert LEAST_DELAYS == 50


def test_scores_of_nothing_give_no_estimate() -> None:
    assert estimate(cohort(100, 0, 0, 20, 2), np.full(4, 50.0)) is None


def test_labels_that_are_taken_back_count_at_their_own_lag() -> None:
    delays = np.array([80.0, 20, -40, 0])
    share = delayed(delays)
    assert share is not None
    np.testing.assert_allclose(share, [80 / 60, 100 / 60, 1, 1])
    found = estimate(cohort(1_000, 60, 5, 100, 1), delays)
    assert found is not None and found.ratio == pytest.approx(1)

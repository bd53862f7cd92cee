"""Products are counted once all labels of their time are in, so that misses are never counted before hits."""

from dataclasses import replace

import numpy as np
import pytest

from stream_mtl import measures
from stream_mtl.clock import MINUTE
from stream_mtl.label.plan import lives
from stream_mtl.learn.held import COHORTS, Held
from stream_mtl.learn.recipe import LearnOptions
from stream_mtl.learn.sharing import ModelOptions
from stream_mtl.learn.trainer import Trainer
from tests.label.world import CHAIN, cut, planned, tell
from tests.label.world import lives as drawn
from tests.learn.small import fields, recipe

BARE = recipe(ModelOptions("shared_bottom", "esmm", (8,), (4,)), LearnOptions(batch_size=16))
RECIPE = replace(BARE, lives={"joint.cvr": lives(BARE.plan, CHAIN)["joint.cvr"]})
HISTORIES = drawn(400, seed=7)
TABLE = fields(len(HISTORIES))
COLUMNS = {name: TABLE.column(name).combine_chunks() for name in TABLE.column_names}
TOLD = tell(planned(RECIPE.plan), HISTORIES, COLUMNS)
LIFE = RECIPE.lives["joint.cvr"]


def counted(upto: int, borders: tuple[int, ...] = ()) -> tuple[int, float]:
    """Return how many products were counted, and how many of them were hits, when all before `upto` was told."""
    stop = int(np.searchsorted(TOLD.rows.column("told").to_numpy(), upto))
    trainer = Trainer(RECIPE)
    for part in cut(cut(TOLD, [stop])[0], borders):
        trainer.take(part)
    trainer.flush()
    sums = trainer.measures["joint.cvr"]
    return measures.count(sums), measures.observed(sums)


@pytest.mark.parametrize("hours", [3, 4, 6])
def test_every_exposure_before_a_border_is_counted_and_none_behind_it(hours: int) -> None:
    upto = hours * 60 * MINUTE
    count, hits = counted(upto)
    shown = [life for life in HISTORIES if life.shown < upto - LIFE]
    width = LIFE // COHORTS
    least = [life for life in HISTORIES if life.shown < upto - LIFE - 3 * width]
    assert len(least) <= count <= len(shown)
    bought = [
        life.click is not None
        and life.conversion is not None
        and life.click <= 30 * MINUTE
        and life.conversion <= 120 * MINUTE
        for life in HISTORIES[:count]
    ]
    assert hits == sum(bought)


def test_where_the_log_was_cut_does_not_matter() -> None:
    assert counted(300 * MINUTE) == counted(300 * MINUTE, (5, 6, 100, 333))


def test_what_is_held_can_be_saved_between_any_two_calls() -> None:
    rng = np.random.default_rng(0)
    time, p = rng.integers(0, 10_000, 200), rng.random(200).astype(np.float32)
    truth = (rng.random(200) < p).astype(np.float64)
    one, two = Held(1_000), Held(1_000)
    for start in range(0, 200, 50):
        rows = slice(start, start + 50)
        again = Held(1_000)
        again.restore(two.arrays())
        two = again
        one.add(time[rows], p[rows], truth[rows])
        two.add(time[rows], p[rows], truth[rows])
        first, second = one.ripe(start * 40), two.ripe(start * 40)
        assert np.array_equal(first.counts, second.counts) and first.loss == second.loss
    assert measures.count(one.ripe(20_000)) == measures.count(two.ripe(20_000)) > 0

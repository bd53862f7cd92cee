"""A small world of features, tasks and recipes, for the tests of models and of learning."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pyarrow as pa

from stream_mtl.clock import MINUTE
from stream_mtl.label.base import DelayedFeedback
from stream_mtl.learn.batch import Batch, collate
from stream_mtl.learn.features import Categorical, Feature, FeatureSpec, Numeric
from stream_mtl.learn.features import Sequence as Bag
from stream_mtl.learn.outcomes import no_truths
from stream_mtl.learn.recipe import LearnOptions, Recipe, ValueOptions
from stream_mtl.learn.sharing import ModelOptions
from tests.label.world import TASKS

FEATURES: Mapping[str, Feature] = {
    "user": Categorical(dim=4, evict_after=5 * MINUTE),
    "ad": Categorical(dim=4, admit=2),
    "recent": Bag(dim=4, share="ad"),
    "tags": Bag(dim=3, pooling="sum"),
    "price": Numeric(),
    "hour": Numeric(limits=(0, 23)),
}


def recipe(
    model: ModelOptions | None = None,
    learn: LearnOptions | None = None,
    methods: Mapping[str, DelayedFeedback] | None = None,
    tasks: Sequence[Any] = TASKS,
) -> Recipe:
    """Return a recipe of small shapes."""
    options = learn or LearnOptions(batch_size=8)
    values = {"order_value": ValueOptions("huber", "log1p")}
    return Recipe(
        FeatureSpec(FEATURES, seed=5),
        tuple(tasks),
        methods or {},
        model or ModelOptions(bottom=(8, 6), towers=(5,)),
        replace(options, values=values),
    )


def fields(rows: int, seed: int = 0) -> pa.Table:
    """Draw rows of features, some of them missing."""
    rng = np.random.default_rng(seed)
    price = rng.exponential(10, rows)
    return pa.table(
        {
            "user": pa.array(rng.integers(0, 9, rows)),
            "ad": pa.array(rng.integers(0, 9, rows), mask=rng.random(rows) < 0.2),
            "recent": pa.array(
                [rng.integers(0, 9, rng.integers(0, 4)).tolist() for _ in range(rows)], pa.list_(pa.int64())
            ),
            "tags": pa.array(
                [list("abcde"[: rng.integers(0, 5)]) for _ in range(rows)], pa.list_(pa.string())
            ),
            "price": pa.array(price, mask=rng.random(rows) < 0.2),
            "hour": pa.array(rng.integers(0, 24, rows).astype(float)),
        }
    )


def labels(rows: int, seed: int = 0) -> dict[str, np.ndarray]:
    """Draw the labels of rows."""
    rng = np.random.default_rng(seed + 1_000)
    ctr = (rng.random(rows) < 0.5).astype(float)
    cvr = np.where(ctr == 1, (rng.random(rows) < 0.5).astype(float), np.nan)
    value = np.where(cvr == 1, rng.exponential(20, rows), np.nan)
    return {"ctr": ctr, "cvr": cvr, "order_value": value}


def batch(of: Recipe, rows: int, seed: int = 0, table: pa.Table | None = None) -> Batch:
    """Draw a minibatch."""
    examples = of.plan.label(labels(rows, seed))
    encoded = of.features.encode(fields(rows, seed) if table is None else table)
    return collate(encoded, examples, 0, rows, no_truths(of.plan, rows))


def equal(a: Mapping[str, np.ndarray], b: Mapping[str, np.ndarray]) -> None:
    """Assert that two states are the same, bit for bit."""
    assert a.keys() == b.keys()
    for name, array in a.items():
        assert array.dtype == b[name].dtype, name
        np.testing.assert_array_equal(array, b[name], err_msg=name)

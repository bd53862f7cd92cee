"""Rows weighed by a field of their exposure: in a log, and where rows bring their labels."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from stream_mtl.config import chain_spec
from stream_mtl.config.columns import wants
from stream_mtl.label import Plan, parse
from stream_mtl.learn.recipe import LearnOptions
from stream_mtl.learn.trainer import Trainer
from tests.config.documents import BASE, edited, loaded
from tests.label.world import TASKS, lives, planned, tell
from tests.learn.small import fields, labels, recipe


def test_examples_of_a_log_weigh_what_their_exposure_says() -> None:
    methods = {"ctr": parse("wait:15m"), "cvr": parse("fnw")}
    plan = Plan(TASKS, methods, joint=("cvr",), row_weights={"cvr": "worth"})
    bare = Plan(TASKS, methods, joint=("cvr",))
    histories, chain = lives(60, seed=3), planned(Plan(TASKS, methods, joint=("cvr",)))
    worth = np.random.default_rng(1).uniform(0, 2, 60)
    told = tell(chain, histories, {"worth": pa.array(worth)})
    weighed, plain = plan.emit(told), bare.emit(told)
    expected = plain.of("joint.cvr").weight * worth[weighed.exposure]
    np.testing.assert_allclose(weighed.of("joint.cvr").weight, expected, rtol=1e-6)
    np.testing.assert_array_equal(weighed.of("ctr").weight, plain.of("ctr").weight)


def test_a_weight_that_is_none_teaches_nothing() -> None:
    plan = Plan(TASKS[:1], row_weights={"ctr": "worth"})
    table = pa.table({"worth": pa.array([2.0, None, -1.0, float("nan"), float("inf"), 0.5])})
    examples = plan.label({"ctr": np.ones(6)}, fields=table)
    np.testing.assert_array_equal(examples.of("ctr").weight, [2, 0, 0, 0, 0, 0.5])
    missing = plan.label({"ctr": np.ones(6)}, fields=pa.table({"x": pa.nulls(6)}))
    assert (missing.weight == 0).all()
    assert (plan.label({"ctr": np.ones(6)}).weight == 1).all()


@pytest.mark.parametrize("denominator", ["rows", "weights", "present"])
def test_the_loss_of_rows_is_weighed(denominator: str) -> None:
    table = fields(8).append_column("worth", pa.array([1.0, 0, 3, 0, 1, 1, 0, 2]))
    weighed = recipe(learn=LearnOptions(batch_size=8, denominator=denominator, row_weights={"ctr": "worth"}))
    (report,) = Trainer(weighed).learn_rows(table, labels(8))
    each = []
    for i in range(8):
        one = recipe(learn=LearnOptions(batch_size=1))
        (alone,) = Trainer(one).learn_rows(
            fields(8).slice(i, 1), {k: v[i : i + 1] for k, v in labels(8).items()}
        )
        each.append(alone.loss["ctr"])
    weight = np.array([1.0, 0, 3, 0, 1, 1, 0, 2])
    divisor = {"rows": 8.0, "weights": weight.sum(), "present": float((weight > 0).sum())}[denominator]
    assert report.told["ctr"] == 5
    assert report.loss["ctr"] == pytest.approx(float((weight * each).sum()) / divisor, rel=1e-4)


def test_the_field_is_kept_with_the_exposure(tmp_path: Path) -> None:
    text = edited(('[tasks.ctr]\nevent = "click"', '[tasks.ctr]\nevent = "click"\nrow_weight = "worth"'))
    config = loaded(tmp_path, text).config
    (want,) = (one for one in wants(config, "impression") if one.field == "worth")
    assert (want.path, want.default) == (("tasks", "ctr", "row_weight"), "double")
    assert not [one for one in wants(config, "click") if one.field == "worth"]
    assert chain_spec(loaded(tmp_path, BASE).config) == chain_spec(config)

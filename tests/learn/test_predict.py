"""What a scorer reads from saved weights is what the trainer read."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import pyarrow as pa
import pytest
import torch
from torch import Tensor

from stream_mtl.errors import StateCorrupt
from stream_mtl.label import Auxiliary, Reading, Unhurried
from stream_mtl.label.base import cross_entropy
from stream_mtl.label.told import Told
from stream_mtl.learn.learner import Learner
from stream_mtl.learn.predict import Predictor
from stream_mtl.learn.recipe import LearnOptions
from stream_mtl.learn.sharing import ModelOptions
from stream_mtl.learn.trainer import Trainer

from .small import batch, fields, recipe

ESMM = ModelOptions(relation="esmm", bottom=(8, 6), towers=(5,))


def learned(of: Any) -> Learner:
    learner = Learner(of)
    for step in range(5):
        learner.learn(batch(of, 16, step))
    return learner


def test_probabilities_of_a_chain_multiply() -> None:
    one = recipe(ESMM)
    found = Predictor(one, learned(one).weights()).predict(fields(30))
    np.testing.assert_allclose(found["joint.cvr"], found["ctr"] * found["cvr"], rtol=1e-5)


def test_a_value_is_given_back_in_its_own_unit() -> None:
    one = recipe(learn=LearnOptions(batch_size=32, rate=1e-2))
    told = {"ctr": np.ones(32), "cvr": np.ones(32), "order_value": np.full(32, 150.0)}
    trainer = Trainer(one)
    for _ in range(150):
        trainer.learn_rows(fields(32), told)
    found = Predictor(one, trainer.learner.weights()).predict(fields(32))["order_value"]
    assert np.median(found) == pytest.approx(150, rel=0.2)


def test_features_that_were_never_seen_are_predicted_too() -> None:
    one = recipe(ESMM)
    predictor = Predictor(one, learned(one).weights())
    strange = pa.table({"user": [10**15, None], "tags": [["z"], None], "price": [float("nan"), 1e300]})
    for column in predictor.predict(strange).values():
        assert np.isfinite(column).all()
    assert predictor.predict(strange.slice(0, 0))["ctr"].shape == (0,)


def test_weights_that_do_not_fit_are_refused() -> None:
    weights = learned(recipe(ESMM)).weights()
    with pytest.raises(StateCorrupt, match="do not fit"):
        Predictor(recipe(ModelOptions(bottom=(9, 6), towers=(5,))), weights)
    lacking = {name: array for name, array in weights.items() if not name.startswith("dense.towers")}
    with pytest.raises(StateCorrupt):
        Predictor(recipe(ESMM), lacking)


def test_what_a_predictor_was_made_of_may_change_afterwards() -> None:
    one = recipe(ESMM)
    learner = learned(one)
    predictor = Predictor(one, learner.weights())
    before = predictor.predict(fields(20))["ctr"]
    for step in range(5):
        learner.learn(batch(one, 16, 50 + step))
    np.testing.assert_array_equal(predictor.predict(fields(20))["ctr"], before)


@dataclass(frozen=True)
class Halved(Unhurried):
    """A made-up method: its logit means half its sigmoid, and it asks for two logits more."""

    auxiliary: ClassVar[tuple[Auxiliary, ...]] = (Auxiliary("apart"), Auxiliary("within", apart=False))
    reads_final: ClassVar[bool] = True
    inverts: ClassVar[bool] = True

    def emit(self, told: Told) -> Any:
        raise NotImplementedError

    def loss(self, reading: Reading) -> Tensor:
        SEEN.append(reading)
        return cross_entropy(reading.auxiliary[WHICH[0]], reading.label)

    def probability(self, logit: Tensor, auxiliary: Mapping[str, Tensor]) -> Tensor:
        return logit.sigmoid() / 2


SEEN: list[Reading] = []
WHICH = ["apart"]


@pytest.mark.parametrize("which", ["apart", "within"])
def test_auxiliary_logits_reach_the_method_and_train_what_is_shared_only_if_they_are_within(
    which: str,
) -> None:
    one = recipe(ESMM, methods={"cvr": Halved()})
    learner = Learner(one)
    WHICH[0] = which
    SEEN.clear()
    rows = batch(recipe(ESMM), 16)
    rows.weight[:, [0, 2]] = 0
    learner.learn(rows)
    (reading,) = SEEN
    assert set(reading.auxiliary) == {"apart", "within"}
    answer = torch.from_numpy(Learner(one).predict(rows.features)[:, 0])
    assert reading.reach is not None
    torch.testing.assert_close(reading.reach, answer)
    assert not reading.reach.requires_grad
    trained = [p.grad is not None and bool((p.grad != 0).any()) for p in learner.model.sharing.parameters()]
    assert any(trained) == (which == "within")


def test_a_logit_that_is_no_plain_one_gives_the_conditional_by_division() -> None:
    one = recipe(ESMM, methods={"cvr": Halved()})
    learner = Learner(one)
    found = Predictor(one, learner.weights()).predict(fields(25))
    np.testing.assert_allclose(found["cvr"], np.minimum(found["joint.cvr"] / found["ctr"], 1), rtol=1e-5)
    assert (found["joint.cvr"] <= 0.5).all()

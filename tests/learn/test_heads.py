"""Heads of several numbers, and the losses that teach them: zero-inflated log-normal, classes, squared sigmoid, focal."""

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from stream_mtl.errors import ConfigError
from stream_mtl.join.spec import TaskSpec
from stream_mtl.label import parse
from stream_mtl.label.base import cross_entropy
from stream_mtl.learn import softmax, ziln
from stream_mtl.learn.batch import Batch, collate
from stream_mtl.learn.learner import Learner
from stream_mtl.learn.losses import VALUE_LOSSES, focal
from stream_mtl.learn.models import RELATIONS
from stream_mtl.learn.outcomes import no_truths
from stream_mtl.learn.predict import Predictor
from stream_mtl.learn.recipe import LearnOptions, Recipe, ValueOptions
from stream_mtl.learn.sharing import ModelOptions
from tests.learn.small import fields, recipe

HEAD = torch.tensor(
    [[0.3, 1.0, -0.5], [-2.0, 0.2, 4.9], [1.5, -1.0, -9.0], [0.0, 2.0, 0.1]], dtype=torch.double
)
VALUE = torch.tensor([2.5, 0.0, 1e-3, 12.0], dtype=torch.double)
ONES = torch.ones(4, dtype=torch.double)


def sizes_by_hand() -> list[float]:
    """Return -log pdf of each value, by the formula of the log-normal distribution."""
    out = []
    for (_, mu, s), y in zip(HEAD.tolist(), VALUE.tolist(), strict=True):
        sigma = min(max(math.log1p(math.exp(s)), 3.16e-4), 5.0)
        if y <= 0:
            out.append(0.0)
            continue
        law: Any = torch.distributions.LogNormal(torch.tensor(mu).double(), torch.tensor(sigma).double())
        out.append(-float(law.log_prob(torch.tensor(y).double())))
    return out


def whether_by_hand() -> list[float]:
    out = []
    for p, y in zip(HEAD[:, 0].tolist(), VALUE.tolist(), strict=True):
        chance = 1 / (1 + math.exp(-p))
        out.append(-math.log(chance if y > 0 else 1 - chance))
    return out


def test_the_likelihood_is_that_of_a_zero_or_a_log_normal() -> None:
    expected = np.add(sizes_by_hand(), whether_by_hand())
    np.testing.assert_allclose(ziln.likelihood(HEAD, VALUE, ONES), expected, rtol=1e-6)


def test_ziln_is_easyrecs_sum_of_four_means() -> None:
    sizes, whether = sizes_by_hand(), whether_by_hand()
    mu, s = HEAD[:, 1].square().mean(), HEAD[:, 2].square().mean()
    expected = sum(whether) / 4 + sum(sizes) / 3 + 0.01 * float(mu) + 0.01 * float(s)
    assert float(ziln.balanced(HEAD, VALUE, ONES).mean()) == pytest.approx(expected)
    told = torch.tensor([1.0, 0.0, 1.0, 1.0], dtype=torch.double)
    some = ziln.balanced(HEAD[told > 0], VALUE[told > 0], torch.ones(3)).mean()
    torch.testing.assert_close(ziln.balanced(HEAD, VALUE, told)[told > 0].mean(), some)


def test_the_mean_of_a_zero_inflated_log_normal_is_read() -> None:
    for (p, mu, s), found in zip(HEAD.tolist(), ziln.mean(HEAD).tolist(), strict=True):
        sigma = min(max(math.log1p(math.exp(s)), 3.16e-4), 5.0)
        assert found == pytest.approx(math.exp(mu + sigma**2 / 2) / (1 + math.exp(-p)))
    wild = torch.tensor([[0.0, 1e6, 1e6], [-1e6, -1e6, -1e6]])
    assert torch.isfinite(ziln.mean(wild)).all()
    assert float(ziln.mean(wild)[0]) == pytest.approx(math.exp(20))


@pytest.mark.parametrize("loss", ["ziln", "ziln_likelihood"])
def test_gradients_of_zero_inflation_stay_finite_where_nothing_came(loss: str) -> None:
    head = HEAD.clone().requires_grad_()
    rows: Any = VALUE_LOSSES[loss].rows(head, torch.zeros(4), torch.zeros(4))
    rows.sum().backward()
    assert head.grad is not None
    assert torch.isfinite(head.grad).all()


def test_classes_are_learned_by_cross_entropy_and_read_as_their_mean() -> None:
    label = torch.tensor([0.0, 2.0, 1.0, 1.0])
    expected = -torch.log_softmax(HEAD, 1)[torch.arange(4), label.long()]
    torch.testing.assert_close(softmax.rows(HEAD, label, ONES), expected)
    shares = torch.softmax(HEAD, 1)
    torch.testing.assert_close(softmax.mean(HEAD), shares[:, 1] + 2 * shares[:, 2])


@pytest.mark.parametrize("label", [-1.0, 3.0, 1.5])
def test_a_number_of_no_class_teaches_nothing(label: float) -> None:
    head = HEAD.clone().requires_grad_()
    rows: Any = softmax.rows(head, torch.full((4,), label), ONES)
    rows.sum().backward()
    assert float(rows.sum().detach()) == 0
    assert head.grad is not None
    assert (head.grad == 0).all()


def test_the_squared_error_of_the_sigmoid_is_its_formula() -> None:
    one = VALUE_LOSSES["sigmoid_squared"]
    output, label = torch.tensor([0.0, 2.0]), torch.tensor([1.0, 0.25])
    torch.testing.assert_close(one.rows(output, label, torch.ones(2)), (output.sigmoid() - label) ** 2)
    torch.testing.assert_close(one.read(output), output.sigmoid())


def test_focal_loss_is_its_formula_and_without_gamma_the_cross_entropy() -> None:
    logit, label = torch.tensor([0.5, -1.0, 3.0, -2.0]), torch.tensor([1.0, 1.0, 0.0, 0.0])
    p = logit.sigmoid()
    expected = torch.where(label == 1, -((1 - p) ** 2) * p.log(), -(p**2) * (1 - p).log())
    torch.testing.assert_close(focal(logit, label, 2.0), expected)
    torch.testing.assert_close(focal(logit, label, 0.0), cross_entropy(logit, label))


WORTH = (
    TaskSpec("ctr", "click"),
    TaskSpec("stars", "click", value="stars"),
    TaskSpec("seconds", "click", value="seconds"),
)
HOW = {"stars": ValueOptions("softmax", classes=4), "seconds": ValueOptions("ziln")}


def worth(model: ModelOptions, how: Mapping[str, ValueOptions] = HOW) -> Recipe:
    made = recipe(model, LearnOptions(rate=2e-2, row_rate=0.2), tasks=WORTH)
    return replace(made, learn=replace(made.learn, values=how))


def taught(of: Recipe, rows: int) -> Batch:
    rng = np.random.default_rng(3)
    stars = rng.integers(0, 4, rows).astype(float)
    told = {"ctr": (stars > 1).astype(float), "stars": stars, "seconds": np.where(stars > 1, 7.5, 0.0)}
    return collate(
        of.features.encode(fields(rows, 3)), of.plan.label(told), 0, rows, no_truths(of.plan, rows)
    )


@pytest.mark.parametrize("relation", RELATIONS)
def test_heads_of_several_numbers_stand_under_every_relation_and_are_read_as_one(relation: str) -> None:
    options = ModelOptions(relation=relation, bottom=(16,), towers=(8,), relation_widths=(8,))
    one = worth(options)
    learner, rows = Learner(one), taught(one, 24)
    answer = learner.model(learner.inputs.read(rows.features)).logits
    assert {name: tuple(numbers.shape) for name, numbers in answer.items()} == {
        "ctr": (24,),
        "stars": (24, 4),
        "seconds": (24, 3),
    }
    for _ in range(150):
        report, _ = learner.learn(rows)
        assert not report.skipped
    found = Predictor(one, learner.weights()).predict(fields(24, 3))
    assert np.abs(found["stars"] - rows.label[:, 1]).mean() < 0.5
    large = rows.label[:, 2] > 0
    assert found["seconds"][large].mean() > 3 * found["seconds"][~large].mean()


@pytest.mark.parametrize(
    ("how", "words"),
    [
        ({"stars": ValueOptions("softmax")}, "needs the number of classes"),
        ({"seconds": ValueOptions("ziln", "log1p")}, "takes values as they are"),
        ({"seconds": ValueOptions(focal=2.0)}, "is for labels"),
        ({"seconds": ValueOptions("x")}, 'no value loss "x"'),
    ],
)
def test_losses_that_do_not_fit_are_refused(how: Mapping[str, ValueOptions], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        worth(ModelOptions(), how)


def test_focal_loss_teaches_labels_unless_their_method_has_a_loss_of_its_own() -> None:
    one = worth(ModelOptions(bottom=(8,), towers=()), {**HOW, "ctr": ValueOptions(focal=2.0)})
    learner, rows = Learner(one), taught(one, 20)
    logit = learner.model(learner.inputs.read(rows.features)).logits["ctr"]
    report, _ = learner.learn(rows)
    expected = focal(logit, torch.from_numpy(rows.label[:, 0]), 2.0).mean()
    assert report.loss["ctr"] == pytest.approx(float(expected.detach()))
    with pytest.raises(ConfigError, match="loss of its own"):
        replace(one, methods={"ctr": parse("fnw")})


def test_heads_are_part_of_what_state_is_bound_to() -> None:
    plain, other = recipe().fingerprint()["model"], worth(ModelOptions()).fingerprint()["model"]
    assert "sizes" not in plain
    assert "('sizes', {'stars': 4, 'seconds': 3})" in other

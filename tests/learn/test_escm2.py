"""Losses on a conditional probability: on clicks, by inverse propensity, doubly robust; and rows weighed by a space."""

from typing import Any

import numpy as np
import pytest
import torch

from stream_mtl.errors import ConfigError
from stream_mtl.join.spec import TaskSpec
from stream_mtl.label import Plan, parse
from stream_mtl.label.base import cross_entropy
from stream_mtl.label.plan import Space
from stream_mtl.learn.escm2 import CONDITIONALS, FLOOR
from stream_mtl.learn.learner import Learner
from stream_mtl.learn.sharing import ModelOptions
from tests.label.world import TASKS, lives, planned, tell
from tests.learn.small import batch, recipe


def learner(conditional: str, weight: float = 1.0) -> Learner:
    options = ModelOptions(
        relation="esmm", bottom=(8,), towers=(5,), conditional=conditional, conditional_weight=weight
    )
    return Learner(recipe(options))


def told(of: Learner, rows: int = 30) -> tuple[Any, Any, dict[str, torch.Tensor]]:
    one = batch(of.recipe, rows)
    logits = of.model(of.inputs.read(one.features)).logits
    columns = {name: i for i, name in enumerate(of.recipe.plan.names)}
    return one, columns, dict(logits)


def test_a_conditional_loss_is_a_lesson_on_clicks_beside_the_product() -> None:
    of = learner("clicks")
    assert of.recipe.plan.names == ("ctr", "joint.cvr", "cvr", "order_value")
    assert of.recipe.plan.outputs == ("ctr", "cvr", "order_value", "joint.cvr")
    one, at, _ = told(of)
    clicked = (one.label[:, at["ctr"]] == 1) & (one.weight[:, at["ctr"]] == 1)
    np.testing.assert_array_equal(one.weight[:, at["cvr"]] > 0, clicked)
    assert (one.weight[:, at["joint.cvr"]] == 1).all()


@pytest.mark.parametrize("conditional", ["clicks", "ips", "dr"])
def test_the_loss_is_that_of_its_definition(conditional: str) -> None:
    of = learner(conditional, weight=0.5)
    one, at, logits = told(of)
    clicked = torch.from_numpy(one.weight[:, at["cvr"]]) > 0
    bought = torch.from_numpy(one.label[:, at["cvr"]])
    reach = logits["ctr"].detach().sigmoid().clamp(min=FLOOR)
    losses = of._losses(of.model(of.inputs.read(one.features)), one)
    joint = cross_entropy(logits["joint.cvr"], torch.from_numpy(one.label[:, at["joint.cvr"]])).mean()
    expected = torch.zeros(())
    guess = torch.zeros(30)
    if conditional == "dr":
        guess = cross_entropy(logits["cvr"], logits["imputed.cvr"].sigmoid())
    for i in range(30):
        if not clicked[i]:
            continue
        error = cross_entropy(logits["cvr"][i], bought[i])
        if conditional == "clicks":
            expected = expected + error
        elif conditional == "ips":
            expected = expected + error / reach[i]
        else:
            expected = expected + ((error - guess[i]) + (error - guess[i]) ** 2) / reach[i]
    torch.testing.assert_close(losses["cvr"], expected / 30)
    torch.testing.assert_close(losses["joint.cvr"], joint + 0.5 * guess.mean())
    assert of.recipe.lesson_weight(of.recipe.plan.lessons[at["cvr"]]) == 0.5
    assert of.recipe.lesson_weight(of.recipe.plan.lessons[at["joint.cvr"]]) == 1


@pytest.mark.parametrize("conditional", ["clicks", "ips", "dr"])
def test_it_rests_at_the_true_conditional_rate(conditional: str) -> None:
    made = CONDITIONALS[conditional]
    assert made is not None
    rng = torch.Generator().manual_seed(0)
    clicked, bought = (torch.rand(4_000, generator=rng, dtype=torch.double) < p for p in (0.3, 0.2))
    rate = float(bought[clicked].double().mean())
    logits = torch.tensor([0.7, -0.3], dtype=torch.double, requires_grad=True)  # conditional, imputed
    descent = torch.optim.Adam([logits], lr=0.05)
    reach = clicked.double().mean().expand(4_000)
    for _ in range(400):
        descent.zero_grad()
        b, c = logits[0].expand(4_000), logits[1].expand(4_000)
        alone, joint = made(cross_entropy(b, bought.double()), reach, b, c)
        total: Any = torch.where(clicked, alone, 0).mean() + (0 if joint is None else joint.mean())
        total.backward()
        descent.step()
    assert float(logits[0].detach().sigmoid()) == pytest.approx(rate, abs=2e-3)
    if made.imputes:
        assert float(logits[1].detach().sigmoid()) == pytest.approx(rate, abs=2e-3)


def test_what_teaches_the_imputed_label_does_not_teach_the_conditional() -> None:
    made = CONDITIONALS["dr"]
    assert made is not None
    b = torch.tensor([0.4, -1.2], requires_grad=True)
    c = torch.tensor([0.1, -0.5], requires_grad=True)
    y, reach = torch.tensor([1.0, 0.0]), torch.tensor([0.5, 0.25])
    alone, joint = made(cross_entropy(b, y), reach, b, c)
    assert joint is not None
    of_b, of_c = torch.autograd.grad((alone + joint).sum(), [b, c])
    r, p = c.detach().sigmoid(), b.detach().sigmoid()
    torch.testing.assert_close(of_b, p - r + (r - y) / reach)
    torch.testing.assert_close(of_c, -2 * (y - r) * b.detach() ** 2 * r * (1 - r) / reach)


def test_the_propensity_is_a_constant() -> None:
    of = learner("ips")
    one, _, _ = told(of)
    losses = of._losses(of.model(of.inputs.read(one.features)), one)
    head = of.model.relation.heads.weight  # type: ignore[attr-defined]
    (gradient,) = torch.autograd.grad(losses["cvr"], [head])
    assert (gradient[0] == 0).all()
    assert (gradient[1] != 0).any()


def test_inverse_propensity_gives_in_expectation_the_loss_over_all_exposures() -> None:
    rng = torch.Generator().manual_seed(4)
    chance = torch.rand(200_000, generator=rng) * 0.5 + 0.1
    error = torch.rand(200_000, generator=rng) * chance  # what is clicked more is known worse
    clicked = torch.rand(200_000, generator=rng) < chance
    weighed = torch.where(clicked, error / chance, torch.zeros(())).mean()
    assert float(weighed) == pytest.approx(float(error.mean()), rel=0.02)
    assert float(error[clicked].mean()) > 1.05 * float(error.mean())


def test_without_a_conditional_loss_there_is_the_product_alone() -> None:
    assert learner("none").recipe.plan.names == ("ctr", "joint.cvr", "order_value")
    assert "imputed.cvr" not in told(learner("ips"))[2]


def test_rows_of_a_log_teach_the_conditional_where_it_is_defined_and_at_its_own_pace() -> None:
    methods = {"ctr": parse("wait:15m"), "cvr": parse("fnw")}
    plan = Plan(TASKS, methods, joint=("cvr",), apart=("cvr",))
    alone = Plan(TASKS, methods)
    histories = lives(120, seed=3)
    both, one = plan.emit(tell(planned(plan), histories)), alone.emit(tell(planned(alone), histories))
    mine, theirs = both.of("cvr"), one.of("cvr")
    keep, kept = mine.weight > 0, theirs.weight > 0
    np.testing.assert_array_equal(mine.label[keep], theirs.label[kept])
    np.testing.assert_array_equal(both.exposure[keep], one.exposure[kept])


LIKES = (
    TaskSpec("ctr", "click"),
    TaskSpec("like", "conversion"),
    TaskSpec("worth", "conversion", value="amount"),
)


def test_a_space_weighs_rows_by_what_another_task_says() -> None:
    spaces = {"like": Space("ctr", 2.0, 0.25), "ctr": Space("worth", 1.0, 0.0)}
    nan = np.nan
    examples = Plan(LIKES, spaces=spaces).label(
        {
            "ctr": np.array([1.0, 0.0, nan, 1.0]),
            "like": np.array([0.0, 1.0, 1.0, nan]),
            "worth": np.array([3.0, 0.0, 5.0, -1.0]),
        }
    )
    np.testing.assert_array_equal(examples.of("like").weight, [2, 0.25, 0, 0])
    np.testing.assert_array_equal(examples.of("ctr").weight, [1, 0, 0, 0])
    np.testing.assert_array_equal(examples.of("worth").weight, [1, 1, 1, 1])


def test_a_space_weighs_the_rows_of_a_log_by_what_had_come() -> None:
    plan = Plan(TASKS[:2], {"ctr": parse("wait")}, joint=("cvr",), spaces={"cvr": Space("ctr", 1.0, 0.5)})
    bare = Plan(TASKS[:2], {"ctr": parse("wait")}, joint=("cvr",))
    histories = lives(80, seed=5)
    weighed, plain = plan.emit(tell(planned(plan), histories)), bare.emit(tell(planned(bare), histories))
    weight, before = weighed.of("joint.cvr").weight, plain.of("joint.cvr").weight
    assert set(weight[before > 0].tolist()) == {0.5, 1.0}
    assert (weight[before == 0] == 0).all()
    positive = plain.of("joint.cvr").label == 1
    assert (weight[positive] == 1).all()


@pytest.mark.parametrize("of", ["x", "like"])
def test_a_space_is_another_task(of: str) -> None:
    with pytest.raises(ConfigError, match=r"tasks\.like\.space"):
        Plan(LIKES, spaces={"like": Space(of)})

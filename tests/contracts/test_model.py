"""What every model promises, found from the tables: any way of sharing with any relation."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from itertools import product
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import torch

from stream_mtl.errors import ConfigError
from stream_mtl.label.plan import joint_name
from stream_mtl.learn.learner import Learner
from stream_mtl.learn.models import MODELS, RELATIONS, MultiTaskModel
from stream_mtl.learn.predict import Predictor
from stream_mtl.learn.recipe import LearnOptions
from stream_mtl.learn.sharing import ModelOptions
from tests.label.world import TASKS
from tests.learn.small import batch, equal, fields, recipe

WIDTH, BOTTOM, TOWER, EXPERT, RELATION = 11, (8, 6), (5, 4), (7, 4), (3,)


def options_of(name: str, relation: str, interaction: str = "none") -> ModelOptions:
    return ModelOptions(
        name,
        relation,
        BOTTOM,
        TOWER,
        interaction=interaction,
        experts=3,
        own_experts=(2, 1),
        shared_experts=(1,),
        expert=(EXPERT,),
        relation_widths=RELATION,
    )


def cases(names: Iterable[tuple[str, str]]) -> list[Any]:
    out = []
    for name, relation in names:
        options = options_of(name, relation)
        fitting = replace(options, own_experts=(2,)) if name == "cgc" else options
        out.append(pytest.param(fitting, id=f"{name}-{relation}"))
    return out


EVERY = pytest.mark.parametrize("options", cases(product(MODELS, RELATIONS)))

EACH = pytest.mark.parametrize(
    "options",
    cases(dict.fromkeys([*((n, "independent") for n in MODELS), *(("shared_bottom", r) for r in RELATIONS)])),
)
"""Every way of sharing once, and every relation once."""


def mlp(width: int, *widths: int) -> int:
    """Return the parameters of layers with bias and layer norm."""
    return sum(a * b + b + 2 * b for a, b in zip((width, *widths), widths, strict=False))


def level(width: int, own: int, shared: int, gates: int) -> int:
    """Return the parameters of one level of experts with three towers; `gates` of them and perhaps one for all."""
    experts = (3 * own + shared) * mlp(width, *EXPERT)
    return experts + 3 * (width + 1) * (own + shared) + (gates - 3) * (width + 1) * (3 * own + shared)


_B, _E = BOTTOM[-1], EXPERT[-1]
_BOTTOM, _TOWERS = mlp(WIDTH, *BOTTOM), 3 * mlp(_B, *TOWER)

SHARED: Mapping[
    str, tuple[int, int]
] = {  # parameters of sharing and towers, width of what the relation reads
    "logistic": (0, WIDTH),
    "shared_bottom": (_BOTTOM + _TOWERS, TOWER[-1]),
    "mmoe": (_BOTTOM + 3 * mlp(_B, *EXPERT) + 3 * 3 * (_B + 1) + 3 * mlp(_E, *TOWER), TOWER[-1]),
    "cgc": (_BOTTOM + level(_B, 2, 1, 3) + 3 * mlp(_E, *TOWER), TOWER[-1]),
    "ple": (_BOTTOM + level(_B, 2, 1, 4) + level(_E, 1, 1, 3) + 3 * mlp(_E, *TOWER), TOWER[-1]),
}

RELATED: Mapping[str, Callable[[int], int]] = {  # width of what each task reads -> parameters, heads included
    "independent": lambda w: 3 * (w + 1),
    "esmm": lambda w: 3 * (w + 1),
    "dbmtl": lambda w: mlp(w, *RELATION) + 2 * mlp(w + RELATION[-1], *RELATION) + 3 * (RELATION[-1] + 1),
    "gmsl": lambda w: 3 * RELATION[-1] * (w + RELATION[-1] + 2) + 3 * (RELATION[-1] + 1),
    "aitm": lambda w: 2 * (mlp(w, w) + 3 * w * w) + 3 * mlp(w, *RELATION) + 3 * (RELATION[-1] + 1),
}


def build(options: ModelOptions, seed: int = 3) -> MultiTaskModel:
    return MultiTaskModel(WIDTH, TASKS, options, seed=seed)


def inputs(rows: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(rows, WIDTH, generator=torch.Generator().manual_seed(seed))


def taught(model: MultiTaskModel, task: str) -> str:
    """Return the lesson that teaches a task."""
    return joint_name(task) if task in model.joint else task


@EVERY
def test_it_has_as_many_parameters_as_its_shapes_say(options: ModelOptions) -> None:
    shared, width = SHARED[options.name]
    counted = sum(p.numel() for p in build(options).parameters())
    assert counted == shared + RELATED[options.relation](width)


@EVERY
def test_it_gives_a_logit_for_every_task_and_every_joint_lesson(options: ModelOptions) -> None:
    model = build(options)
    logits = model(inputs(7)).logits
    assert set(logits) == {task.name for task in TASKS} | {f"joint.{name}" for name in model.joint}
    assert all(logit.shape == (7,) for logit in logits.values())


@EACH
@pytest.mark.parametrize("norm", ["layer", "batch", "none"])
def test_a_batch_of_one_works_and_is_the_row_of_a_larger_batch(options: ModelOptions, norm: str) -> None:
    model = build(replace(options, norm=norm))
    model.train()
    assert all(torch.isfinite(logit).all() for logit in model(inputs(1)).logits.values())
    model.eval()
    rows = inputs(6)
    whole = model(rows).logits
    for i in range(6):
        for name, logit in model(rows[i : i + 1]).logits.items():
            torch.testing.assert_close(logit[0], whole[name][i])


@EVERY
@pytest.mark.parametrize("task", range(len(TASKS)))
def test_a_task_does_not_reach_the_tower_of_a_later_one(options: ModelOptions, task: int) -> None:
    model = build(options)
    towers = model.towers(model.sharing(inputs(9))).detach().requires_grad_()
    logits: Mapping[str, Any] = model.relation.bind()(towers)
    logits[taught(model, TASKS[task].name)].sum().backward()
    gradient = towers.grad
    assert gradient is not None
    assert (gradient[:, task + 1 :] == 0).all()
    assert (gradient[:, task] != 0).any()


@EVERY
def test_bound_once_it_says_what_it_says(options: ModelOptions) -> None:
    model = build(options).eval()
    with torch.inference_mode():
        answer = model.bind()
        for rows in (1, 6):
            torch.testing.assert_close(answer(inputs(rows)).logits, model(inputs(rows)).logits)


@EVERY
def test_every_weight_is_reached_by_some_logit(options: ModelOptions) -> None:
    model = build(options)
    total: Any = sum(logit.square().sum() for logit in model(inputs(9)).logits.values())
    total.backward()
    assert [name for name, parameter in model.named_parameters() if parameter.grad is None] == []


@EVERY
def test_equal_seeds_give_equal_weights_and_others_do_not(options: ModelOptions) -> None:
    first, again, other = build(options), build(options), build(options, seed=4)
    for a, b in zip(first.parameters(), again.parameters(), strict=True):
        assert torch.equal(a, b)
    assert any(not torch.equal(a, b) for a, b in zip(first.parameters(), other.parameters(), strict=True))


@EVERY
def test_logits_stay_finite_far_from_zero(options: ModelOptions) -> None:
    for scale in (0.0, 1e4):
        logits = build(options)(inputs(5) * scale).logits
        assert all(torch.isfinite(logit).all() for logit in logits.values())


@EACH
@pytest.mark.parametrize("lesson", range(3))
def test_a_lesson_that_is_told_nothing_adds_exactly_no_gradient(options: ModelOptions, lesson: int) -> None:
    learner = Learner(recipe(options))
    one = batch(learner.recipe, 12)
    one.weight[:, lesson] = 0
    losses = learner._losses(learner.model(learner.inputs.read(one.features)), one)
    name = learner.recipe.plan.names[lesson]
    assert float(losses[name].detach()) == 0
    gradients = torch.autograd.grad(losses[name], list(learner.model.parameters()), allow_unused=True)
    assert all(gradient is None or (gradient == 0).all() for gradient in gradients)
    assert any(gradient is not None for gradient in gradients)


@EACH
@pytest.mark.parametrize("cell", [float("nan"), float("inf"), -float("inf"), 1e300])
def test_a_cell_that_is_no_number_costs_its_own_row_only(options: ModelOptions, cell: float) -> None:
    table = fields(10)
    price = table["price"].to_pylist()
    spoilt, missing = list(price), list(price)
    spoilt[4], missing[4] = cell, None
    place = table.column_names.index("price")
    learners = []
    for prices in (spoilt, missing):
        learner = Learner(recipe(options))
        one = batch(
            learner.recipe, 10, table=table.set_column(place, "price", pa.array(prices, pa.float64()))
        )
        if prices is missing:
            one.weight[4] = 0
        report, _ = learner.learn(one)
        assert report.bad == (prices is spoilt)
        learners.append(learner)
    equal(learners[0].arrays(), learners[1].arrays())
    assert all(np.isfinite(array).all() for array in learners[0].weights().values())


@EACH
def test_it_is_the_same_after_it_was_saved_and_loaded(options: ModelOptions) -> None:
    learner = Learner(recipe(options))
    for step in range(4):
        learner.learn(batch(learner.recipe, 12, step))
    asked = fields(20, seed=77)
    expected = learner.predict(learner.recipe.features.encode(asked))
    found = Predictor(recipe(options), learner.weights()).predict(asked)
    assert tuple(found) == learner.recipe.plan.outputs
    np.testing.assert_array_equal(np.stack(list(found.values()), axis=1), expected)


@EACH
def test_it_learns_what_can_be_learned(options: ModelOptions) -> None:
    wider = replace(options, bottom=(16,), towers=(16,), expert=((16,),), relation_widths=(16,))
    learner = Learner(recipe(wider, LearnOptions(rate=1e-2)))
    one = batch(learner.recipe, 32, 5)
    reports = [learner.learn(one)[0] for _ in range(150)]
    for lesson in learner.recipe.plan.names:
        assert reports[-1].loss[lesson] < 0.3 * reports[0].loss[lesson]


@EACH
@pytest.mark.parametrize("norm", ["layer", "batch", "none"])
def test_dropout_acts_while_learning_only_and_repeats_by_step(options: ModelOptions, norm: str) -> None:
    model = build(replace(options, dropout=0.5, norm=norm, towers=TOWER))
    rows = inputs(30)
    model.eval()
    calm = [model(rows).logits["ctr"] for _ in range(2)]
    assert torch.equal(*calm)
    model.train()
    drops = [layer for layer in model.modules() if type(layer).__name__ == "Dropout"]
    model.at_step(1)
    first = model(rows).logits["ctr"]
    again = model(rows).logits["ctr"]
    model.at_step(2)
    other = model(rows).logits["ctr"]
    if drops and norm != "batch":
        assert torch.equal(first, again)
        assert not torch.equal(first, other)


def test_several_outputs_of_one_tower_share_its_layers() -> None:
    shared = ModelOptions(bottom=BOTTOM, towers=TOWER, outputs={"ctr": "page", "cvr": "page"})
    alone = ModelOptions(bottom=BOTTOM, towers=TOWER)
    saved = sum(p.numel() for p in build(alone).parameters()) - sum(
        p.numel() for p in build(shared).parameters()
    )
    assert saved == mlp(BOTTOM[-1], *TOWER)
    logits = build(shared)(inputs(4)).logits
    assert not torch.equal(logits["ctr"], logits["cvr"])


@pytest.mark.parametrize(
    "wrong",
    [{"name": "x"}, {"relation": "x"}, {"norm": "x"}, {"activation": "x"}, {"outputs": {"x": "y"}}],
)
def test_a_choice_that_does_not_exist_is_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ConfigError):
        build(ModelOptions(**wrong))  # type: ignore[arg-type]

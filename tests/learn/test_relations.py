"""DBMTL, GMSL and AITM: the libraries' own numbers, what reads what, and what is refused."""

import re
from itertools import permutations
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from stream_mtl.errors import ConfigError
from stream_mtl.join.spec import TaskSpec
from stream_mtl.label.base import cross_entropy
from stream_mtl.learn.aitm import ratio
from stream_mtl.learn.models import RELATIONS, MultiTaskModel
from stream_mtl.learn.sharing import ModelOptions
from stream_mtl.processes.declared import _JOINT
from tests.learn.fixtures import Weights, check, fixture, same

LIVE = {
    "is_click": (),
    "is_view": ("is_click",),
    "view_costtime": ("is_click", "is_view"),
    "is_on_mic": ("is_click",),
    "on_mic_duration": ("is_click", "is_on_mic"),
}
"""The live stream of the DBMTL tutorial: a task, and the tasks that it reads."""

VALUES = ("view_costtime", "on_mic_duration")


def live(order: tuple[str, ...] = tuple(LIVE)) -> list[TaskSpec]:
    values = dict.fromkeys(VALUES, "seconds")
    return [TaskSpec(name, name, value=values.get(name)) for name in order]


def plain(*names: str) -> list[TaskSpec]:
    return [TaskSpec(name, name) for name in names]


def model(tasks: list[TaskSpec], width: int = 6, **options: Any) -> Any:
    return MultiTaskModel(width, tasks, ModelOptions(**options)).double()


def rows(count: int = 5, width: int = 6, seed: int = 1) -> Tensor:
    return torch.randn(count, width, generator=torch.Generator().manual_seed(seed), dtype=torch.double)


def dbmtl(tasks: list[TaskSpec], **options: Any) -> Any:
    return model(tasks, 10, relation="dbmtl", norm="none", towers=(5,), relation_widths=(4,), **options)


def lay(weights: Weights, ours: Any) -> None:
    names = [task.name for task in live()]
    order = ours.relation._names
    bottom = getattr(ours.sharing, "bottom", ours.sharing)
    for layer in range(2):
        weights.linear(bottom.stack.linears[layer], 0, f"bottom_mlp.mlp.{layer}.perceptron.0")
    for number, name in enumerate(names):
        at = order.index(name)
        weights.linear(ours.towers.linears[0], at, f"task_mlps.{name}.mlp.0.perceptron.0")
        weights.head(ours.relation.heads[0], at, f"task_outputs.{number}")
        for group, stack in zip(ours.relation._groups, ours.relation.stacks, strict=True):
            if name in group:
                weights.linear(
                    stack.linears[0], group.index(name), f"relation_mlps.{name}.mlp.0.perceptron.0"
                )


def losses(of: Any, logits: Any) -> list[Tensor]:
    names = list(LIVE)
    return [
        (logits[name] - of.y[:, i]).square().mean()
        if name in VALUES
        else cross_entropy(logits[name], of.y[:, i]).mean()
        for i, name in enumerate(names)
    ]


@pytest.mark.parametrize("order", [tuple(LIVE), tuple(reversed(LIVE))], ids=["as listed", "children first"])
def test_dbmtl_is_that_of_torch_easyrec_in_whatever_order_tasks_are_declared(order: tuple[str, ...]) -> None:
    of = fixture("tzrec_dbmtl")
    ours = dbmtl(live(order), bottom=(8, 6), parents=LIVE)
    weights = Weights(of)
    lay(weights, ours)
    same(ours.sharing(of.x), of["mid/bottom_mlp"])
    towers = ours.towers(ours.sharing(of.x))
    features = ours.relation.features(towers)
    for at, name in enumerate(order):
        same(towers[:, at], of[f"mid/task_mlps.{name}"])
        same(features[name], of[f"mid/relation_mlps.{name}"])
    logits = ours(of.x).logits
    assert list(logits) == list(order)
    check(weights, [logits[name] for name in LIVE], losses(of, logits))


def test_dbmtl_over_experts_is_that_of_torch_easyrec() -> None:
    of = fixture("tzrec_dbmtl_mmoe")
    ours = dbmtl(live(), bottom=(8, 6), parents=LIVE, name="mmoe", experts=3, expert=((7,),))
    weights, mixed = Weights(of), ours.sharing.experts
    lay(weights, ours)
    for e in range(3):
        weights.linear(mixed.experts.linears[0], e, f"mmoe.expert_mlps.{e}.mlp.0.perceptron.0")
    for t in range(5):
        weights.linear(mixed.gates.linears, t, f"mmoe.gate_finals.{t}")
        same(ours.sharing(of.x)[:, t], of[f"mid/mmoe.{t}"])
    logits = ours(of.x).logits
    check(weights, [logits[name] for name in LIVE], losses(of, logits))


def one_at_a_time(ours: Any, towers: Tensor, parents: Any, names: list[str]) -> dict[str, Tensor]:
    """Return r_t as the definition says it, a task at a time."""
    found: dict[str, Tensor] = {}
    while len(found) < len(names):
        for name in names:
            if name in found or any(parent not in found for parent in parents[name]):
                continue
            own = towers[:, names.index(name)]
            found[name] = own
            for group, stack in zip(ours.relation._groups, ours.relation.stacks, strict=True):
                if name in group:
                    x = torch.cat([own, *(found[parent] for parent in parents[name])], 1)
                    found[name] = stack(x)[:, group.index(name)]
    return found


@pytest.mark.parametrize("order", list(permutations("abcd"))[::5], ids="".join)
def test_any_graph_in_any_order_is_what_a_task_at_a_time_gives(order: tuple[str, ...]) -> None:
    parents = {"a": (), "b": ("a",), "c": ("b", "a"), "d": ("a", "b")}
    widths = {"a": (), "d": (7, 3)}
    ours = model(plain(*order), relation="dbmtl", parents=parents, relations=widths, relation_widths=(4,))
    towers = ours.towers(ours.sharing(rows()))
    expected = one_at_a_time(ours, towers, parents, list(order))
    found = ours.relation.features(towers)
    for name in order:
        torch.testing.assert_close(found[name], expected[name])
    assert found["a"].shape == (5, 32)
    assert list(ours(rows()).logits) == list(order)


def test_the_hidden_feature_passes_and_carries_its_gradient_to_the_parent() -> None:
    ours = model(plain("a", "b"), relation="dbmtl", parents={"b": ("a",)})
    ours(rows()).logits["b"].sum().backward()
    gradient = ours.towers.linears[0].weight.grad
    assert (gradient[0] != 0).any()
    heads = ours.relation.heads[0].weight.grad
    assert (heads[0] == 0).all()


def test_a_task_reads_the_one_it_is_given_unless_it_names_parents() -> None:
    tasks = [TaskSpec("a", "a"), TaskSpec("b", "b", given="a"), TaskSpec("c", "c", given="b")]
    options = ModelOptions(relation="dbmtl", parents={"c": ()})
    ours = MultiTaskModel(6, tasks, options)
    assert ours.relation.reading(tasks, options) == {"a": (), "b": ("a",), "c": ()}


@pytest.mark.parametrize(
    ("parents", "words"),
    [
        ({"b": ("x",)}, 'tasks.b.parents: there is no task "x"; the tasks are a, b, c'),
        ({"b": ("b",)}, "tasks.b.parents: names the task itself; drop it"),
        ({"a": ("b",), "b": ("a",)}, "tasks.a.parents: goes round in a circle (a reads b reads a)"),
        ({"a": ("c",), "b": ("a",), "c": ("b",)}, "(a reads c reads b reads a)"),
        ({"x": ("a",)}, "parents: there is no task x"),
    ],
)
def test_a_graph_that_is_none_is_refused_when_it_is_built(parents: Any, words: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(words)):
        model(plain("a", "b", "c"), relation="dbmtl", parents=parents)


def test_a_task_without_layers_of_its_own_cannot_have_parents() -> None:
    with pytest.raises(ConfigError, match=r"tasks\.b: its relation has no layers, so it cannot read a"):
        model(plain("a", "b"), relation="dbmtl", parents={"b": ("a",)}, relations={"b": ()})


def gmsl(*names: str, **options: Any) -> Any:
    return model(plain(*names), relation="gmsl", **options)


@pytest.mark.parametrize("state", [(), (7,)])
def test_gmsl_is_torchs_gru_over_the_towers(state: tuple[int, ...]) -> None:
    ours = gmsl("a", "b", "c", towers=(5,), relation_widths=state)
    width = (*state, 5)[0]
    gru: Any = nn.GRU(5, width, batch_first=True).double()
    with torch.no_grad():
        gru.weight_ih_l0.copy_(ours.relation.weight_ih)
        gru.weight_hh_l0.copy_(ours.relation.weight_hh)
        gru.bias_ih_l0.copy_(ours.relation.bias_ih)
        gru.bias_hh_l0.copy_(ours.relation.bias_hh)
    towers = ours.towers(ours.sharing(rows()))
    torch.testing.assert_close(ours.relation.states(towers), gru(towers)[0])
    cell, state_ = nn.GRUCell(5, width).double(), torch.zeros(5, width, dtype=torch.double)
    cell.load_state_dict({name.removesuffix("_l0"): value for name, value in gru.state_dict().items()})
    for step in range(3):
        state_ = cell(towers[:, step], state_)
        torch.testing.assert_close(ours.relation.states(towers)[:, step], state_)


def test_a_task_of_gmsl_reads_no_later_one_and_the_last_reads_all() -> None:
    ours = gmsl("a", "b", "c", towers=(5,))
    ours(rows()).logits["b"].sum().backward()
    gradient = ours.towers.linears[0].weight.grad
    assert [bool((part != 0).any()) for part in gradient] == [True, True, False]
    ours.zero_grad()
    ours(rows()).logits["c"].sum().backward()
    assert all((part != 0).any() for part in ours.towers.linears[0].weight.grad)


def test_the_order_of_tasks_matters_to_gmsl() -> None:
    one, other = gmsl("a", "b"), gmsl("b", "a")
    swapped = {
        n: v[[1, 0]] if n.startswith(("towers.", "relation.heads")) else v
        for n, v in one.state_dict().items()
    }
    other.load_state_dict(swapped)
    assert not torch.allclose(one(rows()).logits["a"], other(rows()).logits["a"])


def test_gmsl_has_one_state() -> None:
    with pytest.raises(ConfigError, match="gmsl has one state"):
        gmsl("a", "b", relation_widths=(5, 4))


def test_aitm_is_that_of_torch_rechub() -> None:
    of = fixture("rechub_aitm")
    ours = model(
        plain("a", "b", "c"),
        23,
        relation="aitm",
        bottom=(),
        towers=(8, 6),
        relation_widths=(5,),
        norm="batch",
        calibrator=0.0,
    )
    weights = Weights(of)
    for t in range(3):
        for layer in range(2):
            weights.linear(ours.towers.linears[layer], t, f"bottoms.{t}.mlp.{4 * layer}")
            weights.norm(ours.towers.norms[layer], t, f"bottoms.{t}.mlp.{4 * layer + 1}")
        weights.linear(ours.relation.towers.linears[0], t, f"towers.{t}.mlp.0")
        weights.norm(ours.relation.towers.norms[0], t, f"towers.{t}.mlp.1")
        weights.head(ours.relation.heads, t, f"towers.{t}.mlp.4")
    for t in range(2):
        info = ours.relation.infos[t].stack
        weights.linear(info.linears[0], 0, f"info_gates.{t}.mlp.0")
        weights.norm(info.norms[0], 0, f"info_gates.{t}.mlp.1")
        for part, name in enumerate("qkv"):
            columns = (t, slice(None), slice(6 * part, 6 * part + 6))
            weights.put(ours.relation.attention, columns, f"aits.{t}.{name}_layer.weight", turned=True)
    ours.eval()
    towers = ours.towers(ours.sharing(of.x))
    moved = ours.relation.transferred(towers)
    same(towers[:, 0], of["mid/bottoms.0"])
    same(moved["b"], of["mid/aits.0"])
    same(moved["c"], of["mid/aits.1"])
    logits = ours(of.x).logits
    some = [logits[name] for name in "abc"]
    check(weights, some, [cross_entropy(logit, of.y[:, i]).mean() for i, logit in enumerate(some)])


def test_the_calibrator_is_that_of_the_worked_example() -> None:
    ours = model(plain("a", "b"), relation="aitm")
    logits = {"a": torch.tensor([0.5, 0.4, 0.1]).logit(), "b": torch.tensor([0.2, 0.6, 0.1]).logit()}
    nothing = torch.zeros(3)
    found = ours.relation.teach({"a": nothing, "b": nothing}, logits)
    assert float(found["b"].mean()) == pytest.approx(0.04, abs=1e-6)
    assert (found["a"] == 0).all()


def test_labels_given_another_are_taught_over_all_exposures_and_read_as_a_ratio() -> None:
    tasks = [TaskSpec("ctr", "click"), TaskSpec("cvr", "buy", given="ctr")]
    ours = model(tasks, relation="aitm")
    assert ours.joint == ("cvr",)
    with torch.no_grad():
        ours.relation.heads.bias.copy_(torch.tensor([0.0, -3.0]))
    logits = ours(rows()).logits
    quotient = logits["joint.cvr"].sigmoid() / logits["ctr"].sigmoid()
    assert (quotient < 1).all()
    torch.testing.assert_close(logits["cvr"].sigmoid(), quotient)
    found = ours.relation.teach({"ctr": torch.zeros(5), "joint.cvr": torch.zeros(5)}, logits)
    assert (found["joint.cvr"] == 0).all()


def test_a_ratio_above_one_is_just_below_it() -> None:
    found = ratio(torch.tensor([3.0, 0.0, -40.0]), torch.tensor([0.0, 0.0, -38.0]))
    assert torch.isfinite(found).all()
    assert (found.sigmoid() <= 1).all()
    assert float(found[2].sigmoid()) == pytest.approx(2.718281828**-2, rel=1e-4)


def test_the_transfer_follows_what_is_given_where_anything_is() -> None:
    tasks = [
        TaskSpec("late", "c", given="mid"),
        TaskSpec("a", "a"),
        TaskSpec("mid", "b", given="a"),
        TaskSpec("x", "x"),
    ]
    ours = model(tasks, relation="aitm")
    reading = ours.relation.reading(tasks, ModelOptions())
    assert reading == {"late": ("mid",), "a": (), "mid": ("a",), "x": ()}
    ours(rows()).logits["joint.late"].sum().backward()
    reached = [bool((part != 0).any()) for part in ours.towers.linears[0].weight.grad]
    assert reached == [True, True, True, False]


@pytest.mark.parametrize("relation", RELATIONS)
def test_the_join_knows_which_products_a_relation_teaches(relation: str) -> None:
    tasks = [
        TaskSpec("ctr", "click"),
        TaskSpec("cvr", "buy", given="ctr"),
        TaskSpec("worth", "buy", given="cvr", value="amount"),
    ]
    assert _JOINT.keys() == RELATIONS.keys()
    assert _JOINT[relation](tasks) == RELATIONS[relation].joint(tasks)

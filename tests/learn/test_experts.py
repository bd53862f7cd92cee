"""MMoE, CGC and PLE: the libraries' own numbers, and the rules that public implementations break."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from stream_mtl.errors import ConfigError
from stream_mtl.join.spec import TaskSpec
from stream_mtl.label.base import cross_entropy
from stream_mtl.learn.mmoe import Mmoe
from stream_mtl.learn.models import MultiTaskModel
from stream_mtl.learn.ple import Level, Ple
from stream_mtl.learn.sharing import ModelOptions
from tests.learn.fixtures import Weights, check, fixture, same

TASKS = (TaskSpec("a", "a"), TaskSpec("b", "b"))


def model(width: int, **options: Any) -> Any:
    return MultiTaskModel(width, TASKS, ModelOptions(**options)).double()


def experts(of: Any) -> Any:
    return of.sharing.experts


def rows(count: int, width: int = 6, seed: int = 1) -> Tensor:
    return torch.randn(count, width, generator=torch.Generator().manual_seed(seed), dtype=torch.double)


def means(logits: list[Tensor], y: Tensor) -> list[Tensor]:
    return [cross_entropy(logit, y[:, i]).mean() for i, logit in enumerate(logits)]


def test_mmoe_is_that_of_torch_easyrec() -> None:
    of = fixture("tzrec_mmoe")
    ours = model(10, name="mmoe", experts=3, expert=((8, 6),), towers=(5,), norm="none")
    weights, mixed = Weights(of), experts(ours)
    for e in range(3):
        for layer in range(2):
            weights.linear(mixed.experts.linears[layer], e, f"mmoe.expert_mlps.{e}.mlp.{layer}.perceptron.0")
    for t in range(2):
        weights.linear(mixed.gates.linears, t, f"mmoe.gate_finals.{t}")
        weights.linear(ours.towers.linears[0], t, f"_task_tower.{t}.tower_mlp.mlp.0.perceptron.0")
        weights.head(ours.relation.heads, t, f"_task_tower.{t}.linear")
    for e in range(3):
        same(mixed.experts(of.x)[:, e], of[f"mid/mmoe.expert_mlps.{e}"])
    for t in range(2):
        same(mixed(of.x)[:, t], of[f"mid/mmoe.{t}"])
        same(ours.shares(of.x)[0][:, t].log().softmax(1), torch.softmax(gate(of, t), 1).numpy())
    logits = ours(of.x).logits
    check(weights, [logits["a"], logits["b"]], means([logits["a"], logits["b"]], of.y))


def gate(of: Any, task: int) -> Tensor:
    return torch.from_numpy(of[f"mid/mmoe.gate_finals.{task}"])


def test_ple_is_that_of_torch_rechub() -> None:
    of = fixture("rechub_ple")
    options = {"own_experts": (2,), "shared_experts": (1,), "expert": ((8, 6),), "towers": (5,)}
    ours = model(23, name="ple", levels=2, norm="batch", **options)
    weights = Weights(of)
    levels = [level for level in experts(ours).levels if isinstance(level, Level)]
    for number, level in enumerate(levels):
        name = f"cgc_layers.{number}"
        for block in range(4):
            mlp(weights, level.own_experts, block, f"{name}.experts_specific.{block}")
        assert level.shared_experts is not None
        mlp(weights, level.shared_experts, 0, f"{name}.experts_shared.0")
        for t in range(2):
            mlp_gate(weights, level.gates.linears, t, f"{name}.gates_specific.{t}")
    assert levels[0].shared_gate is not None
    assert levels[1].shared_gate is None
    mlp_gate(weights, levels[0].shared_gate.linears, 0, "cgc_layers.0.gate_shared")
    for t in range(2):
        mlp(weights, ours.towers, t, f"towers.{t}", layers=1)
        weights.head(ours.relation.heads, t, f"towers.{t}.mlp.4")
    ours.eval()
    u, u_s, _ = levels[0].bind()(of.x, of.x)
    same(u[:, 0], of["mid/cgc_layers.0.0"])
    same(u[:, 1], of["mid/cgc_layers.0.1"])
    same(u_s, of["mid/cgc_layers.0.2"])
    last, _, _ = levels[1].bind()(u, u_s)
    same(last[:, 0], of["mid/cgc_layers.1.0"])
    same(last[:, 1], of["mid/cgc_layers.1.1"])
    logits = ours(of.x).logits
    check(weights, [logits["a"], logits["b"]], means([logits["a"], logits["b"]], of.y))


def mlp(weights: Weights, into: Any, block: int, name: str, layers: int = 2) -> None:
    for layer in range(layers):
        weights.linear(into.linears[layer], block, f"{name}.mlp.{4 * layer}")
        weights.norm(into.norms[layer], block, f"{name}.mlp.{4 * layer + 1}")


def mlp_gate(weights: Weights, into: nn.Module, block: int, name: str) -> None:
    weights.folded(into, block, f"{name}.mlp.0", f"{name}.mlp.1")


def test_one_expert_is_a_shared_bottom() -> None:
    ours = model(6, name="mmoe", experts=1, expert=((5, 4),), towers=())
    x = rows(7)
    bottom = experts(ours).experts(x)[:, 0]
    for t in range(2):
        torch.testing.assert_close(experts(ours)(x)[:, t], bottom)


@pytest.mark.parametrize("gate", [(), (5,), (5, 3)])
@pytest.mark.parametrize("name", ["mmoe", "cgc", "ple"])
def test_the_shares_of_every_gate_sum_to_one_and_equal_logits_are_the_mean(
    name: str, gate: tuple[int, ...]
) -> None:
    ours = model(6, name=name, gate=gate, expert=((4,),))
    for shares in ours.shares(rows(5)):
        torch.testing.assert_close(shares.sum(2), torch.ones(5, 2, dtype=torch.double))
    if name == "mmoe":
        nn.init.zeros_(experts(ours).gates.linears.weight)
        nn.init.zeros_(experts(ours).gates.linears.bias)
        mean = experts(ours).experts(rows(5)).mean(1)
        torch.testing.assert_close(experts(ours)(rows(5))[:, 1], mean)


@pytest.mark.parametrize("name", ["mmoe", "cgc", "ple"])
def test_experts_and_gates_read_the_input_unless_there_is_a_bottom(name: str) -> None:
    alone, over = model(6, name=name, expert=((4,),)), model(6, name=name, bottom=(9, 3), expert=((4,),))
    first = experts(alone), experts(over)
    widths = [(one.gates.linears if name == "mmoe" else one.levels[0].gates.linears).weight for one in first]
    assert [weight.shape[1] for weight in widths] == [6, 3]
    assert over.sharing.bottom(rows(2)).shape == (2, 3)


def test_all_experts_start_different() -> None:
    ours = experts(model(6, name="mmoe", experts=5, expert=((4,),)))
    found = ours.experts(rows(3))
    for i in range(5):
        for j in range(i):
            assert not torch.allclose(found[:, i], found[:, j], atol=1e-2)


def plain(of: Ple, x: Tensor) -> Tensor:
    """Return what PLE says, an expert at a time."""
    levels = [level for level in of.levels if isinstance(level, Level)]
    towers = levels[0].towers
    states: Any = [x] * towers
    state: Any = x
    for level in levels:
        mine = [
            level.own_experts(states[t])[:, t * level.own + e]
            for t in range(towers)
            for e in range(level.own)
        ]
        common = [] if level.shared_experts is None else list(level.shared_experts(state).unbind(1))
        shares = [level.gates(states[t])[:, t] for t in range(towers)]
        new = []
        for t in range(towers):
            some = [*mine[t * level.own : (t + 1) * level.own], *common]
            new.append(sum(shares[t][:, i : i + 1] * one for i, one in enumerate(some)))
        if level.shared_gate is not None:
            share = level.shared_gate(state)[:, 0]
            state = sum(share[:, i : i + 1] * one for i, one in enumerate([*mine, *common]))
        states = new
    return torch.stack(states, dim=1)


SHAPES: list[dict[str, Any]] = [
    {"levels": 1},
    {"levels": 3, "own_experts": (1, 3, 2), "shared_experts": (2, 1, 1)},
    {"levels": 2, "own_experts": (1,), "shared_experts": (2,)},
    {"levels": 2, "own_experts": (2,), "shared_experts": (0,)},
    {"levels": 3, "own_experts": (2,), "shared_experts": (1, 0, 2)},
    {"levels": 2, "expert": ((5, 4), (7, 3)), "shared_expert": ((4,), (3,))},
    {"levels": 2, "gate": (5,)},
]


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_levels_are_what_an_expert_at_a_time_gives(shape: dict[str, Any]) -> None:
    ours = experts(model(6, name="ple", **({"expert": ((5, 4),)} | shape)))
    torch.testing.assert_close(ours(rows(8)), plain(ours, rows(8)))
    assert all(parameter.requires_grad for parameter in ours.parameters())


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_no_weight_is_built_that_nothing_uses(shape: dict[str, Any]) -> None:
    ours = model(6, name="ple", **({"expert": ((5, 4),)} | shape))
    total: Any = sum(logit.square().sum() for logit in ours(rows(8)).logits.values())
    total.backward()
    for name, parameter in ours.named_parameters():
        assert parameter.grad is not None, name


def test_gates_of_the_second_level_read_the_state_of_the_first() -> None:
    ours = model(6, name="ple", expert=((4,),))
    before = ours.shares(rows(3))
    with torch.no_grad():
        experts(ours).levels[0].own_experts.linears[0].weight.mul_(2)
    after = ours.shares(rows(3))
    torch.testing.assert_close(after[0], before[0])
    assert not torch.allclose(after[1], before[1])


@pytest.mark.parametrize(("levels", "reaches"), [(1, False), (2, True), (3, True)])
def test_a_task_reaches_the_first_experts_of_another_through_the_shared_gate_only(
    levels: int, reaches: bool
) -> None:
    ours = model(6, name="ple", levels=levels, expert=((4,),))
    ours(rows(8)).logits["a"].sum().backward()
    gradient = experts(ours).levels[0].own_experts.linears[0].weight.grad[2:]
    assert bool((gradient != 0).any()) == reaches


def test_cgc_is_ple_of_one_level() -> None:
    one, other = model(6, name="cgc", expert=((4,),)), model(6, name="ple", levels=1, expert=((4,),))
    torch.testing.assert_close(one(rows(3)).logits, other(rows(3)).logits)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"levels": 3, "own_experts": (1, 2)}, "model.own_experts: 2 values for 3 levels"),
        ({"expert": ((5, 4),), "shared_expert": ((5, 3),)}, "equal widths"),
        ({"own_experts": (0,)}, "model.own_experts: a task needs one at least"),
    ],
)
def test_shapes_that_do_not_fit_are_refused(options: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        model(6, name="ple", **options)


def test_every_tower_has_a_gate_of_its_own() -> None:
    ours = MultiTaskModel(6, TASKS, ModelOptions("mmoe", expert=((4,),), outputs={"a": "page", "b": "page"}))
    assert isinstance(experts(ours), Mmoe)
    assert ours.shares(torch.zeros(2, 6))[0].shape == (2, 1, 4)

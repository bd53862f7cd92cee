"""ESMM: the product in log space, to the digit, and the libraries' own numbers."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from stream_mtl.clock import HOUR
from stream_mtl.join.spec import TaskSpec
from stream_mtl.label import Plan, Reading, parse
from stream_mtl.label.base import cross_entropy
from stream_mtl.learn.esmm import product
from stream_mtl.learn.losses import DENOMINATORS
from stream_mtl.learn.models import MultiTaskModel
from stream_mtl.learn.sharing import ModelOptions
from tests.label.world import lives, planned, tell

TASKS = (TaskSpec("ctr", "click"), TaskSpec("cvr", "conversion", given="ctr"))

PARITY = Path(__file__).parent / "parity"


def test_loss_and_gradient_are_those_of_the_worked_example() -> None:
    a = torch.tensor([0.3, -2, 1.5], requires_grad=True)
    b = torch.tensor([-1.2, 0.4, -3], requires_grad=True)
    y, z = torch.tensor([1.0, 0, 1]), torch.tensor([0.0, 0, 1])
    ctr, joint = cross_entropy(a, y).mean(), cross_entropy(product([a, b]), z).mean()
    (ctr + joint).backward()
    assert float(ctr.detach()) == pytest.approx(0.29423218, abs=1e-6)
    assert float(joint.detach()) == pytest.approx(1.15557376, abs=1e-6)
    assert a.grad is not None
    assert b.grad is not None
    np.testing.assert_allclose(a.grad, [-0.12009777, 0.06229731, -0.12161702], atol=1e-6)
    np.testing.assert_allclose(b.grad, [0.03928739, 0.01028025, -0.31752471], atol=1e-6)


@pytest.mark.parametrize(
    ("logit", "z", "loss", "slope"),
    [(0.0, 1, 1.38629, -0.5), (-20.0, 1, 40, -1), (-60.0, 1, 120, -1), (20.0, 0, 19.307, 0.5)],
)
def test_neither_loss_nor_gradient_is_lost_far_out(logit: float, z: float, loss: float, slope: float) -> None:
    a, b = torch.tensor([logit], requires_grad=True), torch.tensor([logit])
    found = cross_entropy(product([a, b]), torch.tensor([z])).sum()
    found.backward()
    assert a.grad is not None
    assert float(found.detach()) == pytest.approx(loss, rel=1e-4)
    assert float(a.grad) == pytest.approx(slope, rel=1e-4)


def test_a_longer_chain_is_the_product_of_all_its_probabilities() -> None:
    logits = [torch.tensor([0.3, -1.0, 2.0], dtype=torch.double) + i for i in range(4)]
    expected = torch.stack([logit.sigmoid() for logit in logits]).prod(0)
    torch.testing.assert_close(product(logits).sigmoid(), expected)


def model(norm: str, inputs: int) -> MultiTaskModel:
    return MultiTaskModel(
        inputs, TASKS, ModelOptions(relation="esmm", bottom=(), towers=(6, 4), norm=norm)
    ).double()


def put(block: int, into: Tensor, values: np.ndarray) -> None:
    with torch.no_grad():
        into[block] = torch.as_tensor(values, dtype=torch.double)


def embedded(fixture: Any, prefix: str, config: dict[str, Any]) -> Tensor:
    """Return the libraries' input: all embeddings in order, then the numbers."""
    parts = [
        fixture[f"w/{prefix}{i}.weight"][fixture["in/sparse"][:, i]] for i in range(len(config["vocab"]))
    ]
    if config["n_dense"]:
        parts.append(fixture["in/dense"])
    return torch.from_numpy(np.concatenate(parts, axis=1).astype(np.float64))


def deepctr(fixture: Any, into: MultiTaskModel) -> None:
    for block, task in enumerate(("ctr", "cvr")):
        for layer in range(2):
            put(block, into.towers.linears[layer].weight, fixture[f"w/{task}_dnn.linears.{layer}.weight"].T)
            put(block, into.towers.linears[layer].bias, fixture[f"w/{task}_dnn.linears.{layer}.bias"])
        put(block, into.relation.heads.weight, fixture[f"w/{task}_dnn_final_layer.weight"][0])
        put(block, into.relation.heads.bias, fixture["w/out.bias"][0])


def rechub(fixture: Any, into: MultiTaskModel) -> None:
    for block, task in enumerate(("ctr", "cvr")):
        for layer, (linear, norm, width) in enumerate([(0, 1, 6), (4, 5, 4)]):
            key = f"w/tower_{task}.mlp."
            put(block, into.towers.linears[layer].weight, fixture[f"{key}{linear}.weight"].T)
            put(block, into.towers.linears[layer].bias, fixture[f"{key}{linear}.bias"])
            for ours, theirs in (
                ("weight", "weight"),
                ("bias", "bias"),
                ("mean", "running_mean"),
                ("var", "running_var"),
            ):
                put(
                    block,
                    getattr(into.towers.norms[layer], ours).view(2, width),
                    fixture[f"{key}{norm}.{theirs}"],
                )
        put(block, into.relation.heads.weight, fixture[f"w/tower_{task}.mlp.8.weight"][0])
        put(block, into.relation.heads.bias, fixture[f"w/tower_{task}.mlp.8.bias"][0])


def test_logits_and_gradients_are_those_of_deepctr() -> None:
    with np.load(PARITY / "deepctr_esmm.npz") as fixture:
        config = json.loads(str(fixture["config"]))
        ours = model("none", 23)
        deepctr(fixture, ours)
        logits = ours(embedded(fixture, "embedding_dict.s", config)).logits
        found = torch.stack([logits["ctr"], logits["joint.cvr"]], dim=1)
        np.testing.assert_allclose(found.detach(), fixture["out/logit"], atol=1e-5)
        y = torch.from_numpy(fixture["in/y"].astype(np.float64))
        losses = cross_entropy(found, y).mean(0)
        np.testing.assert_allclose(losses.detach(), fixture["loss/tasks"], atol=1e-5)
        losses.sum().backward()
        for block, task in enumerate(("ctr", "cvr")):
            gradient = ours.towers.linears[0].weight.grad
            assert gradient is not None
            np.testing.assert_allclose(
                gradient[block], fixture[f"g/{task}_dnn.linears.0.weight"].T, atol=1e-5
            )


def test_logits_with_batch_norm_are_those_of_rechub() -> None:
    with np.load(PARITY / "rechub_esmm.npz") as fixture:
        config = json.loads(str(fixture["config"]))
        ours = model("batch", 20)
        rechub(fixture, ours)
        ours.eval()
        logits = ours(embedded(fixture, "embedding.embed_dict.s", config)).logits
        found = torch.stack([logits["cvr"], logits["ctr"], logits["joint.cvr"]], dim=1)
        np.testing.assert_allclose(found.detach(), fixture["out/logit"], atol=1e-5)
        np.testing.assert_allclose(found.detach().sigmoid(), fixture["out/prob"], atol=1e-5)


def rest(histories: Any, ctr: str, cvr: str) -> tuple[float, float]:
    """Return the probabilities at which two logits come to rest under all examples of a log."""
    plan = Plan(TASKS, {"ctr": parse(ctr), "cvr": parse(cvr)}, joint=("cvr",))
    examples = plan.emit(tell(planned(plan), histories))
    logits = torch.zeros(2, dtype=torch.double, requires_grad=True)
    descent = torch.optim.LBFGS([logits], lr=0.5, max_iter=500, tolerance_grad=1e-12, tolerance_change=1e-14)

    def loss() -> Tensor:
        descent.zero_grad()
        total = logits.new_zeros(())
        for lesson, logit in zip(
            plan.lessons, (logits[0], product([logits[:1], logits[1:]])[0]), strict=True
        ):
            told = examples.of(lesson.name)
            label, weight = (torch.from_numpy(x.astype(np.float64)) for x in (told.label, told.weight))
            kind, elapsed = torch.from_numpy(told.kind), torch.from_numpy(told.elapsed)
            row = lesson.method.loss(Reading(logit.expand(len(label)), {}, None, label, kind, elapsed))
            total = total + (row * weight).mean()
        total.backward()
        return total

    for _ in range(5):
        descent.step(loss)
    ctr_rate, cvr_rate = logits.detach().sigmoid().tolist()
    return ctr_rate, cvr_rate


@pytest.mark.parametrize("ctr", ["wait", "fnw"])
@pytest.mark.parametrize("cvr", ["wait", "fnw"])
def test_the_whole_rests_at_the_true_pair_whoever_corrects_whom(ctr: str, cvr: str) -> None:
    histories = lives(400, seed=11)
    clicks = [life for life in histories if life.click is not None and life.click <= HOUR / 2]
    buys = [life for life in clicks if life.conversion is not None and life.conversion <= 2 * HOUR]
    found = rest(histories, ctr, cvr)
    assert found == pytest.approx((len(clicks) / len(histories), len(buys) / len(clicks)), abs=1e-5)


def test_the_click_term_of_a_correction_has_exactly_no_gradient() -> None:
    plan = Plan(TASKS, {"ctr": parse("wait:15m"), "cvr": parse("fnw")}, joint=("cvr",))
    examples = plan.emit(tell(planned(plan), lives(80, seed=2)))
    corrections = np.flatnonzero((examples.weight[:, 0] == 0) & (examples.label[:, 1] == 1))
    assert len(corrections) > 5
    for reduce in DENOMINATORS.values():
        logit = torch.randn(len(corrections), requires_grad=True)
        told = (
            torch.from_numpy(examples.label[corrections, 0]),
            torch.from_numpy(examples.weight[corrections, 0]),
        )
        reduce(cross_entropy(logit, told[0]), told[1]).backward()
        assert logit.grad is not None
        assert (logit.grad == 0).all()

"""Auxiliary logits are learned from matured labels, and from nothing else; the task's own logit from all else."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from stream_mtl.clock import HOUR, MINUTE
from stream_mtl.label import CORRECTIONS, MATURED, METHODS, DelayedFeedback, Kind, Plan, Reading, make
from stream_mtl.label.heads import OneLook
from stream_mtl.learn.learner import Learner
from stream_mtl.learn.predict import read_answer
from stream_mtl.learn.sharing import ModelOptions
from tests.learn.small import batch, recipe

from .test_fixed_points import heads, read
from .world import TASKS, lives, planned, tell

ESMM = ModelOptions(relation="esmm", bottom=(8, 6), towers=(5,))

LOOKING = [
    pytest.param(method, id=name)
    for name, entry in METHODS.items()
    if isinstance(method := make(name, *[15 * MINUTE] * entry.least), OneLook)
]
P, R = 0.25, 0.4
ENDS = [(Kind.MATURED_IP, 1.0, P * (1 - R)), (Kind.MATURED_DP, 1.0, P * R), (Kind.MATURED_RN, 0.0, 1 - P)]
EXAMPLES = [(Kind.IP, 1.0), (Kind.ON, 0.0), (Kind.DP, 1.0), (Kind.RN, 0.0), (Kind.IP2, 1.0)]


def gradients(method: DelayedFeedback, kind: Kind, label: float, reach: float | None) -> dict[str, float]:
    known = {one.name: 0.3 for one in method.auxiliary}
    reading, _ = read([(kind, label, 1.0)], -40.0, known, reach)
    method.loss(reading).sum().backward()
    logits = {"own": reading.logit, **reading.auxiliary}
    return {name: 0.0 if one.grad is None else float(one.grad.sum()) for name, one in logits.items()}


@pytest.mark.parametrize("method", LOOKING)
@pytest.mark.parametrize("reach", [None, 0.2], ids=["alone", "joint"])
def test_a_matured_label_gives_the_own_logit_exactly_zero(
    method: DelayedFeedback, reach: float | None
) -> None:
    for kind, label, _ in ENDS:
        found = gradients(method, kind, label, reach)
        assert found.pop("own") == 0
        assert {name for name, gradient in found.items() if gradient} == {
            one.name for one in method.auxiliary if kind in one.asked
        }


@pytest.mark.parametrize("method", LOOKING)
def test_no_other_example_teaches_an_auxiliary_logit(method: DelayedFeedback) -> None:
    for kind, label in EXAMPLES:
        found = gradients(method, kind, label, None)
        found.pop("own")
        assert not any(found.values())


@pytest.mark.parametrize("method", LOOKING)
def test_auxiliary_logits_rest_at_their_shares(method: DelayedFeedback) -> None:
    for one in method.auxiliary:
        logit = torch.tensor(heads(P, R)[one.name], dtype=torch.float64).logit().item()
        for shift in (-0.01, 0.0, 0.01):
            known = {a.name: 0.3 for a in method.auxiliary}
            known[one.name] = torch.tensor(logit + shift, dtype=torch.float64).sigmoid().item()
            reading, masses = read(ENDS, 0.0, known)
            (method.loss(reading) * masses).sum().backward()
            gradient = reading.auxiliary[one.name].grad
            assert gradient is not None
            assert float(gradient.sum()) == pytest.approx(0, abs=1e-12 if shift == 0 else 1)
            assert shift == 0 or float(gradient.sum()) * shift > 0


@pytest.mark.parametrize("name", ["es_dfm", "fsiw"])
def test_auxiliary_logits_converge_to_their_shares_on_a_joined_stream(name: str) -> None:
    histories = lives(400, seed=2, p=1.0, q=0.6)
    method = make(name, 30 * MINUTE)
    plan = Plan(TASKS[:2], {"cvr": method})
    told = plan.emit(tell(planned(plan), histories)).of("cvr")
    matured = np.isin(told.kind, [int(kind) for kind in MATURED])
    kind, label = torch.from_numpy(told.kind[matured]), torch.from_numpy(told.label[matured])
    logits = {one.name: torch.zeros((), requires_grad=True) for one in method.auxiliary}
    optimiser = torch.optim.SGD(logits.values(), lr=5.0)
    for _ in range(60):
        auxiliary = {name: logit.expand(len(kind)) for name, logit in logits.items()}
        reading = Reading(torch.zeros(len(kind)), auxiliary, None, label, kind, torch.zeros(len(kind)))
        optimiser.zero_grad()
        method.loss(reading).mean().backward()
        optimiser.step()
    clicked = [life for life in histories if life.click is not None and life.click <= 30 * MINUTE]
    delays = [
        life.conversion for life in clicked if life.conversion is not None and life.conversion <= 2 * HOUR
    ]
    early = sum(delay <= 30 * MINUTE for delay in delays)
    expected = {
        "late": (len(delays) - early) / len(clicked),
        "real": (len(clicked) - len(delays)) / (len(clicked) - early),
        "in_time": early / len(delays),
    }
    for name, logit in logits.items():
        assert float(logit.detach().sigmoid()) == pytest.approx(expected[name], abs=2e-3)


def test_a_matured_label_moves_heads_and_no_weight_that_a_task_is_read_from() -> None:
    made = recipe(tasks=TASKS[:2], methods={"cvr": make("es_dfm", HOUR)}, model=ESMM)
    one = batch(recipe(tasks=TASKS[:2], model=ESMM), 4)
    weight, kind = np.zeros_like(one.weight), np.full_like(one.kind, Kind.MATURED_DP)
    weight[:, 1] = 1
    learner, before = Learner(made), Learner(made).weights()
    learner.learn(replace(one, weight=weight, kind=kind))
    moved = {name for name, array in learner.weights().items() if not np.array_equal(array, before[name])}
    assert moved
    assert all("auxiliary" in name for name in moved if name.startswith("dense"))


def test_auxiliary_logits_start_where_their_method_says() -> None:
    made = recipe(tasks=TASKS[:2], methods={"cvr": make("es_dfm", HOUR)})
    weights = Learner(made).weights()
    (bias,) = (one for name, one in weights.items() if name.endswith("auxiliary.0.heads.bias"))
    assert (1 / (1 + np.exp(-bias))).tolist() == pytest.approx([0.01, 0.99])


def test_after_a_task_that_is_served_inverted_the_next_is_its_share_of_the_product() -> None:
    made = recipe(tasks=TASKS[:2], methods={"ctr": make("fnc"), "cvr": make("fnw")}, model=ESMM)
    answer = made.build()(torch.randn(5, made.features.width))
    ctr, cvr, both = read_answer(answer, made).T
    np.testing.assert_allclose(ctr, answer.logits["ctr"].detach().exp().clamp(max=1), rtol=1e-6)
    np.testing.assert_allclose(both, answer.logits["joint.cvr"].detach().sigmoid(), rtol=1e-6)
    np.testing.assert_allclose(ctr * cvr, both, rtol=1e-5)


def test_matured_labels_are_no_corrections() -> None:
    assert not MATURED & CORRECTIONS

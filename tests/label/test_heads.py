"""Auxiliary logits are learned from matured labels, and from nothing else; the task's own logit from all else."""

import pytest
import torch

from stream_mtl.clock import HOUR, MINUTE
from stream_mtl.label import CORRECTIONS, MATURED, METHODS, DelayedFeedback, Kind, Plan, Reading, make
from stream_mtl.label.heads import OneLook

from .test_fixed_points import heads, read
from .world import TASKS, lives, planned, tell

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


def test_auxiliary_logits_learn_their_shares_from_a_joined_stream() -> None:
    histories = lives(400, seed=2, p=1.0, q=0.6)
    method = make("fsiw", 30 * MINUTE)
    plan = Plan(TASKS[:2], {"cvr": method})
    told = plan.emit(tell(planned(plan), histories)).of("cvr")
    kinds = [Kind(kind) for kind in told.kind[told.weight > 0]]
    assert sum(kind in MATURED for kind in kinds) * 2 == len(kinds)
    logits = {one.name: torch.zeros((), requires_grad=True) for one in method.auxiliary}
    optimiser = torch.optim.SGD(logits.values(), lr=2.0)
    for _ in range(300):
        reading = Reading(
            torch.zeros(len(kinds)),
            {name: logit.expand(len(kinds)) for name, logit in logits.items()},
            None,
            torch.from_numpy(told.label[told.weight > 0]),
            torch.tensor([int(kind) for kind in kinds], dtype=torch.int8),
            torch.zeros(len(kinds)),
        )
        optimiser.zero_grad()
        method.loss(reading).mean().backward()
        optimiser.step()
    clicked = [life for life in histories if life.click is not None and life.click <= 30 * MINUTE]
    delays = [
        life.conversion for life in clicked if life.conversion is not None and life.conversion <= 2 * HOUR
    ]
    early = sum(delay <= 30 * MINUTE for delay in delays)
    found = {name: logit.sigmoid().item() for name, logit in logits.items()}
    never = len(clicked) - len(delays)
    assert found["in_time"] == pytest.approx(early / len(delays), abs=1e-3)
    assert found["real"] == pytest.approx(never / (never + len(delays) - early), abs=1e-3)


def test_matured_labels_are_no_corrections() -> None:
    assert not MATURED & CORRECTIONS

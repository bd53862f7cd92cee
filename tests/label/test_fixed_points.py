"""Where each method comes to rest at one x, by root finding: the loss and the stream must fit each other."""

from collections.abc import Mapping

import pytest
import torch

from stream_mtl.label import Kind, Reading, parse
from stream_mtl.label.base import DelayedFeedback

Stream = list[tuple[Kind, float, float]]  # (kind, label, mass per click)

PLACES = [(0.10, 0.4), (0.25, 0.4), (0.02, 0.6)]  # the rate p, and the share r of it that comes late


def mature(p: float, r: float) -> Stream:
    return [(Kind.FINAL, 1, p), (Kind.FINAL, 0, 1 - p)]


def wait(p: float, r: float) -> Stream:
    return [(Kind.IP, 1, p * (1 - r)), (Kind.ON, 0, 1 - p * (1 - r))]


def elapsed_sampling(p: float, r: float) -> Stream:
    return [*wait(p, r), (Kind.DP, 1, p * r)]


def fake_negatives(p: float, r: float) -> Stream:
    return [(Kind.ON, 0, 1), (Kind.DP, 1, p)]


def slope(method: DelayedFeedback, stream: Stream, logit: float) -> float:
    """Return the gradient of the stream's expected loss."""
    kinds, labels, masses = zip(*stream, strict=True)
    at = torch.full((len(stream),), logit, dtype=torch.float64, requires_grad=True)
    reading = Reading(
        logit=at,
        auxiliary={},
        reach=None,
        label=torch.tensor(labels, dtype=torch.float64),
        kind=torch.tensor(kinds, dtype=torch.int8),
        elapsed=torch.zeros(len(stream), dtype=torch.float64),
    )
    (method.loss(reading) * torch.tensor(masses, dtype=torch.float64)).sum().backward()
    assert at.grad is not None
    return float(at.grad.sum())


def rest(method: DelayedFeedback, stream: Stream) -> float:
    """Return the probability at which the gradient is zero, by halving."""
    low, high = -30.0, 30.0
    for _ in range(100):
        middle = (low + high) / 2
        low, high = (middle, high) if slope(method, stream, middle) < 0 else (low, middle)
    return float(method.probability(torch.tensor(low, dtype=torch.float64), {}))


CASES: Mapping[str, tuple[str, object, object]] = {
    "oracle": ("oracle", mature, lambda p, r: p),
    "mature": ("wait", mature, lambda p, r: p),
    "wait, plain": ("wait:15m", wait, lambda p, r: p * (1 - r)),
    "elapsed sampling, plain": ("wait:15m", elapsed_sampling, lambda p, r: p / (1 + p * r)),
    "fake negatives, plain": ("wait:15m", fake_negatives, lambda p, r: p / (1 + p)),
    "fake negatives, weighted": ("fnw", fake_negatives, lambda p, r: p),
    "fnw on elapsed sampling": ("fnw", elapsed_sampling, lambda p, r: p / (1 - p + p * r)),
}

TABLE = {  # to five digits, from the table of published fixed points
    "oracle": (0.10000, 0.25000, 0.02000),
    "mature": (0.10000, 0.25000, 0.02000),
    "wait, plain": (0.06000, 0.15000, 0.00800),
    "elapsed sampling, plain": (0.09615, 0.22727, 0.01976),
    "fake negatives, plain": (0.09091, 0.20000, 0.01961),
    "fake negatives, weighted": (0.10000, 0.25000, 0.02000),
    "fnw on elapsed sampling": (0.10638, 0.29412, 0.02016),
}


@pytest.mark.parametrize("place", range(len(PLACES)))
@pytest.mark.parametrize("case", CASES)
def test_a_method_rests_where_its_algebra_says(case: str, place: int) -> None:
    name, stream, formula = CASES[case]
    p, r = PLACES[place]
    found = rest(parse(name), stream(p, r))  # type: ignore[operator]
    assert found == pytest.approx(formula(p, r), abs=1e-9)  # type: ignore[operator]
    assert round(found, 5) == TABLE[case][place]


@pytest.mark.parametrize("logit", [-2.0, 0.0, 1.5])
def test_the_weights_of_fnw_are_constants(logit: float) -> None:
    f = 1 / (1 + torch.exp(torch.tensor(-logit, dtype=torch.float64)).item())
    assert slope(parse("fnw"), [(Kind.DP, 1, 1)], logit) == pytest.approx(-(1 + f) * (1 - f))
    assert slope(parse("fnw"), [(Kind.ON, 0, 1)], logit) == pytest.approx((1 - f) * (1 + f) * f)

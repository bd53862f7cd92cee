"""A method is one file: two with waits, corrections and auxiliary logits, written here against the protocol alone."""

from collections import Counter
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from stream_mtl.clock import HOUR, MINUTE, Millis
from stream_mtl.label import Auxiliary, DelayedFeedback, Examples, Kind, Plan, Reading, Unhurried
from stream_mtl.label.base import Emitted, Part, Tensor, emitted, negative_log, negative_log_not
from stream_mtl.label.told import Told

from .world import TASKS, Life, lives, planned, tell

WORLDS = st.builds(lives, st.integers(5, 60), st.integers(0, 10_000), st.floats(0.2, 1), st.floats(0.2, 1))


def late_share(reading: Reading) -> Tensor:
    """Return P(the event comes, and after the look), of the product where it is one."""
    late = reading.auxiliary["late"].detach().sigmoid()
    return late if reading.reach is None else late * reading.reach


@dataclass(frozen=True)
class ElapsedSampling(Unhurried):
    """ES-DFM: look once, correct every late positive, weigh by the share that is late."""

    wait: Millis

    auxiliary: ClassVar[tuple[Auxiliary, ...]] = (Auxiliary("late"),)

    @property
    def waits(self) -> tuple[Millis, ...]:
        return (self.wait,)

    def emit(self, told: Told) -> Emitted:
        kind = np.where(told.happened, Kind.IP, Kind.ON).astype(np.int8)
        return emitted(
            told,
            Part(told.looks(self.wait), told.happened, kind),
            Part(told.events(self.wait), True, Kind.DP),
        )

    def loss(self, reading: Reading) -> Tensor:
        p, dp = reading.logit.detach().sigmoid(), late_share(reading)
        real = (1 - p) / (1 - p + dp)
        yes, no = negative_log(reading.logit), negative_log_not(reading.logit)
        return (1 + dp) * (reading.label * yes + (1 - reading.label) * real * no)


@dataclass(frozen=True)
class RealNegatives(ElapsedSampling):
    """DDFM: the same stream, and every true negative once more at the end of its window."""

    reads_final: ClassVar[bool] = True
    unreached: ClassVar[tuple[Kind, ...]] = (Kind.ON, Kind.RN)

    def emit(self, told: Told) -> Emitted:
        kind = np.where(told.happened, Kind.IP, Kind.ON).astype(np.int8)
        return emitted(
            told,
            Part(told.looks(self.wait), told.happened, kind),
            Part(told.events(self.wait), True, Kind.DP),
            Part(told.finals() & ~told.happened, False, Kind.RN),
        )

    def loss(self, reading: Reading) -> Tensor:
        p, dp = reading.logit.detach().sigmoid(), late_share(reading)
        again = (reading.kind == Kind.DP) | (reading.kind == Kind.RN)
        real = torch.where(again, 1 - p + dp, (1 - p) / (1 - p + dp))
        yes, no = negative_log(reading.logit), negative_log_not(reading.logit)
        return reading.label * yes + (1 - reading.label) * ((1 - real) * yes + real * no)


METHODS = [ElapsedSampling(30 * MINUTE), RealNegatives(30 * MINUTE)]


def clicked(life: Life) -> bool:
    return life.click is not None and life.click <= 30 * MINUTE


def bought(life: Life) -> bool:
    return clicked(life) and life.conversion is not None and life.conversion <= 2 * HOUR


def late(life: Life) -> bool:
    return bought(life) and life.conversion is not None and life.conversion > 30 * MINUTE


def emit(method: DelayedFeedback, histories: list[Life], joint: bool) -> tuple[str, Examples]:
    plan = Plan(TASKS[:2], {"cvr": method}, ("cvr",) if joint else ())
    return plan.names[1], plan.emit(tell(planned(plan), histories))


def kinds(examples: Examples, lesson: str) -> Counter[str]:
    told = examples.of(lesson)
    return Counter(Kind(kind).name for kind in told.kind[told.weight > 0])


@settings(max_examples=40, deadline=None)
@given(histories=WORLDS, joint=st.booleans())
def test_each_class_is_emitted_as_often_as_its_closed_form_says(histories: list[Life], joint: bool) -> None:
    n = len(histories) if joint else sum(map(clicked, histories))
    buys, lates = sum(map(bought, histories)), sum(map(late, histories))
    sampled = Counter(IP=buys - lates, ON=n - buys + lates, DP=lates)
    name, examples = emit(METHODS[0], histories, joint)
    assert kinds(examples, name) == +sampled
    name, examples = emit(METHODS[1], histories, joint)
    assert kinds(examples, name) == +(sampled + Counter(RN=n - buys))


@pytest.mark.parametrize("joint", [False, True], ids=["alone", "joint"])
@pytest.mark.parametrize("method", METHODS, ids=["elapsed sampling", "real negatives"])
def test_the_fixed_point_is_the_true_rate_alone_and_of_the_product(
    method: DelayedFeedback, joint: bool
) -> None:
    histories = lives(500, seed=3, p=0.7)
    clicks, buys = sum(map(clicked, histories)), sum(map(bought, histories))
    name, examples = emit(method, histories, joint)
    told = examples.of(name)
    rows = np.flatnonzero(told.weight)
    dp, reach = sum(map(late, histories)) / clicks, clicks / len(histories)
    low, high = -20.0, 20.0
    for _ in range(80):
        middle = (low + high) / 2
        logit = torch.full((len(rows),), middle, dtype=torch.double, requires_grad=True)
        reading = Reading(
            logit=logit,
            auxiliary={"late": torch.logit(torch.tensor(dp, dtype=torch.double))},
            reach=torch.tensor(reach) if joint else None,
            label=torch.from_numpy(told.label[rows].astype(np.float64)),
            kind=torch.from_numpy(told.kind[rows]),
            elapsed=torch.from_numpy(told.elapsed[rows]),
        )
        (slope,) = torch.autograd.grad(method.loss(reading).sum(), logit)
        low, high = (middle, high) if float(slope.sum()) < 0 else (low, middle)
    found = float(torch.sigmoid(torch.tensor(low)))
    assert found == pytest.approx(buys / (len(histories) if joint else clicks), abs=1e-6)

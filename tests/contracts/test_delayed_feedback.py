"""What every delayed-feedback method promises, found from the table."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from stream_mtl.clock import MINUTE
from stream_mtl.errors import ConfigError
from stream_mtl.label import (
    MATURED,
    METHODS,
    DelayedFeedback,
    Examples,
    Kind,
    Plan,
    Reading,
    Truth,
    make,
    parse,
)
from tests.label.world import TASKS, cut, lives, planned, tell


def variants() -> list[tuple[str, DelayedFeedback]]:
    """Return every method with as few waits as it takes, and with as many."""
    found = []
    for name, entry in METHODS.items():
        for count in sorted({entry.least, entry.most}):
            waits = [15 * MINUTE * (1 + i) for i in range(count)]
            found.append((f"{name}/{count}", make(name, *waits)))
    return found


EVERY = pytest.mark.parametrize("method", [pytest.param(method, id=name) for name, method in variants()])


def read(method: DelayedFeedback, logit: torch.Tensor, label: float, kind: Kind) -> Reading:
    n = len(logit)
    return Reading(
        logit=logit,
        auxiliary={aux.name: torch.zeros(n, dtype=logit.dtype) for aux in method.auxiliary},
        reach=None,
        label=torch.full((n,), label, dtype=logit.dtype),
        kind=torch.full((n,), int(kind), dtype=torch.int8),
        elapsed=torch.full((n,), 60.0, dtype=logit.dtype),
    )


def emit(method: DelayedFeedback, joint: tuple[str, ...] = ()) -> tuple[Plan, list[Examples], Examples]:
    plan = Plan(TASKS[:2], {"ctr": method, "cvr": method}, joint)
    transitions = tell(planned(plan), lives(60, seed=7))
    truth = Truth(plan.tasks)
    truth.add(transitions)
    pieces = [plan.emit(piece, truth) for piece in cut(transitions, [1, 17, 18, 90])]
    return plan, pieces, plan.emit(transitions, truth)


@EVERY
def test_its_loss_is_one_finite_number_a_row_at_any_logit(method: DelayedFeedback) -> None:
    logit = torch.tensor([-90.0, -5.0, 0.0, 5.0, 90.0], requires_grad=True)
    positives = [(1.0, kind) for kind in (Kind.IP, Kind.DP, Kind.IP2, Kind.FINAL, *sorted(MATURED))]
    for label, kind in [*positives, *((0.0, kind) for kind in (Kind.ON, Kind.RN, Kind.FINAL, Kind.NONE))]:
        loss = method.loss(read(method, logit, label, kind))
        assert loss.shape == (5,)
        (gradient,) = torch.autograd.grad(loss.sum(), logit)
        assert torch.isfinite(loss).all()
        assert torch.isfinite(gradient).all()


@EVERY
def test_a_positive_never_pushes_down(method: DelayedFeedback) -> None:
    logit = torch.linspace(-6, 6, 25, dtype=torch.float64, requires_grad=True)
    for kind in (Kind.IP, Kind.DP, Kind.FINAL):
        (gradient,) = torch.autograd.grad(method.loss(read(method, logit, 1.0, kind)).sum(), logit)
        assert (gradient <= 0).all()


@EVERY
@pytest.mark.parametrize("reach", [1e-12, 0.3, 1.0])
def test_its_loss_is_finite_over_all_exposures_too(method: DelayedFeedback, reach: float) -> None:
    logit = torch.tensor([-90.0, -30.0, 0.0, 5.0, 90.0], requires_grad=True)
    for extreme in (-90.0, 0.0, 90.0):
        for label, kind in [
            (1.0, Kind.DP),
            (0.0, Kind.ON),
            (0.0, Kind.RN),
            (1.0, Kind.IP2),
            (0.0, Kind.FINAL),
        ]:
            reading = read(method, logit, label, kind)
            auxiliary = {name: torch.full_like(one, extreme) for name, one in reading.auxiliary.items()}
            loss = method.loss(replace(reading, auxiliary=auxiliary, reach=torch.full((5,), reach)))
            (gradient,) = torch.autograd.grad(loss.sum(), logit)
            assert torch.isfinite(loss).all()
            assert torch.isfinite(gradient).all()


@EVERY
def test_an_auxiliary_logit_that_is_taught_at_the_end_comes_with_final_rows(method: DelayedFeedback) -> None:
    assert method.reads_final or not any(one.asked for one in method.auxiliary)
    assert all(one.asked <= MATURED and 0 < one.start < 1 for one in method.auxiliary)
    assert all((one.answer in one.asked) == bool(one.asked) for one in method.auxiliary)


@EVERY
def test_a_logit_is_read_as_a_probability_that_grows_with_it(method: DelayedFeedback) -> None:
    logit = torch.linspace(-30, 30, 121, dtype=torch.float64)
    auxiliary = {aux.name: torch.zeros_like(logit) for aux in method.auxiliary}
    probability = method.probability(logit, auxiliary)
    assert ((probability >= 0) & (probability <= 1)).all()
    assert (probability.diff() >= 0).all()


@EVERY
@pytest.mark.parametrize("joint", [(), ("cvr",)], ids=["alone", "joint"])
def test_what_it_emits_does_not_depend_on_where_a_batch_ends(
    method: DelayedFeedback, joint: tuple[str, ...]
) -> None:
    _, pieces, whole = emit(method, joint)
    assert len(whole) >= 60
    for name in ("exposure", "told", "label", "weight", "elapsed", "kind"):
        glued = np.concatenate([getattr(piece, name) for piece in pieces])
        np.testing.assert_array_equal(glued, getattr(whole, name))


@EVERY
def test_nothing_is_told_without_a_kind_and_no_kind_without_a_weight(method: DelayedFeedback) -> None:
    _, _, examples = emit(method, ("cvr",))
    np.testing.assert_array_equal(examples.kind != Kind.NONE, examples.weight > 0)
    assert (examples.label[examples.weight == 0] == 0).all()
    assert examples.weight.any(axis=1).all()


@EVERY
def test_every_exposure_teaches_the_first_task_and_every_joint_lesson(method: DelayedFeedback) -> None:
    plan, _, examples = emit(method, ("cvr",))
    for lesson in plan.names:
        assert set(examples.exposure[examples.of(lesson).weight > 0].tolist()) == set(range(60))


@EVERY
def test_its_waits_are_times_in_order(method: DelayedFeedback) -> None:
    assert list(method.waits) == sorted(set(method.waits))
    assert all(wait >= 0 for wait in method.waits)


@EVERY
def test_two_of_the_same_settings_are_equal(method: DelayedFeedback) -> None:
    twins = [twin for _, twin in variants() if twin == method]
    assert len(twins) == 1
    assert hash(twins[0]) == hash(method)


@pytest.mark.parametrize(
    "text",
    [
        "nothing",
        "wait:15",
        "wait:m",
        "wait:1m,2m",
        "fnw:1m",
        "wait:",
        "oracle:1d",
        "es_dfm",
        "defer:1m,2m",
        "fnc:1m",
        "dfm",
    ],
)
def test_what_names_no_method_is_refused(text: str) -> None:
    with pytest.raises(ConfigError):
        parse(text)


def test_waits_are_read_with_their_units() -> None:
    assert [parse(f"wait:{text}").waits for text in ("90s", "15m", "1h", "2d", "1w", "250ms")] == [
        (90_000,),
        (900_000,),
        (3_600_000,),
        (172_800_000,),
        (604_800_000,),
        (250,),
    ]

"""Batch norm on a stream: rows that were told before leave its statistics alone."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from stream_mtl.label.base import CORRECTIONS, MATURED, Kind
from stream_mtl.learn.encoded import concat
from stream_mtl.learn.layers import BatchNorm
from stream_mtl.learn.learner import Learner
from stream_mtl.learn.sharing import ModelOptions
from tests.learn.small import batch, equal, recipe

NORMED = ModelOptions(bottom=(8, 6), towers=(5,), norm="batch")


def norm(counted: torch.Tensor | None = None) -> BatchNorm:
    one = BatchNorm(2, 3).double()
    with torch.no_grad():
        one.weight.copy_(torch.linspace(0.5, 2, 6))
        one.bias.copy_(torch.linspace(-1, 1, 6))
    one.counted = counted
    return one


def rows(count: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(count, 2, 3, generator=torch.Generator().manual_seed(seed), dtype=torch.double) * 3 + 1


def test_counting_every_row_is_plain_batch_norm() -> None:
    plain, counting = norm(), norm(torch.ones(7, dtype=torch.bool))
    x, y = rows(7).requires_grad_(), rows(7).requires_grad_()
    plain(x).pow(3).sum().backward()
    counting(y).pow(3).sum().backward()
    torch.testing.assert_close(y.grad, x.grad)
    torch.testing.assert_close(counting.state_dict(), plain.state_dict())


def test_rows_that_do_not_count_are_normalised_by_the_others_and_change_nothing_for_them() -> None:
    x = rows(9)
    counted = torch.tensor([True, False, True, True, True, False, True, True, True])
    whole, part = norm(counted), norm()
    expected = part(x[counted])
    found = whole(x)
    torch.testing.assert_close(found[counted], expected)
    torch.testing.assert_close(whole.state_dict(), part.state_dict())
    wild = x.clone()
    wild[~counted] *= 1e6
    torch.testing.assert_close(norm(counted)(wild)[counted], expected)


@pytest.mark.parametrize("counted", [[False, False, False], [False, True, False]])
def test_fewer_than_two_rows_that_count_leave_the_running_means_to_normalise(counted: list[bool]) -> None:
    one = norm(torch.tensor(counted))
    before = {name: value.clone() for name, value in one.state_dict().items()}
    found = one(rows(3))
    torch.testing.assert_close(one.state_dict(), before)
    one.eval()
    torch.testing.assert_close(found, one(rows(3)))


@pytest.mark.parametrize("kind", sorted(CORRECTIONS | MATURED))
def test_statistics_of_a_model_are_untouched_by_rows_that_were_told_before(kind: Kind) -> None:
    learners = [Learner(recipe(NORMED)) for _ in range(2)]
    one, again = batch(learners[0].recipe, 16), batch(learners[0].recipe, 5, seed=9)
    again.kind[again.weight > 0] = kind
    columns = ("label", "weight", "elapsed", "kind", "told", "truth")
    both = replace(
        one,
        features=concat([one.features, again.features]),
        **{name: np.concatenate([getattr(one, name), getattr(again, name)]) for name in columns},
    )
    for learner, rows_ in zip(learners, (one, both), strict=True):
        learner.learn(rows_)
    first, second = (statistics(learner) for learner in learners)
    assert len(first) == 6
    for name, value in first.items():
        np.testing.assert_allclose(second[name], value, rtol=1e-5, atol=1e-6, err_msg=name)


def test_a_row_that_tells_one_task_anew_counts_although_it_corrects_another() -> None:
    learners = [Learner(recipe(NORMED)) for _ in range(2)]
    one = batch(learners[0].recipe, 16)
    one.weight[:] = 1
    learners[0].learn(one)
    one.kind[:, 0] = Kind.DP
    learners[1].learn(one)
    equal(statistics(learners[0]), statistics(learners[1]))


def statistics(learner: Learner) -> dict[str, np.ndarray]:
    arrays = learner.arrays()
    norms = {name: value for name, value in arrays.items() if name.startswith("dense.")}
    return {name: value for name, value in norms.items() if name.endswith((".mean", ".var"))}

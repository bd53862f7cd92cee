"""Denominators, value losses and transforms: the worked numbers, and zeros that are exactly zero."""

import math

import pytest
import torch

from stream_mtl.learn.losses import DENOMINATORS, TRANSFORMS, VALUE_LOSSES

LOSSES, WEIGHTS = (0.5, 9.0, 0.25, 9.0), (1.0, 0.0, 2.0, 0.0)


@pytest.mark.parametrize(("name", "value"), [("present", 0.5), ("weights", 1 / 3), ("rows", 0.25)])
def test_the_three_denominators_are_those_of_the_worked_example(name: str, value: float) -> None:
    found = DENOMINATORS[name](torch.tensor(LOSSES), torch.tensor(WEIGHTS))
    assert float(found) == pytest.approx(value)


@pytest.mark.parametrize("name", DENOMINATORS)
@pytest.mark.parametrize("wild", [math.inf, math.nan])
def test_a_row_that_tells_nothing_has_no_gradient_whatever_its_loss(name: str, wild: float) -> None:
    loss = torch.tensor([0.5, wild, 0.25, wild], requires_grad=True)
    found = DENOMINATORS[name](loss, torch.tensor(WEIGHTS))
    found.backward()
    assert torch.isfinite(found)
    assert loss.grad is not None
    assert (loss.grad[[1, 3]] == 0).all()
    assert (loss.grad[[0, 2]] > 0).all()


@pytest.mark.parametrize("name", DENOMINATORS)
@pytest.mark.parametrize("rows", [0, 3])
def test_a_batch_that_tells_nothing_has_loss_zero_with_a_gradient_of_zero(name: str, rows: int) -> None:
    loss = torch.ones(rows, requires_grad=True)
    found = DENOMINATORS[name](loss, torch.zeros(rows))
    found.backward()
    assert float(found.detach()) == 0
    assert loss.grad is not None
    assert (loss.grad == 0).all()


def test_the_sum_over_rows_does_not_count_a_lonely_click_a_hundredfold() -> None:
    one = torch.zeros(100)
    one[0] = 1
    loss = torch.full((100,), 2.0)
    assert float(DENOMINATORS["rows"](loss, one)) == pytest.approx(0.02)
    assert float(DENOMINATORS["present"](loss, one)) == pytest.approx(2)


@pytest.mark.parametrize("name", TRANSFORMS)
def test_a_transform_is_undone_by_its_inverse(name: str) -> None:
    there, back = TRANSFORMS[name]
    values = torch.tensor([-1e4, -1.0, 0.0, 0.3, 7.0, 1e6], dtype=torch.double)
    torch.testing.assert_close(back(there(values)), values)


def test_the_inverse_of_a_wild_output_is_finite() -> None:
    assert torch.isfinite(TRANSFORMS["log1p"][1](torch.tensor([1e9, -1e9]))).all()


@pytest.mark.parametrize(
    ("name", "expected"), [("squared", [4.0, 0.25]), ("absolute", [2.0, 0.5]), ("huber", [1.5, 0.125])]
)
def test_value_losses_are_their_formulas(name: str, expected: list[float]) -> None:
    found = VALUE_LOSSES[name].rows(torch.tensor([1.0, 2.0]), torch.tensor([3.0, 2.5]), torch.ones(2))
    torch.testing.assert_close(found, torch.tensor(expected))

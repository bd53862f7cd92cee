"""Adam over one flat tensor is the Adam of the formula."""

import copy

import numpy as np
import torch
from torch import nn

from stream_mtl.learn.adam import Adam


def net() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(5, 4), nn.LayerNorm(4), nn.ReLU(), nn.Linear(4, 2))


def go(model: nn.Module, seed: int) -> None:
    torch.manual_seed(seed)
    model(torch.randn(6, 5)).square().sum().backward()


def test_it_does_as_the_optimiser_of_the_library() -> None:
    ours, theirs = net(), net()
    adam, other = Adam(ours, 0.01), torch.optim.Adam(theirs.parameters(), lr=0.01)
    for step in range(20):
        adam.clear()
        other.zero_grad()
        for model in (ours, theirs):
            go(model, step)
        adam.step()
        other.step()
    for a, b in zip(ours.parameters(), theirs.parameters(), strict=True):
        torch.testing.assert_close(a, b)


def test_the_flat_gradient_is_that_of_the_parameters_and_is_cleared() -> None:
    model = net()
    adam = Adam(model, 0.01)
    go(model, 0)
    flat = torch.cat([p.grad.reshape(-1) for p in model.parameters() if p.grad is not None])
    assert torch.equal(flat, adam.gradient)
    assert (flat != 0).any()
    adam.clear()
    assert all(p.grad is not None and (p.grad == 0).all() for p in model.parameters())


def test_it_goes_on_from_saved_state_bit_for_bit() -> None:
    model = net()
    adam = Adam(model, 0.01)
    for step in range(3):
        adam.clear()
        go(model, step)
        adam.step()
    twin = net()
    twin.load_state_dict(copy.deepcopy(model.state_dict()))
    other = Adam(twin, 0.01)
    other.restore(adam.arrays())
    for one, optimiser in ((model, adam), (twin, other)):
        optimiser.clear()
        go(one, 9)
        optimiser.step()
    for a, b in zip(model.parameters(), twin.parameters(), strict=True):
        assert torch.equal(a, b)
    for name, array in adam.arrays().items():
        np.testing.assert_array_equal(array, other.arrays()[name])

"""Bottoms: factorisation machine and cross layers to the digit, and what stands beside what."""

import itertools

import pytest
import torch

from stream_mtl.errors import ConfigError
from stream_mtl.learn.bottom import INTERACTIONS, Layout
from stream_mtl.learn.dcn import CrossMatrix, CrossVector, Dcn
from stream_mtl.learn.deepfm import DeepFm, factorise
from stream_mtl.learn.layers import LayerOptions
from tests.learn.fixtures import fixture, same

OPTIONS = LayerOptions()


def random(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def rows(count: int, width: int) -> torch.Tensor:
    return torch.randn(count, width, generator=random(7))


def test_the_factorisation_machine_is_that_of_deepctr() -> None:
    of = fixture("deepctr_fm")
    same(factorise(of.x).sum(1, keepdim=True), of["out/y"])


def test_the_factorisation_machine_is_the_sum_over_all_pairs() -> None:
    vectors = torch.randn(6, 5, 3, generator=random(), dtype=torch.double)
    pairs = [vectors[:, i] * vectors[:, j] for i, j in itertools.combinations(range(5), 2)]
    torch.testing.assert_close(factorise(vectors), torch.stack(pairs).sum(0))


@pytest.mark.parametrize("name", ["vector", "matrix"])
def test_cross_layers_are_those_of_deepctr(name: str) -> None:
    of = fixture(f"deepctr_cross_{name}")
    kernels, bias = torch.from_numpy(of["w/kernels"]), torch.from_numpy(of["w/bias"])
    ours = (CrossVector if name == "vector" else CrossMatrix)(12, 3, random()).double()
    with torch.no_grad():
        ours.weight.copy_(kernels.squeeze(2) if name == "vector" else kernels.transpose(1, 2))
        ours.bias.copy_(bias.squeeze(2))
    same(ours(of.x), of["out/y"])


@pytest.mark.parametrize("name", ["vector", "matrix"])
def test_a_cross_layer_is_its_formula(name: str) -> None:
    ours = (CrossVector if name == "vector" else CrossMatrix)(4, 1, random())
    with torch.no_grad():
        ours.bias.normal_(generator=random(1))
    x = rows(5, 4)
    for i in range(5):
        if name == "vector":
            expected = x[i] * torch.dot(x[i], ours.weight[0]) + ours.bias[0] + x[i]
        else:
            expected = x[i] * (x[i] @ ours.weight[0] + ours.bias[0]) + x[i]
        torch.testing.assert_close(ours(x)[i], expected)


@pytest.mark.parametrize("numbers", [0, 3])
def test_deepfm_lays_layers_pairs_and_first_order_beside_each_other(numbers: int) -> None:
    ours = DeepFm(8 + numbers, (4, 4), (6, 5), OPTIONS, random())
    x = rows(7, 8 + numbers)
    found = ours(x)
    assert found.shape == (7, ours.width) == (7, 5 + 4 + 1)
    torch.testing.assert_close(found[:, :5], ours.deep(x))
    vectors = [x[:, :4], x[:, 4:8], *(x[:, 8 + i : 9 + i] * ours.numbers[i] for i in range(numbers))]
    pairs = [a * b for a, b in itertools.combinations(vectors, 2)]
    torch.testing.assert_close(found[:, 5:9], torch.stack(pairs).sum(0))
    torch.testing.assert_close(found[:, 9:], ours.first(x).squeeze(1))


def test_deepfm_refuses_embeddings_of_several_widths() -> None:
    with pytest.raises(ConfigError, match="4, 8"):
        DeepFm(12, (4, 8), (6,), OPTIONS, random())


@pytest.mark.parametrize("widths", [(), (6, 5)])
def test_dcn_lays_crosses_and_layers_beside_each_other(widths: tuple[int, ...]) -> None:
    ours = Dcn(CrossMatrix(9, 2, random()), 9, widths, OPTIONS, random())
    x = rows(4, 9)
    assert ours.width == 9 + (5 if widths else 0)
    torch.testing.assert_close(ours(x)[:, :9], ours.cross(x))
    if ours.deep is not None:
        torch.testing.assert_close(ours(x)[:, 9:], ours.deep(x))


@pytest.mark.parametrize("name", INTERACTIONS)
def test_every_bottom_is_as_wide_as_it_says_and_takes_one_row(name: str) -> None:
    for widths in ((), (6,)):
        ours = INTERACTIONS[name](Layout(10, (4, 4)), widths, 2, OPTIONS, random())
        for count in (1, 3):
            assert ours(rows(count, 10)).shape == (count, ours.width)


def test_a_bottom_without_layers_or_interaction_is_the_identity() -> None:
    ours = INTERACTIONS["none"](Layout(10, ()), (), 2, OPTIONS, random())
    torch.testing.assert_close(ours(rows(3, 10)), rows(3, 10))

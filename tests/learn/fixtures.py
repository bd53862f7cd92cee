"""Reference implementations' numbers, and their weights laid into ours.

They lie in `shared/parity`, beside the checkout; where they do not, the tests that need them are skipped, and say so.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

FOLDER = Path(__file__).parents[3] / "shared/parity"


class Fixture:
    """The arrays of one reference run."""

    def __init__(self, arrays: Mapping[str, np.ndarray]) -> None:
        self._arrays = dict(arrays)
        self.config: Any = json.loads(str(arrays["config"])) if "config" in arrays else {}

    def __getitem__(self, name: str) -> np.ndarray:
        return self._arrays[name].astype(np.float64)

    @property
    def x(self) -> Tensor:
        """The model's input: given as such, or all embeddings in order and then the numbers."""
        if "in/x" in self._arrays:
            return torch.from_numpy(self["in/x"])
        sparse = self._arrays["in/sparse"]
        tables = [name for name in self._arrays if name.startswith("w/embed")]
        parts = [self[name][sparse[:, i]] for i, name in enumerate(tables)]
        if "in/dense" in self._arrays:
            parts.append(self["in/dense"])
        return torch.from_numpy(np.concatenate(parts, axis=1))

    @property
    def y(self) -> Tensor:
        """The labels."""
        return torch.from_numpy(self["in/y"])


def fixture(name: str) -> Fixture:
    """Return a reference run, or skip the test."""
    file = FOLDER / f"{name}.npz"
    if not file.is_file():
        pytest.skip(f"no reference numbers: {file} is not there")
    with np.load(file) as arrays:
        return Fixture(arrays)


class Laid:
    """One of our parameters (or a part of it), where a reference weight was put: its gradient is to be the other's."""

    def __init__(self, into: Tensor, part: Any, name: str, turned: bool, scale: float | np.ndarray) -> None:
        self.into, self.part, self.name, self.turned, self.scale = into, part, name, turned, scale


class Weights:
    """Puts reference weights into our parameters and remembers where, to compare gradients."""

    def __init__(self, of: Fixture) -> None:
        self.of = of
        self._laid: list[Laid] = []

    def put(
        self,
        into: Tensor,
        part: Any,
        name: str,
        turned: bool = False,
        scale: float | np.ndarray = 1.0,
        shift: float | np.ndarray = 0.0,
    ) -> None:
        """Put `w/name`, transposed if `turned`, times `scale` (by output), plus `shift`."""
        value = self.of[f"w/{name}"]
        value = (value.T if turned else value) * scale + shift
        with torch.no_grad():
            into[part] = torch.from_numpy(np.ascontiguousarray(value))
        self._laid.append(Laid(into, part, name, turned, scale))

    def linear(self, into: Any, block: int, name: str) -> None:
        """Put a linear layer into one of our blocks."""
        self.put(into.weight, block, f"{name}.weight", turned=True)
        self.put(into.bias, block, f"{name}.bias")

    def head(self, into: Any, row: int, name: str) -> None:
        """Put a linear layer of one output into one of our heads."""
        self.put(into.weight, slice(row, row + 1), f"{name}.weight")
        self.put(into.bias, slice(row, row + 1), f"{name}.bias")

    def norm(self, into: Any, block: int, name: str) -> None:
        """Put a batch norm into one block of ours."""
        width = len(self.of[f"w/{name}.weight"])
        part = slice(block * width, (block + 1) * width)
        self.put(into.weight, part, f"{name}.weight")
        self.put(into.bias, part, f"{name}.bias")
        with torch.no_grad():
            into.mean[part] = torch.from_numpy(self.of[f"w/{name}.running_mean"])
            into.var[part] = torch.from_numpy(self.of[f"w/{name}.running_var"])

    def folded(self, into: Any, block: int, name: str, norm: str) -> None:
        """Put a linear layer with the batch norm behind it, in evaluation mode, as one linear layer."""
        scale = self.of[f"w/{norm}.weight"] / np.sqrt(self.of[f"w/{norm}.running_var"] + 1e-5)
        shift = self.of[f"w/{norm}.bias"] - self.of[f"w/{norm}.running_mean"] * scale
        self.put(into.weight, block, f"{name}.weight", turned=True, scale=scale)
        self.put(into.bias, block, f"{name}.bias", scale=scale, shift=shift)

    def gradients(self) -> Iterator[tuple[str, np.ndarray, np.ndarray]]:
        """Give name, our gradient and the reference's, of every weight that was put."""
        for laid in self._laid:
            assert laid.into.grad is not None, laid.name
            ours = laid.into.grad[laid.part].numpy() * laid.scale
            yield laid.name, ours.T if laid.turned else ours, self.of[f"g/{laid.name}"]


def check(weights: Weights, logits: Sequence[Tensor], losses: Sequence[Tensor]) -> None:
    """Assert that logits, losses and the gradients of all weights are the reference's within 1e-5."""
    of = weights.of
    np.testing.assert_allclose(torch.stack(list(logits), 1).detach(), of["out/logit"], atol=1e-5)
    total: Any = torch.stack(list(losses))
    np.testing.assert_allclose(total.detach(), of["loss/tasks"], atol=1e-5)
    total.sum().backward()
    for name, ours, theirs in weights.gradients():
        np.testing.assert_allclose(ours, theirs, atol=1e-5, err_msg=name)


def same(ours: Tensor, theirs: np.ndarray) -> None:
    """Assert that an intermediate value is the reference's within 1e-5."""
    np.testing.assert_allclose(ours.detach().numpy(), theirs, atol=1e-5)

"""How the losses of the lessons are weighed against each other, and sent back through the model."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

import numpy.typing as npt
from torch import Tensor


class Balance(Protocol):
    """Sends losses back. A method may keep state; what it keeps must be saved."""

    def backward(
        self, losses: Mapping[str, Tensor], present: frozenset[str], shared: Sequence[Tensor]
    ) -> None:
        """Leave the gradient of all lessons together in the leaves.

        `present` are the lessons that told any row; `shared` the leaves that several lessons train: the rows of
        the embeddings first, then the weights of the sharing part in order.
        """

    def arrays(self) -> dict[str, npt.NDArray[Any]]:
        """Return the state by name, to be saved."""

    def restore(self, arrays: Mapping[str, npt.NDArray[Any]]) -> None:
        """Take back what `arrays` gave."""


class Fixed:
    """The sum of the losses, each by its weight."""

    def __init__(self, weights: Mapping[str, float]) -> None:
        self._weights = dict(weights)

    def backward(
        self, losses: Mapping[str, Tensor], present: frozenset[str], shared: Sequence[Tensor]
    ) -> None:
        """Send the weighted sum back."""
        total: Any = sum(self._weights.get(name, 1.0) * loss for name, loss in losses.items())
        total.backward()

    def arrays(self) -> dict[str, npt.NDArray[Any]]:
        """Return nothing: there is no state."""
        return {}

    def restore(self, arrays: Mapping[str, npt.NDArray[Any]]) -> None:
        """Do nothing."""


BALANCES: Mapping[str, Callable[[Mapping[str, float]], Balance]] = {"fixed": Fixed}
"""Every way by its name; made from the weight of each lesson."""

"""ESCM2 and its plainer kin: losses on a conditional probability beside ESMM's product.

With e the loss of the conditional logit on a row where the task before it happened (O = 1), q = max(P(O), FLOOR) a
constant, and means over all exposures (`denominator = "rows"`):

- clicks: O e, the loss on clicks only.
- ips: O e / q, inverse propensity scoring (Wang et al., SIGIR 2022): in expectation the loss over all exposures.
- dr: d + O (e - d) / q + O (e - d)^2 / q, doubly robust: d >= 0 is the loss imputed by a tower of its own, the last term
  teaches it. An exposure that is told several times (corrections of delayed feedback) counts d each time.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TypeAlias

from torch import Tensor
from torch.nn.functional import softplus

FLOOR = 0.02
"""A propensity is taken for no less, or a few rows would be all that is learned from."""

Made: TypeAlias = tuple[Tensor, Tensor | None]
"""Loss of rows where the task is defined, and what is added to the loss of all exposures; (B,) each."""


@dataclass(frozen=True, slots=True)
class Conditional:
    """A loss on the conditional probability."""

    made: Callable[[Tensor, Tensor, Tensor | None], Made]
    imputes: bool = False  # whether it wants the imputed loss

    def __call__(self, loss: Tensor, reach: Tensor, imputed: Tensor | None) -> Made:
        """Return it from the row's loss, the constant probability that the task is defined, and the imputed loss."""
        return self.made(loss, reach.clamp(min=FLOOR), imputed)


def _clicks(loss: Tensor, reach: Tensor, imputed: Tensor | None) -> Made:
    return loss, None


def _ips(loss: Tensor, reach: Tensor, imputed: Tensor | None) -> Made:
    return loss / reach, None


def _dr(loss: Tensor, reach: Tensor, imputed: Tensor | None) -> Made:
    assert imputed is not None
    guess = softplus(imputed)
    wrong = loss - guess
    return (wrong + wrong.square()) / reach, guess


CONDITIONALS: Mapping[str, Conditional | None] = {
    "none": None,
    "clicks": Conditional(_clicks),
    "ips": Conditional(_ips),
    "dr": Conditional(_dr, imputes=True),
}
"""The loss on the conditional probability, by name; none is ESMM's."""


def imputed_name(task: str) -> str:
    """Return the name of the imputed loss of a task."""
    return f"imputed.{task}"

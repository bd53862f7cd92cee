"""ESCM2 and its plainer kin: losses on a conditional probability beside ESMM's product.

With e the loss of the conditional logit on a row where the task before it happened (O = 1), q = max(P(O), FLOOR) a
constant, and means over all exposures (`denominator = "rows"`):

- clicks: O e, the loss on clicks only.
- ips: O e / q, inverse propensity scoring (Wang et al., SIGIR 2022): in expectation the loss over all exposures.
- dr: d + O (e - d) / q, doubly robust: d = cross_entropy(b, r), with b the conditional logit, is the loss imputed by a tower
  of its own, which says a label r (here a constant) where none is known. O (e - d)^2 / q, in which all but r is a constant,
  teaches that tower (joint learning, Wang et al., ICML 2019). Were they not constants, the squares would pull b away from
  the true rate. An exposure that is told several times (corrections of delayed feedback) counts d each time.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TypeAlias

from torch import Tensor

from stream_mtl.label.base import cross_entropy

FLOOR = 0.02
"""A propensity is taken for no less, or a few rows would be all that is learned from."""

Made: TypeAlias = tuple[Tensor, Tensor | None]
"""Loss of rows where the task is defined, and what is added to the loss of all exposures; (B,) each."""


Rule: TypeAlias = Callable[[Tensor, Tensor, Tensor, Tensor | None], Made]


@dataclass(frozen=True, slots=True)
class Conditional:
    """A loss on the conditional probability."""

    made: Rule
    imputes: bool = False  # whether it wants an imputed label

    def __call__(self, loss: Tensor, reach: Tensor, logit: Tensor, imputed: Tensor | None) -> Made:
        """Return it from the row's loss, the constant probability that the task is defined, and two logits. (B,) each

        These are that of the conditional probability, and that of the imputed label.
        """
        return self.made(loss, reach.clamp(min=FLOOR), logit, imputed)


def _clicks(loss: Tensor, reach: Tensor, logit: Tensor, imputed: Tensor | None) -> Made:
    return loss, None


def _ips(loss: Tensor, reach: Tensor, logit: Tensor, imputed: Tensor | None) -> Made:
    return loss / reach, None


def _dr(loss: Tensor, reach: Tensor, logit: Tensor, imputed: Tensor | None) -> Made:
    assert imputed is not None
    guess = cross_entropy(logit, imputed.sigmoid().detach())
    missed = (loss.detach() - cross_entropy(logit.detach(), imputed.sigmoid())).square()
    return (loss - guess + missed) / reach, guess


CONDITIONALS: Mapping[str, Conditional | None] = {
    "none": None,
    "clicks": Conditional(_clicks),
    "ips": Conditional(_ips),
    "dr": Conditional(_dr, imputes=True),
}
"""The loss on the conditional probability, by name; none is ESMM's."""


def imputed_name(task: str) -> str:
    """Return the name of the imputed label's logit."""
    return f"imputed.{task}"

"""Fake negatives, taken back (PU): the correction that says yes also retracts the no that was told before.

Positive-unlabelled learning as in Ktena et al., RecSys 2019. The fixed point is the true rate, without weights and
without further logits. The loss has no lower bound: a row of it alone drives its logit up without end, at a slope
of -1, so clip the gradient's norm where steps are large.
"""

from dataclasses import dataclass

from stream_mtl.label.base import Reading, Tensor, negative_log_not
from stream_mtl.label.fnw import FakeNegatives


@dataclass(frozen=True)
class Retraction(FakeNegatives):
    """No waiting at all, one correction for every event, which takes the negative back."""

    def loss(self, reading: Reading) -> Tensor:
        """Return v (-log f + log(1 - f)) + (1 - v)(-log(1 - f)); the first bracket is the logit, negated. (n,)"""
        return (1 - reading.label) * negative_log_not(reading.logit) - reading.label * reading.logit

"""Four weights (DEFUSE): early and late events, real and fake negatives each by their own, the last two latent.

Chen et al., WWW 2022. On the stream of `es_dfm`, an observed negative is a fake one by the share z = 1 - rn, and then
teaches dp of a positive. Late and fake together weigh dp (1 + dp), so that everything is scaled by 1 + dp, and the
fixed point is the true rate. The paper's code gives every positive 2 + dp, which is biased; ours tells an early
from a late one by its kind.
"""

from dataclasses import dataclass

from stream_mtl.label.base import Kind, Reading, Tensor, negative_log, negative_log_not
from stream_mtl.label.es_dfm import ElapsedSampling
from stream_mtl.label.heads import late_share, real_share


@dataclass(frozen=True)
class Defuse(ElapsedSampling):
    """One look, one correction for every late event, weights by kind."""

    def told_loss(self, reading: Reading) -> Tensor:
        """Return, with weights that are constant, (n,):

        IP: (1 + dp)(-log f). DP: -log f. ON: z dp (-log f) + (1 - z)(1 + dp)(-log(1 - f)).
        """
        dp = late_share(reading)
        real = real_share(reading, dp)
        come = 1 + dp * (reading.kind != Kind.DP)
        positive = reading.label * come + (1 - reading.label) * (1 - real) * dp
        negative = (1 - reading.label) * real * (1 + dp)
        return positive * negative_log(reading.logit) + negative * negative_log_not(reading.logit)

"""What the calibration will be once every label is in, from the delays at which labels came before.

Clocks that started in the same cell of time are a cohort; lag l of an event is how many borders of cells lie between its
clock's start and the row of the log that first told of it. With p the served scores, and

    D(l)   events of cohorts whose last label is in, by lag; M their number
    F(j)   = sum of D(l) over l <= j, / M: the share of all events that have been told at lag j
    P(c)   = sum of p over the clocks of cohort c; Q(c) = sum of p^2; j(c) its age in whole cells
    Y(c)   events of cohort c that were told by then

the promises foresee  E = sum over c of P(c) F(j(c))  events so far, and  O = sum of Y(c)  were told. The estimate of the final
calibration, predicted over observed, is  r = E / O.

F is the empirical distribution of the delay over whole cohorts, so nothing is censored in it: where every clock is watched
to its end, the product-limit estimate (Kaplan and Meier, J. Am. Stat. Assoc. 53, 1958) is just this share. E / O is the
inverse of a standardised ratio of observed to expected counts (Breslow and Day, Statistical Methods in Cancer Research II,
1987, chapter 2), the expected ones thinned by the share reported so far as in the correction of incidence for reporting
delay (Brookmeyer and Damiano, Stat. Med. 8, 1989; Lawless, Can. J. Stat. 22, 1994). Cells by cohort and lag are the run-off
triangle of the chain ladder.

Its standard error, of log r, adds two independent parts (delta method):

    of O    (1 - sum of Q(c) F(j(c))^2 / (r^2 O)) / O            each event a yes or no of probability p F / r
    of F    (sum of D(l) S(l)^2 / M - E^2) / (M E^2)              S(l) = sum of P(c) over cohorts with j(c) >= l

for E is the mean of S over the M delays. The interval is r exp(-+ 1.96 times it). It rests on two things: that delays are
now what they were in the cohorts whose labels are all in (a delay that grows looks like a rate that falls), and that clocks
go their own ways: clocks of one person that convert together make it too narrow.
"""

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]

LEAST_DELAYS = 50
"""Events of whole cohorts below which the delays are not known well enough."""
LEAST_KNOWN = 10
"""Events told so far below which their number says too little: the logarithm of a smaller count is far from normal."""
Z = 1.96
"""Standard errors on either side: 95 %."""


@dataclass(frozen=True, slots=True)
class Seen:
    """Cohorts of clocks, and what is known of them. (m,) each."""

    clocks: Array  # how many
    promised: Array  # sum of the scores
    squared: Array  # sum of their squares
    known: Array  # events told so far
    lag: npt.NDArray[np.int64]  # age in whole cells; the greatest there is where every label is in
    age: Array  # ms, in the mean


@dataclass(frozen=True, slots=True)
class Estimate:
    """What is to be expected once every label is in."""

    ratio: float  # predicted over observed
    low: float
    high: float  # the interval of 95 %
    error: float  # standard error of the ratio's logarithm
    complete: float  # share of their events that clocks of these ages have told, in the mean over the scores


def delayed(delays: Array) -> Array | None:
    """Return the share of events that were told at each lag, (lags,); None if there are too few events.

    `delays` are D, (lags,). A label that is taken back counts -1 at its own lag, so shares may pass 1 on the way.
    """
    total = float(delays.sum())
    return np.cumsum(delays) / total if total >= LEAST_DELAYS else None


def estimate(seen: Seen, delays: Array) -> Estimate | None:
    """Return the delay-corrected calibration of these clocks; None where too little is known for one."""
    share = delayed(delays)
    known = float(seen.known.sum())
    if share is None or known < LEAST_KNOWN:
        return None
    now = share[seen.lag]
    expected = float(seen.promised @ now)
    if expected <= 0:
        return None
    ratio = expected / known
    of_known = max(1 - float(seen.squared @ np.square(now)) / (ratio**2 * known), 0.0) / known
    error = math.sqrt(of_known + _of_delays(seen, delays, expected))
    reach = math.exp(Z * error)
    return Estimate(ratio, ratio / reach, ratio * reach, error, expected / float(seen.promised.sum()))


def _of_delays(seen: Seen, delays: Array, expected: float) -> float:
    """Return the part of the squared error that comes from F. Labels taken back are reckoned as delays of their own."""
    total = float(delays.sum())
    at_lag = np.bincount(seen.lag, seen.promised, len(delays))
    beyond = np.cumsum(at_lag[::-1])[::-1]  # S, (lags,)
    square = float(np.abs(delays) @ np.square(beyond)) / total
    return max(square - expected**2, 0.0) / (total * expected**2)

"""Readings: what a board says at one moment, in plain types that are written as JSON and read by every view."""

import math
from collections.abc import Mapping

import msgspec

from stream_mtl import measures
from stream_mtl.clock import Millis

LIFE = "life"
"""The view of everything since the beginning of the log."""
WAITING = "waiting"
"""The view of all clocks whose cohort is not final yet."""
SO_FAR = "so far"
"""The horizon of the proxy of what is known now, of clocks of every age."""


class Reading(msgspec.Struct, frozen=True, omit_defaults=True):
    """Every value over some examples; None (absent in JSON) where it is not defined for them, or for the task."""

    examples: int
    upto: Millis  # event time: every label told before it is in, none told later
    predicted: float | None = None  # mean
    observed: float | None = None  # mean
    calibration: float | None = None  # predicted / observed: above 1 promises too much
    log_loss: float | None = None
    base_log_loss: float | None = None
    normalised_entropy: float | None = None  # below 1 beats the base rate
    auc: float | None = None
    expected_calibration_error: float | None = None
    mean_absolute_error: float | None = None
    root_mean_squared_error: float | None = None
    explained: float | None = None


class ReliabilityPoint(msgspec.Struct, frozen=True):
    """A group of examples of similar predictions."""

    count: int
    predicted: float  # mean
    observed: float  # mean


class Maturity(msgspec.Struct, frozen=True):
    """How mature the labels of one output are."""

    waiting: int | None  # served exposures whose label is not final yet; None: the log does not tell of them
    newest_age: Millis | None  # event time since the newest exposure that is counted was shown; None: none is
    shares: dict[
        str, float
    ]  # by window: of the exposures whose clock started in it, those whose label is final


class Proxy(msgspec.Struct, frozen=True, tag="proxy", tag_field="maturity"):
    """Served scores beside the labels known by a horizon. NOT final: what comes later is missing, so it reads too high."""

    horizon: Millis  # how long after the clock's start; of clocks of every age ("so far") their mean age
    examples: int
    predicted: float  # mean
    known: float  # events known by then, as a share of the examples
    calibration: float | None  # predicted / known


class Corrected(msgspec.Struct, frozen=True, tag="corrected", tag_field="maturity"):
    """An estimate of what the calibration will be once every label is in (`watch/corrected.py` has the formula)."""

    examples: int
    upto: Millis  # event time: what was told before it is known
    calibration: float  # predicted / observed, expected of the final labels
    low: float
    high: float  # the interval of 95 %
    standard_error: float  # of the calibration's logarithm
    predicted: float  # mean
    complete: float  # share of their events that should have come by now
    delays: int  # events with a final label from which the delays are known


class OutputReadings(msgspec.Struct, frozen=True):
    """What is known of one output. A reading of too few examples is not there.

    `views`, `reliability`, `snapshots` and `slices` are of final labels only; `proxy` and `corrected` are not.
    """

    views: dict[str, Reading]  # "life", and by window: "1h", "24h"
    reliability: list[ReliabilityPoint]  # over the life, groups of about equally many examples
    snapshots: dict[str, Reading]  # by version, the oldest first; what is before the newest is under "older"
    slices: dict[str, dict[str, Reading]]  # by field and value; values beyond the limit are under "other"
    ripe_before: Millis | None  # every exposure shown before it is counted; None: nothing was told yet
    unserved: int  # final labels of exposures for which no score was served
    impossible: int  # scores that were no probability, or no number
    maturity: Maturity | None = None
    proxy: Mapping[str, Mapping[str, Proxy]] = {}  # by horizon ("15m", "so far") and view
    corrected: Mapping[str, Corrected] = {}  # by view: "waiting" (all that wait), and by window
    uncorrected: str | None = None  # why there is no estimate of what waits

    @property
    def sharpest(self) -> str | None:
        """The view of the estimate that is to be shown where there is room for one: the first window's that has one."""
        return next((view for view in self.corrected if view != WAITING), WAITING if self.corrected else None)


class Readings(msgspec.Struct, frozen=True):
    """What a board says."""

    told_before: Millis | None  # event time: every label told before it is in; None: nothing was told yet
    outputs: dict[str, OutputReadings]


def reading_of(sums: measures.Sums, upto: Millis) -> Reading:
    """Return the values of sums."""
    values = {name: value for name, value in measures.reading(sums).items() if _is_finite(value)}
    known = {name: value for name, value in values.items() if name in Reading.__struct_fields__}
    return Reading(upto=upto, **known)  # type: ignore[arg-type]


def reliability_of(sums: measures.Sums, bins: int) -> list[ReliabilityPoint]:
    """Return the reliability diagram of a yes-or-no task; of a value there is none."""
    if not isinstance(sums, measures.BinarySums):
        return []
    groups = measures.equal_mass(sums, bins)
    return [ReliabilityPoint(group.count, group.predicted, group.observed) for group in groups]


def _is_finite(value: float | None) -> bool:
    return value is not None and math.isfinite(value)

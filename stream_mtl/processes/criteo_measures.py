"""Exact measures of one hour's predictions, and their mean over hours by the hours' rows.

That is how the ES-DFM code scores a stream (Yang et al., AAAI 2021): the AUC is one within an hour, which is not the
AUC of all. An hour of one class has none; there that fails, here the hour is left out of every mean, and counted.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from stream_mtl.measures import CLIP

Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]
MEASURES = ("auc", "pr_auc_trapezoid", "average_precision", "nll")


@dataclass(slots=True)
class HourlyMeans:
    """Measures of hours, weighted by the hours' rows."""

    hours: int = 0
    rows: int = 0
    one_class: int = 0  # hours that were left out: all of one class, or empty
    predicted: float = 0.0  # sum, of hours that count
    observed: int = 0
    _sums: dict[str, float] = field(default_factory=lambda: dict.fromkeys(MEASURES, 0.0))

    def add(self, probability: npt.NDArray[np.float32], label: Bools) -> None:
        """Take one hour: probabilities and final labels, (n,) each."""
        rows, positives = len(label), int(label.sum())
        if positives in (0, rows):
            self.one_class += 1
            return
        found = hour(probability.astype(np.float64), label)
        for name in MEASURES:
            self._sums[name] += rows * found[name]
        self.hours += 1
        self.rows += rows
        self.predicted += float(probability.sum(dtype=np.float64))
        self.observed += positives

    @property
    def means(self) -> dict[str, float | None]:
        """Every measure, and predicted over observed; None where no hour counts."""
        if not self.hours:
            return dict.fromkeys((*MEASURES, "calibration"))
        means: dict[str, float | None] = {name: self._sums[name] / self.rows for name in MEASURES}
        return means | {"calibration": self.predicted / self.observed}


def hour(probability: Floats, label: Bools) -> dict[str, float]:
    """Return the measures of predictions, (n,), of which some are positive and some are not."""
    curve = curve_of(probability, label)
    return {
        "auc": _roc(curve),
        "pr_auc_trapezoid": trapezoid(curve),
        "average_precision": average_precision(curve),
        "nll": log_loss(probability, label),
    }


def improvement(value: float | None, zero: float | None, one: float | None) -> float | None:
    """Return how far a value is on the way from one reference to the other (ES-DFM: Vanilla 0, Oracle 1)."""
    if value is None or zero is None or one is None or one == zero:
        return None
    return (value - zero) / (one - zero)


def improvements(
    means: Mapping[str, float | None], zero: Mapping[str, float | None], one: Mapping[str, float | None]
) -> dict[str, float | None]:
    """Return `improvement` of every measure."""
    return {name: improvement(means[name], zero[name], one[name]) for name in MEASURES}


@dataclass(frozen=True, slots=True)
class Curve:
    """Rows at or above each distinct prediction, the highest first. (k,) each"""

    true: Floats  # positives
    false: Floats


def curve_of(probability: Floats, label: Bools) -> Curve:
    """Return the curve of predictions, (n,); equal predictions share a point."""
    order = np.argsort(-probability, kind="stable")
    sorted_ = probability[order]
    last = np.append(np.flatnonzero(np.diff(sorted_)), len(sorted_) - 1)
    true = np.cumsum(label[order], dtype=np.float64)[last]
    return Curve(true, last + 1.0 - true)


def trapezoid(curve: Curve) -> float:
    """Return the area under the line through (recall, precision), beginning at (0, 1).

    As `auc(recall, precision)` of scikit-learn's `precision_recall_curve`: too high, for precision is not linear
    between points (Davis and Goadrich, ICML 2006).
    """
    recall, precision = _recall_precision(curve)
    before = np.concatenate([[1.0], precision[:-1]])
    return float((np.diff(recall, prepend=0.0) * (precision + before) / 2).sum())


def average_precision(curve: Curve) -> float:
    """Return the sum over points of precision times the recall that is gained there."""
    recall, precision = _recall_precision(curve)
    return float((np.diff(recall, prepend=0.0) * precision).sum())


def log_loss(probability: Floats, label: Bools) -> float:
    """Return the mean log loss, probabilities clipped to [1e-7, 1 - 1e-7]."""
    clipped = np.clip(probability, CLIP, 1 - CLIP)
    return float(-np.log(np.where(label, clipped, 1 - clipped)).mean())


def _recall_precision(curve: Curve) -> tuple[Floats, Floats]:
    return curve.true / curve.true[-1], curve.true / (curve.true + curve.false)


def _roc(curve: Curve) -> float:
    """Return the probability that a positive is predicted above a negative; equal ones count half."""
    false = np.diff(curve.false, prepend=0.0)
    before = np.concatenate([[0.0], curve.true[:-1]])
    area = float((false * (curve.true + before) / 2).sum())
    return area / float(curve.true[-1] * curve.false[-1])

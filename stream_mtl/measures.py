"""Was it right, in sums: one pure function from predictions to sums, one from sums to each value. Sums add.

Windows, workers, tasks and restarts come for free: add sums, subtract what left the window, save the arrays.
A value that is not defined (no example, no positive, one class only) is None.
"""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, Self, TypeAlias

import numpy as np
import numpy.typing as npt

Array: TypeAlias = npt.NDArray[Any]

BINS = 4096
"""Bins of predicted probability, of equal width in the logit."""
REACH = 12.0
"""The bins cover logits of -REACH to REACH (6e-6 to 1 - 6e-6), 0.006 each; the outer ones take what is beyond."""
CLIP = 1e-7
"""Probabilities are clipped to [CLIP, 1 - CLIP] before the logarithm of the log loss."""


class _Sums:
    """What adds field by field."""

    def __add__(self, other: Self) -> Self:
        return type(self)(*(getattr(self, f.name) + getattr(other, f.name) for f in fields(self)))  # type: ignore[arg-type]

    def __sub__(self, other: Self) -> Self:
        return type(self)(*(getattr(self, f.name) - getattr(other, f.name) for f in fields(self)))  # type: ignore[arg-type]

    def arrays(self) -> dict[str, Array]:
        """Return the sums by name, to be saved."""
        return {f.name: getattr(self, f.name) for f in fields(self)}  # type: ignore[arg-type]

    @classmethod
    def of_arrays(cls, arrays: Mapping[str, Array]) -> Self:
        """Take back what `arrays` gave. Raises KeyError if a sum is missing."""
        return cls(*(np.array(arrays[f.name]) for f in fields(cls)))  # type: ignore[arg-type]


@dataclass(frozen=True, slots=True, eq=False)
class BinarySums(_Sums):
    """Sums over examples of a yes-or-no task."""

    counts: Array  # (2, BINS) int64: examples by label and by bin of the prediction
    predicted: Array  # (BINS,) sum of the predicted probabilities
    loss: Array  # () sum of the log losses

    @classmethod
    def nothing(cls) -> Self:
        """Return the sums of no examples."""
        return cls(np.zeros((2, BINS), np.int64), np.zeros(BINS), np.zeros(()))

    @classmethod
    def of(cls, probability: Array, label: Array) -> Self:
        """Return the sums of examples: probabilities in [0, 1] and labels 0 or 1, (n,) each.

        Raises ValueError for a prediction that is no probability.
        """
        p = np.asarray(probability, np.float64)
        if not ((p >= 0) & (p <= 1)).all():
            raise ValueError("a prediction is outside [0, 1] or not a number")
        yes = np.asarray(label) == 1
        bins = _bins(p)
        clipped = np.clip(p, CLIP, 1 - CLIP)
        loss = -np.log(np.where(yes, clipped, 1 - clipped)).sum()
        counts = np.bincount(bins + BINS * yes, minlength=2 * BINS).reshape(2, BINS)
        return cls(counts, np.bincount(bins, p, BINS), np.asarray(loss))


@dataclass(frozen=True, slots=True, eq=False)
class ValueSums(_Sums):
    """Sums over examples of a value task. All ()."""

    count: Array
    predicted: Array
    observed: Array
    observed_squared: Array
    squared_error: Array
    absolute_error: Array

    @classmethod
    def nothing(cls) -> Self:
        """Return the sums of no examples."""
        return cls(*(np.zeros(()) for _ in range(6)))

    @classmethod
    def of(cls, prediction: Array, value: Array) -> Self:
        """Return the sums of examples: predicted and observed values, (n,) each."""
        y, error = np.asarray(value, np.float64), np.asarray(prediction, np.float64) - value
        sums = (
            len(y),
            np.sum(y + error),
            y.sum(),
            np.square(y).sum(),
            np.square(error).sum(),
            np.abs(error).sum(),
        )
        return cls(*(np.asarray(one, np.float64) for one in sums))


Sums: TypeAlias = BinarySums | ValueSums
Reading: TypeAlias = dict[str, float | None]
"""Every value that sums give, by its name; None where it is not defined."""


@dataclass(frozen=True, slots=True)
class Group:
    """One point of a reliability diagram."""

    count: int
    predicted: float  # mean predicted probability
    observed: float  # share of positives


def count(sums: Sums) -> int:
    """Return the number of examples."""
    return int(sums.counts.sum() if isinstance(sums, BinarySums) else sums.count)


def observed(sums: Sums) -> float:
    """Return the number of positives, or the sum of the observed values."""
    return float(sums.counts[1].sum() if isinstance(sums, BinarySums) else sums.observed)


def predicted(sums: Sums) -> float:
    """Return the sum of the predictions."""
    return float(sums.predicted.sum())


def calibration(sums: Sums) -> float | None:
    """Return predicted over observed: above 1 the model promises too much (He et al., ADKDD 2014)."""
    return predicted(sums) / observed(sums) if observed(sums) != 0 else None


def positive_rate(sums: BinarySums) -> float | None:
    """Return the share of positives."""
    return observed(sums) / count(sums) if count(sums) else None


def log_loss(sums: BinarySums) -> float | None:
    """Return the mean log loss, natural logarithm."""
    return float(sums.loss) / count(sums) if count(sums) else None


def normalised_entropy(sums: BinarySums) -> float | None:
    """Return the log loss over the entropy of the rate of these same examples: a constant there gives 1."""
    base, loss = base_log_loss(sums), log_loss(sums)
    return loss / base if base and loss is not None else None


def auc(sums: BinarySums) -> float | None:
    """Return the probability that a positive is predicted above a negative; within a bin, half.

    It is off by at most `auc_error`.
    """
    negatives, positives = sums.counts.astype(np.float64)
    if not negatives.sum() or not positives.sum():
        return None
    below = np.cumsum(negatives) - negatives / 2
    return float((positives * below).sum() / (positives.sum() * negatives.sum()))


def auc_error(sums: BinarySums) -> float | None:
    """Return half the share of pairs that fall into one bin: how far `auc` is at most from the exact one."""
    negatives, positives = sums.counts.astype(np.float64)
    if not negatives.sum() or not positives.sum():
        return None
    return float((positives * negatives).sum() / (positives.sum() * negatives.sum()) / 2)


def average_precision(sums: BinarySums) -> float | None:
    """Return the sum over thresholds of precision times the recall gained; predictions of one bin are one threshold."""
    found = _precision_recall(sums)
    return None if found is None else float((found[0] * np.diff(found[1], prepend=0.0)).sum())


def precision_recall_trapezoid(sums: BinarySums) -> float | None:
    """Return the area under precision over recall by the trapezoid rule, from (0, 1) on: above `average_precision`.

    Published tables of delayed-feedback methods name it PR-AUC (reference: es_dfm, DEFUSE).
    """
    found = _precision_recall(sums)
    if found is None:
        return None
    precision, recall = (np.concatenate([[start], one]) for start, one in zip((1.0, 0.0), found, strict=True))
    return float((np.diff(recall) * (precision[1:] + precision[:-1]) / 2).sum())


def _precision_recall(sums: BinarySums) -> tuple[Array, Array] | None:
    """Return precision and recall when all down to each bin that holds any are taken, the highest first."""
    negatives, positives = np.cumsum(sums.counts[:, ::-1], axis=1)
    if not positives[-1]:
        return None
    taken = (negatives + positives)[sums.counts[:, ::-1].any(axis=0)]
    hits = positives[sums.counts[:, ::-1].any(axis=0)]
    return hits / taken, hits / positives[-1]


def equal_mass(sums: BinarySums, groups: int = 10) -> list[Group]:
    """Return a reliability diagram of groups of about equally many examples: neighbouring bins put together."""
    mass = sums.counts.sum(axis=0)
    before = np.cumsum(mass) - mass / 2
    return _groups(sums, (before * groups / max(mass.sum(), 1)).astype(np.int64), groups)


def equal_width(sums: BinarySums, groups: int = 10) -> list[Group]:
    """Return a reliability diagram of groups of equal width in the logit; empty ones are left out."""
    return _groups(sums, np.arange(BINS) * groups // BINS, groups)


def expected_calibration_error(sums: BinarySums, groups: int = 10) -> float | None:
    """Return the mean distance of predicted and observed over groups of equal mass, by their mass."""
    if not count(sums):
        return None
    gaps = [group.count * abs(group.predicted - group.observed) for group in equal_mass(sums, groups)]
    return sum(gaps) / count(sums)


def mean_absolute_error(sums: ValueSums) -> float | None:
    """Return the mean distance of prediction and value."""
    return float(sums.absolute_error / sums.count) if sums.count else None


def root_mean_squared_error(sums: ValueSums) -> float | None:
    """Return the root of the mean squared distance of prediction and value."""
    return float(np.sqrt(sums.squared_error / sums.count)) if sums.count else None


def explained(sums: ValueSums) -> float | None:
    """Return the share of the values' variance that the predictions explain (R squared)."""
    if not sums.count:
        return None
    spread = float(sums.observed_squared - np.square(sums.observed) / sums.count)
    return 1 - float(sums.squared_error) / spread if spread > 0 else None


def since(now: Mapping[str, Sums], before: Mapping[str, Sums]) -> dict[str, Sums]:
    """Return, by name, what was added to the sums since then."""
    return {name: sums - before[name] for name, sums in now.items()}  # type: ignore[operator]


def base_log_loss(sums: BinarySums) -> float | None:
    """Return the log loss of the rate of these same examples, predicted for each: what a model has to beat."""
    rate = positive_rate(sums)
    if rate is None:
        return None
    return 0.0 if rate in (0.0, 1.0) else float(-rate * np.log(rate) - (1 - rate) * np.log1p(-rate))


_MEANS = ("examples", "predicted", "observed", "calibration")
VALUE = (*_MEANS, "mean_absolute_error", "root_mean_squared_error", "explained")
"""The names in a reading of a value task."""
BINARY = (*_MEANS, "log_loss", "base_log_loss", "normalised_entropy", "auc", "expected_calibration_error")
"""The names in a reading of a yes-or-no task."""


def reading(sums: Sums) -> Reading:
    """Return all values of the sums."""
    n = count(sums)
    means = {
        "examples": n,
        "predicted": predicted(sums) / n if n else None,
        "observed": observed(sums) / n if n else None,
        "calibration": calibration(sums),
    }
    if isinstance(sums, ValueSums):
        return means | {
            "mean_absolute_error": mean_absolute_error(sums),
            "root_mean_squared_error": root_mean_squared_error(sums),
            "explained": explained(sums),
        }
    return means | {
        "log_loss": log_loss(sums),
        "base_log_loss": base_log_loss(sums),
        "normalised_entropy": normalised_entropy(sums),
        "auc": auc(sums),
        "expected_calibration_error": expected_calibration_error(sums),
    }


def _bins(probability: npt.NDArray[np.float64]) -> npt.NDArray[np.int64]:
    with np.errstate(divide="ignore"):
        logit = np.log(probability) - np.log1p(-probability)
    place = (np.clip(logit, -REACH, REACH) + REACH) * (BINS / (2 * REACH))
    bins: npt.NDArray[np.int64] = np.minimum(place.astype(np.int64), BINS - 1)
    return bins


def _groups(sums: BinarySums, group: npt.NDArray[np.int64], groups: int) -> list[Group]:
    total = np.bincount(group, sums.counts.sum(axis=0), groups)
    positives = np.bincount(group, sums.counts[1], groups)
    promised = np.bincount(group, sums.predicted, groups)
    return [
        Group(int(n), float(p / n), float(y / n))
        for n, p, y in zip(total, promised, positives, strict=True)
        if n > 0
    ]

"""Ways of treating late labels beside each other: each measure with its intervals, and which way to take.

All are graded on the same exposures. So two ways are compared pair by pair: the interval of their difference is much
narrower than theirs. Best is the least log loss, which pays for a wrong order and for a wrong calibration alike.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from statistics import fmean

from stream_mtl.learn.grades import Marks
from stream_mtl.watch.intervals import Interval, jackknife
from stream_mtl.watch.words import number, ratio

AS_GOOD = 5e-4
"""Log loss by which a way may be behind the best and still count as equal, if chance could have done it too."""
CALIBRATED = 0.05
"""How far a calibration may be from 1 without a warning."""
FEW = 200
"""Positives below which a warning stands beside the recommendation."""


@dataclass(frozen=True, slots=True)
class Contender:
    """One way with one step size; marks by seed."""

    name: str
    marks: Sequence[Marks]
    examples: float  # learned, the mean over seeds
    cpu_seconds: float  # the mean over seeds
    reads_ahead: bool = False  # an oracle: to compare with, nothing to take
    rate: float = 1.0  # factor of the learning rates

    @property
    def log_loss(self) -> float | None:
        """The mean over seeds; None where a seed has none."""
        return _mean([marks.values["log_loss"].whole for marks in self.marks])


@dataclass(frozen=True, slots=True)
class Estimate:
    """A measure, the mean over seeds, and how far it varies."""

    value: float | None
    over_time: Interval | None  # 95 %, by leaving out blocks of time
    over_seeds: Interval | None  # least and greatest; None of one seed
    over_hours: Interval | None  # least and greatest of the hours of the day


@dataclass(frozen=True, slots=True)
class Difference:
    """How much log loss one way has more than another."""

    value: float
    over_time: Interval | None

    @property
    def certain(self) -> bool:
        """Whether chance is unlikely to have done it."""
        return self.over_time is not None and (self.over_time[0] > 0 or self.over_time[1] < 0)


@dataclass(frozen=True, slots=True)
class Recommendation:
    """The way to take, and why; `way` is None where nothing can be said."""

    way: str | None
    reasons: Sequence[str]
    warnings: Sequence[str]


@dataclass(frozen=True, slots=True)
class Backtest:
    """What the recommendation of the first half was worth in the second."""

    way: str  # taken by the first half
    best: str  # of the second
    behind: float  # log loss above the best's, in the second


def backtest(first: Sequence[Contender], second: Sequence[Contender]) -> Backtest | None:
    """Take a way by what was graded in the first half, and look how it did in the second; None where nothing can be said."""
    way = recommend(first).way
    able = [one for one in ranked(second) if not one.reads_ahead and _is_whole(one, second)]
    taken = next((one for one in able if one.name == way), None)
    if taken is None or taken.log_loss is None or able[0].log_loss is None:
        return None
    return Backtest(taken.name, able[0].name, taken.log_loss - able[0].log_loss)


def ranked(contenders: Sequence[Contender]) -> list[Contender]:
    """Return the contenders, the least log loss first; those without one last."""
    return sorted(contenders, key=lambda one: (not _is_whole(one, contenders), one.log_loss or 0.0))


def best_of_rates(contenders: Sequence[Contender]) -> list[Contender]:
    """Return, of the contenders of each name, the one that did best; the names in the order of their first."""
    best: dict[str, Contender] = {}
    for one in ranked(contenders):
        best.setdefault(one.name, one)
    return [best[name] for name in dict.fromkeys(one.name for one in contenders)]


def estimate(contender: Contender, measure: str) -> Estimate:
    """Return one of `grades.MEASURES` of a contender."""
    values = [marks.values[measure] for marks in contender.marks]
    whole = _mean([value.whole for value in values])
    if whole is None:
        return Estimate(None, None, None, None)
    without = _means([value.without for value in values])
    wholes = [value.whole for value in values if value.whole is not None]
    return Estimate(
        value=whole,
        over_time=jackknife(whole, without),
        over_seeds=(min(wholes), max(wholes)) if len(wholes) > 1 else None,
        over_hours=_range(_means([value.hours for value in values])),
    )


def difference(one: Contender, other: Contender) -> Difference | None:
    """Return how much more log loss one way has; None where either has none. Both were graded on the same exposures."""
    if one.log_loss is None or other.log_loss is None:
        return None
    value = one.log_loss - other.log_loss
    sides = (_means([marks.values["log_loss"].without for marks in each.marks]) for each in (one, other))
    pairs = zip(*sides, strict=True)
    without = [None if a is None or b is None else a - b for a, b in pairs]
    return Difference(value, jackknife(value, without))


def share_of_gain(contender: Contender, floor: Contender, ceiling: Contender) -> float | None:
    """Return which share of the log loss that the ceiling gains over the floor this way gains."""
    losses = (contender.log_loss, floor.log_loss, ceiling.log_loss)
    if None in losses or floor.log_loss == ceiling.log_loss:
        return None
    own, low, high = (loss or 0.0 for loss in losses)
    return (low - own) / (low - high)


def recommend(contenders: Sequence[Contender]) -> Recommendation:
    """Return the way to take: of those as good as the best and calibrated, the one that learns the fewest examples.

    As good is what is behind by AS_GOOD at most, and not certainly behind; calibrated what is within CALIBRATED of 1, or
    as near as the best. Oracles are not to be had, and a learner whose predictions were not all finite is not to be trusted.
    """
    able = [one for one in ranked(contenders) if not one.reads_ahead and _is_whole(one, contenders)]
    if not able:
        ahead = any(one.reads_ahead for one in contenders)
        why = (
            "every way reads ahead, which nobody can"
            if ahead
            else "no way gave a prediction whose label is final"
        )
        return Recommendation(None, [why], [])
    best = able[0]
    equals = [one for one in able if _as_good(one, best)]
    enough = max(CALIBRATED, _off(best))
    taken = min((one for one in equals if _off(one) <= enough), key=lambda one: one.examples)
    others = [one for one in able if one is not taken]
    return Recommendation(
        taken.name,
        list(_reasons(taken, best, equals, others, contenders)),
        list(_warnings(taken, contenders)),
    )


def _as_good(one: Contender, best: Contender) -> bool:
    behind = difference(one, best)
    return behind is not None and behind.value <= AS_GOOD and not (behind.value > 0 and behind.certain)


def _off(one: Contender) -> float:
    """Return how far the calibration is from 1."""
    found = estimate(one, "calibration").value
    return float("inf") if found is None else abs(found - 1)


def _reasons(
    taken: Contender,
    best: Contender,
    equals: Sequence[Contender],
    others: Sequence[Contender],
    contenders: Sequence[Contender],
) -> Iterator[str]:
    yield f"log loss {number(taken.log_loss)}, calibration {ratio(estimate(taken, 'calibration').value)}"
    if taken is not best:
        yield f"as good as {best.name} ({number(best.log_loss)}) within chance, and learns fewer examples"
    next_ = next((one for one in others if one not in equals), None)
    ahead = None if next_ is None else difference(next_, taken)
    if next_ is not None and ahead is not None:
        yield f"{next_.name} has {number(ahead.value, 2)} more{_within(ahead)}"
    twins = [one.name for one in equals if one is not taken and one is not best]
    if twins:
        yield f"{', '.join(twins)} did as well within chance"
    for oracle in (one for one in contenders if one.reads_ahead):
        behind = difference(taken, oracle)
        if behind is not None:
            yield f"{number(behind.value, 2)} above {oracle.name}, which reads ahead{_within(behind)}"


def _within(of: Difference) -> str:
    if of.over_time is None:
        return ""
    low, high = of.over_time
    doubt = "" if of.certain else ": chance may have done that"
    return f" (95 % over time: {number(low, 2)} to {number(high, 2)}{doubt})"


def _warnings(taken: Contender, contenders: Sequence[Contender]) -> Iterator[str]:
    positives = min(marks.positives for marks in taken.marks)
    if positives < FEW:
        yield f"only {positives} positives were graded: more events may well say otherwise"
    found = estimate(taken, "calibration").value
    if found is not None and _off(taken) > CALIBRATED:
        yield f"its calibration is {ratio(found)}: it promises {'too much' if found > 1 else 'too little'}"
    if estimate(taken, "log_loss").over_time is None:
        yield "the events reach over too little time for intervals"
    for one in contenders:
        if not _is_whole(one, contenders):
            yield f"{one.name} gave predictions that are not finite, and is left out; smaller learning rates may help"


def _is_whole(one: Contender, contenders: Sequence[Contender]) -> bool:
    """Return whether all that was graded of anybody was graded of this one, and there is any."""
    most = max((sum(marks.examples) for other in contenders for marks in other.marks), default=0)
    return most > 0 and all(sum(marks.examples) == most for marks in one.marks)


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return fmean(known) if known and len(known) == len(values) else None


def _means(rows: Sequence[Sequence[float | None]]) -> list[float | None]:
    return [_mean(column) for column in zip(*rows, strict=True)]


def _range(values: Sequence[float | None]) -> Interval | None:
    known = [value for value in values if value is not None]
    return (min(known), max(known)) if known else None

"""A sample report of random data through the real measures: what the tests read, and what people look at.

python -m tests.watch.sample PATH writes it as a page.
"""

import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from stream_mtl import measures
from stream_mtl.clock import HOUR, MINUTE, Millis
from stream_mtl.measures import BinarySums, Sums, ValueSums
from stream_mtl.watch import cells
from stream_mtl.watch.readings import Corrected, Maturity, Proxy
from stream_mtl.watch.report import (
    Early,
    EarlyPoint,
    Fact,
    Learning,
    NextStep,
    Point,
    Report,
    SnapshotRow,
    TaskReport,
    html,
)

BEGIN: Millis = 1_772_668_800_000  # 2026-03-05 00:00
HOURS = 72
END: Millis = BEGIN + HOURS * HOUR


def labels(name: str, about: str, rate: float, promise: float, seed: int) -> TaskReport:
    """Draw a yes-or-no task: so many per hour, of this rate, promised this much too high."""
    rng = np.random.default_rng(seed)
    parts: list[BinarySums] = []
    for hour in range(HOURS):
        logit = rng.normal(np.log(rate / (1 - rate)), 1.0, 900)
        probability = 1 / (1 + np.exp(-logit))
        happened = rng.random(900) < probability
        drift = promise * (1 + 0.25 * np.exp(-hour / 8) + 0.04 * np.sin(hour / 4))
        parts.append(BinarySums.of(np.clip(probability * drift, 0, 1), happened))
    whole = total(parts)
    assert isinstance(whole, BinarySums)
    points = curve(parts)
    groups = measures.equal_mass(whole)
    return TaskReport(
        name, about, measures.reading(whole), points, groups, early(promise), early_curve(points)
    )


def early(promise: float) -> Early:
    """Make up what is known before labels are final."""
    maturity = Maturity(812, 40 * MINUTE, {"1h": 0.84})
    proxy = Proxy(30 * MINUTE, 4_000, 0.03 * promise, 0.015, promise * 2)
    corrected = Corrected(4_000, END, promise, promise * 0.9, promise * 1.1, 0.05, 0.03, 0.51, 700)
    return Early(END - HOUR, maturity, "1h", proxy, corrected)


def early_curve(points: Sequence[Point]) -> list[EarlyPoint]:
    """Make up what was known before: an estimate half a day ahead of the labels, and a proxy."""
    later = [point.reading["calibration"] for point in points[12:]]
    return [
        EarlyPoint(point.time, value * 1.5, value, (value * 0.93, value * 1.07))
        for point, value in zip(points[:-12], later, strict=True)
        if value is not None
    ]


def values(name: str, about: str, seed: int) -> TaskReport:
    """Draw a value task."""
    rng = np.random.default_rng(seed)
    drawn = [(rng.gamma(2, 20, 60), rng.normal(0, 12, 60)) for _ in range(HOURS)]
    parts = [ValueSums.of(np.maximum(value + error, 0) * 1.02, value) for value, error in drawn]
    return TaskReport(name, about, measures.reading(total(parts)), curve(parts))


def total(parts: Sequence[Sums]) -> Sums:
    whole = cells.total(parts)
    assert whole is not None
    return whole


def curve(parts: Sequence[Sums]) -> list[Point]:
    return [Point(BEGIN + (i + 1) * HOUR, measures.reading(part)) for i, part in enumerate(parts)]


def losses(level: float, seed: int) -> list[tuple[int, float]]:
    rng = np.random.default_rng(seed)
    steps = np.arange(1, 2_001)
    noisy = level * (1 + 0.8 * np.exp(-steps / 250)) + rng.normal(0, level / 12, len(steps))
    return list(zip(steps.tolist(), noisy.tolist(), strict=True))


def sample() -> Report:
    """Return the report."""
    nothing = TaskReport("refund", "Did a refund follow within 30 d.", measures.reading(BinarySums.nothing()))
    return Report(
        title="Replay of market, last three days",
        subtitle="2026-03-05 00:00 to 2026-03-08 00:00 UTC, from /data/market/config.toml, ESMM with fnw on cvr",
        facts=[
            Fact("impressions", "64,800", "72 hours of event time"),
            Fact("calibration of ctr", "1.06", "predicted / observed, over everything"),
            Fact("events per second", "412k", "joined and learned on 2 cores"),
            Fact("snapshots", "24", "the newest is 24, learned up to 2026-03-07 23:55"),
        ],
        accounts={
            "impression": {"joined": 64_800, "duplicate": 130, "late": 12, "malformed": 3, "waiting": 0},
            "click": {"joined": 3_214, "duplicate": 31, "orphan": 17, "outside": 44, "late": 2, "waiting": 5},
            "conversion": {"joined": 412, "conflict": 1, "orphan": 2, "outside": 9, "waiting": 37},
        },
        tasks=[
            labels("ctr", "Did a click follow within 30 min of the impression.", 0.03, 1.02, 1),
            labels("cvr", "Did a conversion follow within 7 d of the click.", 0.12, 0.97, 2),
            labels("joint.cvr", "Did the impression end in a conversion.", 0.004, 1.3, 3),
            values("order_value", "The amount of the order.", 4),
            nothing,
        ],
        learning=Learning(
            2_000,
            128_000,
            41_250.0,
            {"ctr": losses(0.14, 5), "cvr": losses(0.36, 6), "joint.cvr": losses(0.03, 7)},
        ),
        snapshots=[
            SnapshotRow(
                str(version),
                BEGIN + version * 3 * HOUR,
                2_700 if version < 23 else None,
                {"ctr": 1 + 0.6 / version, "cvr": 1 - 0.5 / version if version < 20 else None},
            )
            for version in range(1, 25)
        ],
        notes=[
            "Labels told so far: clicks of exposures after 2026-03-07 23:30 are not mature yet, and not counted.",
            "37 conversions wait for the watermark.",
        ],
        next_steps=[
            NextStep(
                "Compare with another way of treating late conversions.",
                "stream-mtl replay config.toml --method cvr=wait:1d",
            ),
            NextStep("Run it beside the bus.", "stream-mtl run all config.toml"),
        ],
    )


if __name__ == "__main__":
    Path(sys.argv[1]).write_text(html(sample()))

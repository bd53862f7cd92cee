"""A sample of the live view: what the tests read, and what people look at.

python -m tests.watch.live WIDTH prints it.
"""

import sys

import numpy as np
from rich.console import Console

from stream_mtl.clock import HOUR, MINUTE, SECOND
from stream_mtl.watch.history import HistoryLine
from stream_mtl.watch.readings import (
    SO_FAR,
    WAITING,
    Corrected,
    Maturity,
    OutputReadings,
    Proxy,
    Reading,
    Readings,
)
from stream_mtl.watch.terminal import ProcessStatus, View, screen

from .sample import BEGIN

NOW = BEGIN + 9 * HOUR + 5 * MINUTE
TASKS = ("ctr", "cvr", "order_value", "joint.cvr")


def reading(calibration: float, examples: int = 9_000, value: bool = False) -> Reading:
    if value:
        return Reading(examples, NOW, 40.1, 40.1 / calibration, calibration, mean_absolute_error=9.1)
    return Reading(
        examples,
        NOW,
        0.03,
        0.03 / calibration,
        calibration,
        log_loss=0.12,
        base_log_loss=0.131,
        normalised_entropy=0.9012,
        auc=0.7431,
    )


def output(name: str, level: float) -> OutputReadings:
    value = name == "order_value"
    views = {"life": reading(level, 81_234, value), "1h": reading(level * 0.97, 9_000, value)}
    snapshots = {str(v): reading(level * (1 + 0.3 / v), 2_000, value) for v in range(1, 9)}
    if value:
        return OutputReadings(views, [], snapshots, {}, NOW - HOUR, 12, 0, Maturity(None, 8 * HOUR, {}))
    return OutputReadings(
        views,
        [],
        snapshots,
        {},
        NOW - HOUR,
        12,
        0,
        Maturity(812, 40 * MINUTE, {"1h": 0.84}),
        {
            SO_FAR: {
                view: Proxy(30 * MINUTE, 4_000, 0.03, 0.03 / level / 2, level * 2) for view in ("1h", WAITING)
            }
        },
        {"1h": Corrected(4_000, NOW, level, level * 0.9, level * 1.1, 0.05, 0.03, 0.51, 700)},
    )


def history(seed: int = 3) -> list[HistoryLine]:
    rng = np.random.default_rng(seed)
    lines = []
    for i in range(40):
        level = 1 + 0.9 * np.exp(-i / 8)
        outputs = {name: {"1h": reading(float(level * rng.normal(1, 0.06)))} for name in TASKS}
        lines.append(HistoryLine(i, BEGIN + i * MINUTE, outputs if i % 7 else {}))
    return lines


def view() -> View:
    """Return the view."""
    processes = [
        ProcessStatus("gen", "running", {"events_per_second": 21_000, "written": 1_250_000}),
        ProcessStatus(
            "join", "running", {"events_per_second": 212_345.6, "lag_ms": 2_100, "watermark_ms": NOW}
        ),
        ProcessStatus(
            "train", "running", {"examples_per_second": 41_250, "step": 1_234, "loss": 0.0712, "snapshot": 8}
        ),
        ProcessStatus(
            "serve", "running", {"requests_per_second": 350, "p50_ms": 1.234, "p99_ms": 4.6, "snapshot": 8}
        ),
        ProcessStatus("watch", "stalled", {"rows": 812_345}, "no block for 40 s; look at the joiner's log"),
    ]
    levels = zip(TASKS, (1.04, 0.88, 1.01, 1.42), strict=True)
    readings = Readings(NOW, {name: output(name, level) for name, level in levels})
    return View("stream-mtl demo", 4 * MINUTE + 10 * SECOND, NOW, processes, readings, history())


if __name__ == "__main__":
    width = int(sys.argv[1])
    Console(width=width).print(screen(view(), width))

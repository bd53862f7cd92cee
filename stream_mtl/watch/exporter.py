"""A board for Prometheus: counters from which any window can be computed, and gauges that are absent when not defined.

    streammtl_predicted_sum_total, observed_sum_total, scored_examples_total    {task, slice}
    streammtl_unserved_labels_total                                             {task}
    streammtl_calibration_ratio, normalized_entropy, log_loss, auc,
        expected_calibration_error, calibration_examples                        {task, slice, view, window}
    streammtl_calibration_bin_{examples,predicted,observed}_total               {task, bin}
    streammtl_watch_rows_total, streammtl_watch_timestamp_seconds, streammtl_watch_checkpoint_timestamp_seconds

`slice` is "all", or "field=value" over the life. `view` is "mature": final labels only. `window` is "life", "1h", "24h".
A bin is named by its upper edge of predicted probability; bins are of equal width in the logit, so that they never move.
"""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from stream_mtl import measures
from stream_mtl.clock import BEGINNING, END
from stream_mtl.measures import BINS, REACH, BinarySums, Sums
from stream_mtl.watch.board import Board
from stream_mtl.watch.readings import LIFE, Reading
from stream_mtl.watch.worker import WatchWorker

PREFIX = "streammtl_"
ALL, MATURE = "all", "mature"
BARS = 12
"""Bins of the reliability counters: each two of logit wide."""

EDGES = [f"{1 / (1 + np.exp(REACH - (i + 1) * 2 * REACH / BARS)):.6g}" for i in range(BARS)]
"""The upper edges of the bins, as their names."""

_COUNTERS = {
    "predicted_sum": ("Sum of served scores whose label is final.", measures.predicted),
    "observed_sum": ("Sum of final labels of served scores.", measures.observed),
    "scored_examples": ("Served scores whose label is final.", measures.count),
}
_GAUGES = {
    "calibration_ratio": ("calibration", "Predicted over observed; above 1 promises too much."),
    "normalized_entropy": ("normalised_entropy", "Log loss over that of the base rate; below 1 beats it."),
    "log_loss": ("log_loss", "Mean log loss."),
    "expected_calibration_error": (
        "expected_calibration_error",
        "Mean distance of predicted and observed over groups.",
    ),
    "auc": ("auc", "How often a positive is ranked above a negative."),
    "calibration_examples": ("examples", "Examples that the gauges are over."),
}


def metrics_text(board: Board) -> bytes:
    """Return the board in Prometheus' text format."""
    registry = CollectorRegistry()
    registry.register(BoardCollector(board))
    return generate_latest(registry)


def watch_metrics(worker: WatchWorker) -> Iterator[Metric]:
    """Give the metrics of a watcher: of its board, and how far it has come."""
    yield from BoardCollector(worker.board).collect()
    yield CounterMetricFamily(PREFIX + "watch_rows", "Rows of the log that were watched.", worker.rows)
    if BEGINNING < worker.board.told_before < END:
        yield GaugeMetricFamily(
            PREFIX + "watch_timestamp_seconds",
            "Event time before which every label is in.",
            worker.board.told_before / 1_000,
        )
    yield GaugeMetricFamily(
        PREFIX + "watch_checkpoint_timestamp_seconds",
        "When the sums were kept last.",
        worker.checkpointed / 1_000,
    )


class BoardCollector(Collector):
    """Gives the metrics of a board as it is when it is asked: for a registry that has others too."""

    def __init__(self, board: Board) -> None:
        self._board = board

    def collect(self) -> Iterable[Metric]:
        """Give all metrics."""
        yield from _counters(self._board)
        yield from _gauges(self._board)
        yield from _bars(self._board)


def _counters(board: Board) -> Iterator[Metric]:
    unserved = CounterMetricFamily(
        PREFIX + "unserved_labels",
        "Final labels of exposures for which no score was served.",
        labels=["task"],
    )
    for task, ledger in board.ledgers.items():
        unserved.add_metric([task], ledger.unserved)
    yield unserved
    for name, (says, value) in _COUNTERS.items():
        counter = CounterMetricFamily(PREFIX + name, says, labels=["task", "slice"])
        for task, sums in _sliced(board):
            for where, one in sums.items():
                counter.add_metric([task, where], value(one))
        yield counter


def _gauges(board: Board) -> Iterator[Metric]:
    readings = list(_readings(board))
    for name, (field, says) in _GAUGES.items():
        gauge = GaugeMetricFamily(PREFIX + name, says, labels=["task", "slice", "view", "window"])
        for task, where, window, reading in readings:
            value = getattr(reading, field)
            if value is not None:
                gauge.add_metric([task, where, MATURE, window], value)
        yield gauge


def _bars(board: Board) -> Iterator[Metric]:
    kinds = ("examples", "predicted", "observed")
    counters = [
        CounterMetricFamily(
            f"{PREFIX}calibration_bin_{kind}", f"By predicted probability: {kind}.", labels=["task", "bin"]
        )
        for kind in kinds
    ]
    for task, ledger in board.ledgers.items():
        if isinstance(ledger.life, BinarySums):
            for counter, values in zip(counters, _barred(ledger.life), strict=True):
                for edge, value in zip(EDGES, values.tolist(), strict=True):
                    counter.add_metric([task, edge], value)
    yield from counters


def _barred(sums: BinarySums) -> Iterator[npt.NDArray[Any]]:
    """Give examples, predicted and observed by bar. (BARS,) each"""
    bar = np.arange(BINS) * BARS // BINS
    for values in (sums.counts.sum(axis=0), sums.predicted, sums.counts[1]):
        yield np.bincount(bar, values, BARS)


def _sliced(board: Board) -> Iterator[tuple[str, Mapping[str, Sums]]]:
    """Give the sums of every task's life, over all and by slice."""
    for task, ledger in board.ledgers.items():
        fields = board.options.slices
        slices = {f"{f}={value}": sums for f in fields for value, sums in ledger.slices(f).items()}
        yield task, {ALL: ledger.life, **slices}


def _readings(board: Board) -> Iterator[tuple[str, str, str, Reading]]:
    """Give task, slice, window and reading of all that there are enough examples of."""
    for task, ledger in board.ledgers.items():
        for window, reading in board.views(ledger).items():
            yield task, ALL, window, reading
    for task, sums in _sliced(board):
        slices = {where: one for where, one in sums.items() if where != ALL}
        for where, reading in board.shown(slices).items():
            yield task, where, LIFE, reading

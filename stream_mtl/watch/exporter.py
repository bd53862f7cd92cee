"""A board for Prometheus: counters from which any window can be computed, and gauges that are absent when not defined.

    streammtl_predicted_sum_total, observed_sum_total, scored_examples_total    {task, slice}
    streammtl_unserved_labels_total                                             {task}
    streammtl_calibration_ratio, normalized_entropy, log_loss, auc,
        expected_calibration_error, calibration_examples                        {task, slice, view, window}
    streammtl_calibration_bin_{examples,predicted,observed}_total               {task, bin}
    streammtl_calibration_ratio_lower, calibration_ratio_upper                  {task, slice, view, window}
    streammtl_label_completeness_ratio, label_mature_ratio                      {task, window}
    streammtl_labels_waiting, label_ripe_timestamp_seconds, label_newest_age_seconds            {task}
    streammtl_proxy_calibration_ratio, proxy_examples                           {task, maturity, horizon, window}
    streammtl_watch_rows_total, streammtl_watch_timestamp_seconds, streammtl_watch_checkpoint_timestamp_seconds

`slice` is "all", or "field=value" over the life. `view` is "mature": final labels only; or "corrected": an estimate of what
the calibration will be once they are, with an interval. `window` is "life", "1h", "24h"; of estimates also "waiting": all
whose label is not final yet. `maturity` is "proxy": labels known by a horizon ("15m" after the clock's start, or "so far"),
which are too few.
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
from stream_mtl.watch.estimates import Before
from stream_mtl.watch.readings import LIFE, Reading
from stream_mtl.watch.worker import WatchWorker

PREFIX = "streammtl_"
ALL, MATURE, CORRECTED, PROXY = "all", "mature", "corrected", "proxy"
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


_BOUNDS = {
    "calibration_ratio_lower": ("low", "The lower end of an estimate's interval of 95 %."),
    "calibration_ratio_upper": ("high", "The upper end of an estimate's interval of 95 %."),
}
_ESTIMATED = {
    "calibration_ratio": "calibration",
    "calibration_ratio_lower": "low",
    "calibration_ratio_upper": "high",
    "calibration_examples": "examples",
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
        early = {name: self._board.early(name) for name in self._board.ledgers}
        yield from _gauges(self._board, early)
        yield from _maturities(self._board, early)
        yield from _proxies(early)
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


def _gauges(board: Board, early: Mapping[str, Before]) -> Iterator[Metric]:
    """Give the values of final labels and, where there are some, beside them the estimates of what they will be."""
    readings = list(_readings(board))
    for name, (field, says) in (_GAUGES | _BOUNDS).items():
        gauge = GaugeMetricFamily(PREFIX + name, says, labels=["task", "slice", "view", "window"])
        for task, where, window, reading in readings:
            value = getattr(reading, field, None)
            if value is not None:
                gauge.add_metric([task, where, MATURE, window], value)
        if name in _ESTIMATED:
            for task, before in early.items():
                for view, estimate in before.corrected.items():
                    gauge.add_metric([task, ALL, CORRECTED, view], getattr(estimate, _ESTIMATED[name]))
        yield gauge


def _maturities(board: Board, early: Mapping[str, Before]) -> Iterator[Metric]:
    """Give how mature labels are."""
    complete = _gauge(
        "label_completeness_ratio", "Share of their events that should have come by now.", "window"
    )
    mature = _gauge("label_mature_ratio", "Share of the served exposures whose label is final.", "window")
    waiting = _gauge("labels_waiting", "Served exposures whose label is not final yet.")
    ripe = _gauge("label_ripe_timestamp_seconds", "Event time before which every exposure's label is in.")
    newest = _gauge(
        "label_newest_age_seconds", "Event time since the newest exposure that is counted was shown."
    )
    known = BEGINNING < board.told_before < END
    for task, before in early.items():
        for view, estimate in before.corrected.items():
            complete.add_metric([task, view], estimate.complete)
        for view, share in before.maturity.shares.items():
            mature.add_metric([task, view], share)
        if before.maturity.waiting is not None:
            waiting.add_metric([task], before.maturity.waiting)
        if known:
            ripe.add_metric([task], board.ledgers[task].ripe_before(board.told_before) / 1_000)
        if before.maturity.newest_age is not None:
            newest.add_metric([task], before.maturity.newest_age / 1_000)
    yield from (complete, mature, waiting, ripe, newest)


def _proxies(early: Mapping[str, Before]) -> Iterator[Metric]:
    """Give what is known so far: under names and a label of its own, so that nobody takes it for more."""
    labels = ("maturity", "horizon", "window")
    ratio = _gauge(
        "proxy_calibration_ratio", "Predicted over known so far. NOT final: reads too high.", *labels
    )
    examples = _gauge("proxy_examples", "Served exposures that a proxy is over.", *labels)
    for task, before in early.items():
        for horizon, views in before.proxy.items():
            for view, proxy in views.items():
                examples.add_metric([task, PROXY, horizon, view], proxy.examples)
                if proxy.calibration is not None:
                    ratio.add_metric([task, PROXY, horizon, view], proxy.calibration)
    yield from (ratio, examples)


def _gauge(name: str, says: str, *labels: str) -> GaugeMetricFamily:
    return GaugeMetricFamily(PREFIX + name, says, labels=["task", *labels])


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

"""What Prometheus may know of a scorer: counted where it happens, or read off when it asks."""

import platform
from collections.abc import Iterator, Mapping
from typing import Final

import numpy as np
import torch
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, Info
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from stream_mtl import __version__
from stream_mtl.clock import Clock, Millis
from stream_mtl.serve.log import ScoreLog
from stream_mtl.serve.reload import Reloader
from stream_mtl.serve.requests import json_name
from stream_mtl.serve.scorer import Scorer, Scores

_P: Final = "streammtl_"
_SECONDS: Final = (0.0005, 0.001, 0.002, 0.003, 0.005, 0.0075, 0.01, 0.02, 0.05, 0.1, 0.25, 1.0)
_VALUES: Final = tuple(float(f"1e{power}") for power in range(-5, 6))


class Metrics:
    """The metrics of one scorer, in a registry of their own."""

    def __init__(self, scorer: Scorer, reloader: Reloader, log: ScoreLog | None, clock: Clock) -> None:
        self.registry = registry = CollectorRegistry()
        self.requests = Counter(
            _P + "http_requests", "Requests answered.", ("route", "method", "code"), registry=registry
        )
        self.duration = Histogram(
            _P + "score_duration_seconds",
            "From the whole body of a request to its answer.",
            buckets=_SECONDS,
            registry=registry,
        )
        self.inflight = Gauge(
            _P + "inflight_requests", "Requests that are being answered.", registry=registry
        )
        self._values = {output: _Values() for output in scorer.recipe.plan.outputs}
        build = Info(_P + "build", "What runs here.", registry=registry)
        build.info({"version": __version__, "python": platform.python_version(), "torch": torch.__version__})
        start = Gauge(_P + "start_time_seconds", "When this process began.", registry=registry)
        start.set(clock() / 1_000)
        registry.register(_Read(scorer, reloader, log, clock, self._values))

    def scored(self, scores: Scores) -> None:
        """Count the scores of one answer."""
        for output, column in scores.columns.items():
            self._values[output].add(column.astype(np.float64))


class _Values:
    """Sums over the scores of one output."""

    def __init__(self) -> None:
        self.counts = np.zeros(len(_VALUES) + 1, np.int64)
        self.sum, self.rows, self.unknown = 0.0, 0, 0

    def add(self, column: np.ndarray[tuple[int], np.dtype[np.float64]]) -> None:
        known = column[~np.isnan(column)]
        self.rows += len(column)
        self.unknown += len(column) - len(known)
        self.sum += float(known.sum())
        self.counts += np.bincount(np.searchsorted(_VALUES, known), minlength=len(self.counts))


class _Read(Collector):
    """What is kept elsewhere, read off at each scrape."""

    def __init__(
        self,
        scorer: Scorer,
        reloader: Reloader,
        log: ScoreLog | None,
        clock: Clock,
        values: Mapping[str, _Values],
    ) -> None:
        self._scorer, self._reloader, self._log, self._clock = scorer, reloader, log, clock
        self._values = {json_name(output): one for output, one in values.items()}

    def collect(self) -> Iterator[Metric]:
        yield from self._of_model()
        yield from self._of_scores()
        if self._log is not None:
            yield from _of_log(self._log)

    def _of_model(self) -> Iterator[Metric]:
        reloads = CounterMetricFamily(
            _P + "model_reloads", "Snapshots that were tried.", labels=("result", "reason")
        )
        for labels, count in dict(self._reloader.counts).items():
            reloads.add_metric(labels, count)
        yield reloads
        loaded = self._scorer.loaded
        if loaded is not None:
            age = age_seconds(self._clock(), loaded.manifest.learned.upto)
            yield GaugeMetricFamily(_P + "model_version_active", "The snapshot that answers.", loaded.version)
            yield GaugeMetricFamily(
                _P + "model_age_seconds", "Since the newest event time in its weights.", age
            )

    def _of_scores(self) -> Iterator[Metric]:
        rows = CounterMetricFamily(_P + "score_rows", "Candidates scored.", labels=("task",))
        unknown = CounterMetricFamily(
            _P + "score_nonfinite", "Candidates for which the model has no number.", labels=("task",)
        )
        values = HistogramMetricFamily(_P + "prediction_value", "Scores.", labels=("task",))
        for task, one in self._values.items():
            rows.add_metric((task,), one.rows)
            unknown.add_metric((task,), one.unknown)
            values.add_metric((task,), _buckets(one), one.sum)
        yield from (rows, unknown, values)


def age_seconds(now: Millis, upto: Millis) -> float:
    """Return how old is what a model knows."""
    return max(now - upto, 0) / 1_000


def _of_log(log: ScoreLog) -> Iterator[Metric]:
    dropped = CounterMetricFamily(
        _P + "score_log_dropped", "Served scores that were not logged.", labels=("reason",)
    )
    dropped.add_metric(("full",), log.dropped)
    dropped.add_metric(("no_key",), log.keyless)
    yield dropped
    yield CounterMetricFamily(_P + "score_log_written", "Served scores made durable.", log.written)
    yield CounterMetricFamily(_P + "score_log_failures", "Times the sink did not answer.", log.failures)
    yield GaugeMetricFamily(_P + "score_log_waiting", "Served scores not durable yet.", log.waiting)


def _buckets(values: _Values) -> list[tuple[str, float]]:
    names = [*(str(bound) for bound in _VALUES), "+Inf"]
    return list(zip(names, map(float, np.cumsum(values.counts)), strict=True))

"""What Prometheus may know of a trainer: how much it learned, how well, and how fresh that is.

    streammtl_train_steps_total, streammtl_train_rows_total
    streammtl_examples_trained_total, streammtl_train_loss                          {task}
    streammtl_nonfinite_batches_total, streammtl_nonfinite_rows_total
    streammtl_embedding_rows_admitted_total, streammtl_embedding_rows_evicted_total
    streammtl_predictions_waiting, streammtl_train_freshness_seconds, streammtl_train_checkpoint_timestamp_seconds

`task` is a lesson of the model: the tasks, and the products that a relation teaches.
"""

import math
from collections.abc import Iterator
from typing import Final

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric

from stream_mtl.clock import Millis
from stream_mtl.learn.tally import Tally
from stream_mtl.learn.worker import TrainWorker

_P: Final = "streammtl_"

_COUNTERS: Final = (
    ("train_steps", "steps", "Minibatches learned from."),
    ("train_rows", "examples", "Rows of minibatches."),
    ("nonfinite_batches", "skipped", "Minibatches whose gradient was not finite: nothing was learned."),
    ("nonfinite_rows", "bad", "Rows left out because a cell was not finite."),
    ("embedding_rows_admitted", "admitted", "Ids that were given an embedding row."),
    ("embedding_rows_evicted", "evicted", "Ids that lost theirs."),
)


def train_metrics(worker: TrainWorker, now: Millis) -> Iterator[Metric]:
    """Give the metrics of a trainer."""
    tally = worker.tally
    yield from _counters(tally)
    yield from _losses(worker)
    yield GaugeMetricFamily(
        _P + "predictions_waiting", "Predictions that wait for a label.", worker.trainer.waiting
    )
    if tally.steps:
        age = max(now - tally.upto, 0) / 1_000
        yield GaugeMetricFamily(
            _P + "train_freshness_seconds", "Since the newest event time that was learned.", age
        )
    yield GaugeMetricFamily(
        _P + "train_checkpoint_timestamp_seconds",
        "When everything was kept last.",
        worker.checkpointed / 1_000,
    )


def _counters(tally: Tally) -> Iterator[Metric]:
    for name, field, says in _COUNTERS:
        yield CounterMetricFamily(_P + name, says, getattr(tally, field))
    told = CounterMetricFamily(_P + "examples_trained", "Rows that taught a task.", labels=("task",))
    for task, count in tally.told.items():
        told.add_metric((task,), count)
    yield told


def _losses(worker: TrainWorker) -> Iterator[Metric]:
    if worker.last is None:
        return
    loss = GaugeMetricFamily(_P + "train_loss", "Of the last minibatch.", labels=("task",))
    for task, value in worker.last.loss.items():
        if math.isfinite(value):
            loss.add_metric((task,), value)
    yield loss

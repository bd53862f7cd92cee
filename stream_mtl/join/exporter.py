"""What Prometheus may know of joiners: what became of their records, and how far behind they are.

    streammtl_join_records_total        {partition, kind, fate}     every record is in one fate, or pending
    streammtl_join_pending              {partition, kind}
    streammtl_join_exposures_total, streammtl_join_blocks_total     {partition}
    streammtl_watermark_timestamp_seconds, streammtl_watermark_lag_seconds,
        streammtl_join_checkpoint_timestamp_seconds                 {partition}
    streammtl_source_silent             {source}
    streammtl_partitions_assigned

`partition` is the joiner's. Kinds, fates and sources are those of the configuration: no label comes from the data.
"""

from collections.abc import Iterator, Mapping
from typing import Final

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric

from stream_mtl.clock import BEGINNING, END
from stream_mtl.join.worker import JoinWorker

_P: Final = "streammtl_"
_WAITING: Final = "waiting"  # the one fate that is not final


def join_metrics(workers: Mapping[int, JoinWorker]) -> Iterator[Metric]:
    """Give the metrics of the joiners of one process, by partition."""
    yield GaugeMetricFamily(_P + "partitions_assigned", "Joiner partitions that are ours.", len(workers))
    yield from _accounts(workers)
    yield from _counts(workers)
    yield from _times(workers)
    yield _silence(workers)


def _accounts(workers: Mapping[int, JoinWorker]) -> Iterator[Metric]:
    records = CounterMetricFamily(
        _P + "join_records", "Records by what became of them.", labels=("partition", "kind", "fate")
    )
    pending = GaugeMetricFamily(
        _P + "join_pending", "Records that wait for the watermark.", labels=("partition", "kind")
    )
    for number, worker in workers.items():
        for kind, fates in worker.joiner.accounts().items():
            pending.add_metric((str(number), kind), fates[_WAITING])
            for fate, count in fates.items():
                if fate != _WAITING:
                    records.add_metric((str(number), kind, fate), count)
    yield from (records, pending)


def _counts(workers: Mapping[int, JoinWorker]) -> Iterator[Metric]:
    exposures = CounterMetricFamily(_P + "join_exposures", "Exposures told.", labels=("partition",))
    blocks = CounterMetricFamily(_P + "join_blocks", "Blocks made durable.", labels=("partition",))
    for number, worker in workers.items():
        exposures.add_metric((str(number),), worker.joiner.exposures.ring.next)
        blocks.add_metric((str(number),), worker.blocks)
    yield from (exposures, blocks)


def _times(workers: Mapping[int, JoinWorker]) -> Iterator[Metric]:
    labels = ("partition",)
    watermark = GaugeMetricFamily(
        _P + "watermark_timestamp_seconds", "Event time before which everything is told.", labels=labels
    )
    lag = GaugeMetricFamily(
        _P + "watermark_lag_seconds", "Event time between the newest record and the watermark.", labels=labels
    )
    kept = GaugeMetricFamily(
        _P + "join_checkpoint_timestamp_seconds", "When the state was kept last.", labels=labels
    )
    for number, worker in workers.items():
        told, newest = worker.joiner.told_before, worker.joiner.watermarks.greatest()
        if BEGINNING < told < END and newest is not None:
            watermark.add_metric((str(number),), told / 1_000)
            lag.add_metric((str(number),), max(newest - told, 0) / 1_000)
        kept.add_metric((str(number),), worker.checkpointed / 1_000)
    yield from (watermark, lag, kept)


def _silence(workers: Mapping[int, JoinWorker]) -> Metric:
    silent = GaugeMetricFamily(
        _P + "source_silent", "1 while a source is passed over because nothing comes.", labels=("source",)
    )
    passed = frozenset().union(*(worker.silent for worker in workers.values()))
    for source in sorted({source for worker in workers.values() for source, _ in worker.committed}):
        silent.add_metric((source,), source in passed)
    return silent

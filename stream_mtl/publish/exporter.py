"""What Prometheus may know of a publisher: the snapshot that it published last, and whether the store takes them.

streammtl_snapshot_version, streammtl_snapshot_published_timestamp_seconds, streammtl_publish_failures_total
"""

from collections.abc import Iterator
from datetime import datetime
from typing import Final

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric

from stream_mtl.publish.publisher import Publisher

_P: Final = "streammtl_"


def publish_metrics(publisher: Publisher) -> Iterator[Metric]:
    """Give the metrics of a publisher; of the snapshot, once this process has published one."""
    yield CounterMetricFamily(
        _P + "publish_failures", "Times that a snapshot could not be stored or announced.", publisher.failures
    )
    published = publisher.published
    if published is None:
        return
    yield GaugeMetricFamily(_P + "snapshot_version", "The snapshot published last.", published.version)
    if isinstance(made := published.made.get("created_at"), str):
        yield GaugeMetricFamily(
            _P + "snapshot_published_timestamp_seconds",
            "When that was.",
            datetime.fromisoformat(made).timestamp(),
        )

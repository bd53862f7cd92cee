"""What the pages of running processes say, read as Prometheus reads it."""

from collections.abc import Callable, Sequence
from itertools import count
from pathlib import Path
from urllib.request import urlopen

from prometheus_client import Metric
from prometheus_client.parser import text_string_to_metric_families
from structlog.testing import capture_logs

from stream_mtl.clock import SECOND, Clock, Millis
from stream_mtl.config.load import Loaded
from stream_mtl.processes.join import join
from stream_mtl.processes.stop import Stop
from stream_mtl.processes.train import train
from stream_mtl.processes.watch import watch
from tests.processes.small import loaded

PORTS = ("join.metrics_port=0", "learn.metrics_port=0", "watch.metrics_port=0")
TURNS = 40

Run = Callable[[Loaded, Stop, Clock], object]

ROLES: dict[str, Run] = {
    "join": lambda made, stop, clock: join(made, stop, clock, follow=True),
    "train": lambda made, stop, clock: train(made, stop, clock, follow=True),
    "watch": lambda made, stop, clock: watch(made, stop, clock, follow=True),
}


def ticking(begin: Millis) -> Clock:
    """Return a clock by which every look takes a second, so that each turn renews the page."""
    return count(begin, SECOND).__next__


def page_of(role: str, config: Path, overrides: Sequence[str], begin: Millis, turns: int = TURNS) -> str:
    """Run a process for some turns; return its page after the last one."""
    asked, text = count(1), ""
    with capture_logs() as logs:

        def stop() -> bool:
            nonlocal text
            if next(asked) < turns:
                return False
            (address,) = [line["address"] for line in logs if line["event"] == "metrics_served"]
            with urlopen(f"{address}/metrics", timeout=10) as answer:
                text = answer.read().decode()
            return True

        ROLES[role](loaded(config, (*overrides, *PORTS)), stop, ticking(begin))
    return text


def families(text: str) -> dict[str, Metric]:
    """Return what a page holds, by name."""
    return {family.name: family for family in text_string_to_metric_families(text)}


def values(text: str, name: str, label: str) -> dict[str, float]:
    """Return the values of a metric by one label, summed over the others."""
    found: dict[str, float] = {}
    for family in families(text).values():
        for sample in family.samples:
            if sample.name == name:
                key = sample.labels.get(label, "")
                found[key] = found.get(key, 0.0) + sample.value
    return found

"""What comparing ten ways of treating late labels costs beside one, and how much of it is not learning."""

import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from stream_mtl.config.load import Loaded, load
from stream_mtl.generate.command import generate_files
from stream_mtl.processes.compare import CompareOptions, compare

WAYS = (
    "wait:24h",
    "wait",
    "fnw",
    "fnc",
    "es_dfm:15m",
    "ddfm:15m",
    "defer:15m",
    "defuse:15m",
    "bi_defuse:15m",
    "oracle",
)


@dataclass(frozen=True, slots=True)
class Cost:
    """CPU seconds of one comparison, in this process alone."""

    ways: int
    whole: float
    learning: float  # predicting, learning and grading, of all ways

    @property
    def rest(self) -> float:
        """The share that is not learning: reading, joining, the log, encoding features, the verdict."""
        return 1 - self.learning / self.whole


def bench_comparing(impressions: int) -> list[Cost]:
    """Return the cost of comparing one way, and ten, over the same events."""
    with tempfile.TemporaryDirectory() as folder:
        market = Path(folder) / "market"
        generate_files(
            market, None, [f"impressions={impressions}", "seed=1", "ctr=0.1", 'duration="14d"'], "avro", 1
        )
        loaded = load(market / "config.toml", {})
        return [_cost(loaded, WAYS[:count], Path(folder)) for count in (1, len(WAYS))]


def _cost(loaded: Loaded, ways: tuple[str, ...], folder: Path) -> Cost:
    begun = time.process_time()
    made = compare(loaded, CompareOptions(ways), folder / "out", lambda: False, lambda *_: None)
    whole = time.process_time() - begun
    return Cost(len(ways), whole, sum(graded.cpu_seconds for graded in made.trials.values()))

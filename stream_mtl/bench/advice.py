"""Whether the recommendation of `replay --compare` is worth following: over many streams, what it would have cost.

Each stream is a market of clicks and late orders with a drift and delays of its own. Two things are asked: how far the way
that all of the graded time recommends is behind the best of that time; and, harder, how far the way that its first half
recommends is behind the best of its second half, of which nothing was known then.
"""

import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean

import numpy as np

from stream_mtl.config.load import load
from stream_mtl.generate.command import generate_files
from stream_mtl.processes.compare import CompareOptions, compare
from stream_mtl.processes.verdict import backtest_of, contenders_of
from stream_mtl.watch.comparison import Contender, recommend

SETTINGS = (
    "model.name=logistic",
    "learn.batch_size=64",
    "learn.learning_rate=0.01",
    "learn.embedding_learning_rate=0.1",
)


@dataclass(frozen=True, slots=True)
class Stream:
    """How one market differs from the others."""

    seed: int
    window_days: int
    early: float  # share of the orders that come within minutes
    hours: float  # mean delay of the others
    drift: float  # how far each weight swings
    speed: float  # how fast
    delay_drift: float  # how far all delays swing
    rate: float  # orders per click

    def knobs(self, clicks: int) -> list[str]:
        """Return what the generator is told."""
        law = f'[{{mixture=[{{exponential="4m"}}, {{exponential="{self.hours:.2f}h"}}], share={self.early:.3f}}}]'
        return [
            'root="click"',
            f"impressions={clicks}",
            f"seed={self.seed}",
            f'duration="{max(12, 4 * self.window_days)}d"',
            "users=200",
            "items=200",
            "brands=20",
            "history=0",
            "texts=false",
            f"cvr={self.rate:.3f}",
            "conversion_strength=1.5",
            f'conversion_within="{self.window_days}d"',
            f"conversion_delays={law}",
            f"drift_amplitude={self.drift:.3f}",
            f"drift_speed={self.speed:.3f}",
            f"delay_drift_amplitude={self.delay_drift:.3f}",
        ]

    @property
    def ways(self) -> tuple[str, ...]:
        """Return what is compared: a wait of half the window and of all of it, and ways that correct."""
        return (f"wait:{12 * self.window_days}h", "wait", "fnw", "es_dfm:15m", "ddfm:15m", "defer:15m")


@dataclass(frozen=True, slots=True)
class Advice:
    """What following the recommendation cost on one stream."""

    stream: Stream
    recommended: str  # by all of the graded time
    inside: float  # log loss that it has more than the best of that time
    taken: str  # by the first half
    best: str  # of the second half
    behind: float  # log loss that the one has more than the other, in the second half
    spread: float  # by how much the worst way is behind the best there: what there was to lose


def streams(count: int, seed: int) -> list[Stream]:
    """Return markets that differ widely, drawn by a seed."""
    rng = np.random.default_rng(seed)
    return [
        Stream(
            seed=int(rng.integers(1 << 31)),
            window_days=int(rng.choice([1, 3, 7])),
            early=float(rng.uniform(0.05, 0.7)),
            hours=float(np.exp(rng.uniform(np.log(3), np.log(30)))),
            drift=float(rng.uniform(0, 1.5)),
            speed=float(np.exp(rng.uniform(np.log(0.3), np.log(3)))),
            delay_drift=float(rng.uniform(0, 0.6)),
            rate=float(rng.uniform(0.05, 0.25)),
        )
        for _ in range(count)
    ]


def advise(
    some: Sequence[Stream], clicks: int, workers: int, stop: Callable[[], bool] = lambda: False
) -> Iterator[Advice]:
    """Give what following the recommendation cost on each stream."""
    for stream in some:
        with tempfile.TemporaryDirectory() as folder:
            yield _advice(stream, Path(folder), clicks, workers, stop)


def mean_costs(advices: Sequence[Advice]) -> dict[str, float]:
    """Return, on average: what was recommended inside of its time, and behind it, beside what there was to lose."""
    return {name: fmean(getattr(one, name) for one in advices) for name in ("inside", "behind", "spread")}


def _advice(stream: Stream, folder: Path, clicks: int, workers: int, stop: Callable[[], bool]) -> Advice:
    generate_files(folder / "market", None, stream.knobs(clicks), "avro", 1)
    loaded = load(folder / "market" / "config.toml", {}, SETTINGS)
    made = compare(
        loaded, CompareOptions(stream.ways, workers=workers), folder / "out", stop, lambda *_: None
    )
    output = made.outputs[0]
    past = backtest_of(made, output)
    assert past is not None
    whole = contenders_of(made, output)
    way = recommend(whole).way
    all_time, later = (_losses(some) for some in (whole, contenders_of(made, output, 1)))
    return Advice(
        stream=stream,
        recommended=str(way),
        inside=all_time[str(way)] - min(all_time.values()),
        taken=past.way,
        best=past.best,
        behind=past.behind,
        spread=max(later.values()) - min(later.values()),
    )


def _losses(contenders: Sequence[Contender]) -> dict[str, float]:
    return {one.name: one.log_loss or 0.0 for one in contenders}

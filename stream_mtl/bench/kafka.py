"""The benches through Kafka by their names, and what each of them says."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from typing import Any, Protocol

import numpy as np
from rich import box
from rich.table import Table

from stream_mtl.bench import report
from stream_mtl.bench.broker import broker
from stream_mtl.bench.bus import BusJoin, bench_bus_join
from stream_mtl.bench.bus_labels import Labels
from stream_mtl.bench.bus_live import LiveOptions, bench_live
from stream_mtl.bench.bus_restart import Restart, bench_restart
from stream_mtl.bench.bus_train import bench_bus_train
from stream_mtl.bench.measure import Compared
from stream_mtl.errors import ConfigError

Shown = Table | str


@dataclass(frozen=True, slots=True)
class Sizes:
    """How much of everything."""

    impressions: int
    learned: int
    seconds: float
    waiting: int
    rounds: int
    batch_bytes: int
    sending: bool = True
    overrides: tuple[str, ...] = ()


class Measured(Protocol):
    """What one of the benches found."""

    def as_shown(self) -> Sequence[Shown]:
        """Return it for people."""
        ...

    def as_plain(self) -> dict[str, Any]:
        """Return it for programs."""
        ...


def bench_kafka(
    parts: Sequence[str], sizes: Sizes, bootstrap: str | None, home: Path | None
) -> Iterator[tuple[str, Measured]]:
    """Run benches by their names at one broker, and give what each found. Raises StreamMtlError."""
    if unknown := [part for part in parts if part not in PARTS]:
        raise ConfigError(f'bench kafka: there is no "{unknown[0]}"; choose of {", ".join(PARTS)}')
    with broker(bootstrap, home) as address:
        for part in parts:
            yield part, PARTS[part](address, sizes)


@dataclass(frozen=True, slots=True)
class _Joined:
    found: BusJoin

    def as_shown(self) -> Sequence[Shown]:
        return [
            report.as_table(self.found.compared),
            *map(_spent, self.found.spent.items()),
            report.machine(),
        ]

    def as_plain(self) -> dict[str, Any]:
        return report.as_plain(self.found.compared) | {"spent_cpu_seconds": self.found.spent}


@dataclass(frozen=True, slots=True)
class _Trained:
    found: Compared

    def as_shown(self) -> Sequence[Shown]:
        return [report.as_table(self.found), report.machine()]

    def as_plain(self) -> dict[str, Any]:
        return report.as_plain(self.found)


@dataclass(frozen=True, slots=True)
class _Live:
    found: Labels

    def as_shown(self) -> Sequence[Shown]:
        table = Table("waited for", "p50 s", "p99 s", "most s", title=self._about(), box=box.SIMPLE)
        for name, seconds in self._seconds().items():
            table.add_row(name, *(f"{number:.2f}" for number in seconds.values()))
        return [table, report.machine()]

    def as_plain(self) -> dict[str, Any]:
        counts = {"labels": len(self.found.happened), "unserved": self.found.unserved}
        return {**counts, "seconds": self._seconds(), "machine": report.machine()}

    def _about(self) -> str:
        return (
            f"{len(self.found.happened):,} labels, of which {self.found.unserved} were not served at the end"
        )

    def _seconds(self) -> dict[str, dict[str, float]]:
        return {name: _quantiles(waits) for name, waits in self.found.waits().items() if len(waits)}


@dataclass(frozen=True, slots=True)
class _Restarted:
    found: Sequence[Restart]

    def as_shown(self) -> Sequence[Shown]:
        heads = ("chains waiting", "checkpoint old s", "to a new block s", "CPU s until then")
        table = Table(*heads, title="a joiner killed and started again", box=box.SIMPLE)
        for one in self.found:
            numbers = (one.since_checkpoint, one.block, one.cpu)
            table.add_row(f"{one.waiting:,}", *(f"{number:.1f}" for number in numbers))
        return [table, f"median {median(one.block for one in self.found):.1f} s; {report.machine()}"]

    def as_plain(self) -> dict[str, Any]:
        return {"restarts": [asdict(one) for one in self.found], "machine": report.machine()}


PARTS: Mapping[str, Callable[[str, Sizes], Measured]] = {
    "join": lambda address, sizes: _Joined(
        bench_bus_join(
            address,
            sizes.impressions,
            sizes.rounds,
            batch_bytes=sizes.batch_bytes,
            sending=sizes.sending,
        )
    ),
    "train": lambda address, sizes: _Trained(bench_bus_train(address, sizes.learned, sizes.rounds)),
    "live": lambda address, sizes: _Live(
        bench_live(address, LiveOptions(sizes.seconds, overrides=sizes.overrides))
    ),
    "restart": lambda address, sizes: _Restarted(bench_restart(address, sizes.waiting, sizes.rounds)),
}


def _spent(spent: tuple[str, Mapping[str, float]]) -> str:
    name, seconds = spent
    whole = sum(seconds.values())
    parts = sorted(seconds.items(), key=lambda item: -item[1])
    return f"CPU of {name}: " + ", ".join(f"{part} {share / whole:.0%}" for part, share in parts)


def _quantiles(seconds: np.ndarray) -> dict[str, float]:
    return {
        "p50": float(np.quantile(seconds, 0.5)),
        "p99": float(np.quantile(seconds, 0.99)),
        "most": float(seconds.max()),
    }

"""What a bench prints: rates per CPU second, and how many times the plain loop's, for people and for programs."""

import platform
from pathlib import Path
from statistics import median
from typing import Any

from rich import box
from rich.table import Table

from stream_mtl.bench.joins import JoinBench


def machine() -> str:
    """Return what the numbers were measured on."""
    names = [line.split(":", 1)[1].strip() for line in _cpuinfo() if line.startswith("model name")]
    return (
        f"{names[0] if names else platform.machine()}, {len(names)} cores, Python {platform.python_version()}"
    )


def as_table(bench: JoinBench) -> Table:
    """Return one bench as a table."""
    title = f"{bench.events:,} events, batches of {bench.batch:,}, windows {bench.windows}"
    table = Table("", "events per CPU s", "wall s", "times the plain loop", title=title, box=box.SIMPLE)
    for rate in bench.rates:
        middle, least, most = rate.times(bench.rates[0])
        table.add_row(
            rate.name,
            f"{rate.per_cpu_second:,.0f}",
            f"{median(rate.wall):.2f}",
            f"{middle:.1f} ({least:.1f} to {most:.1f})",
        )
    return table


def about_state(bench: JoinBench) -> str:
    """Return what the state takes when two thirds of the stream were read, in one sentence."""
    state = bench.state
    return (
        f"after two thirds of the stream {state.chains:,} chains wait: {state.beside_each:,.0f} bytes each beside "
        f"the payload, which is {state.payload / max(state.chains, 1):,.0f}"
    )


def as_plain(bench: JoinBench) -> dict[str, Any]:
    """Return one bench as JSON would have it."""
    return {
        "machine": machine(),
        "events": bench.events,
        "batch": bench.batch,
        "windows": bench.windows,
        "peak_megabytes": round(bench.peak_megabytes),
        "waiting_chains": bench.state.chains,
        "bytes_beside_payload": round(bench.state.beside_each),
        "rates": {
            rate.name: {
                "per_cpu_second": round(rate.per_cpu_second),
                "wall_seconds": median(rate.wall),
                "times_the_plain_loop": rate.times(bench.rates[0])[0],
            }
            for rate in bench.rates
        },
    }


def _cpuinfo() -> list[str]:
    path = Path("/proc/cpuinfo")
    return path.read_text().splitlines() if path.is_file() else []

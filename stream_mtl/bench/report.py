"""What a bench prints: rates per CPU second and latencies, for people and for programs."""

import platform
from collections.abc import Sequence
from pathlib import Path
from statistics import median
from typing import Any

from rich import box
from rich.table import Table

from stream_mtl.bench.measure import Compared, Latency
from stream_mtl.join.footprint import Footprint


def machine() -> str:
    """Return what the numbers were measured on."""
    names = [line.split(":", 1)[1].strip() for line in _cpuinfo() if line.startswith("model name")]
    return (
        f"{names[0] if names else platform.machine()}, {len(names)} cores, Python {platform.python_version()}"
    )


def about_process(peak_megabytes: float) -> str:
    """Return the machine and what the process took of it, in one line."""
    return f"{machine()}; peak memory of the process {peak_megabytes:,.0f} MB"


def as_table(compared: Compared) -> Table:
    """Return a comparison as a table."""
    first = compared.rates[0]
    heads = ["", f"{compared.unit} per CPU s", "CPU s", "wall s", f"times {first.name}"]
    if first.peaks:
        heads.append("peak MB")
    table = Table(*heads, title=compared.about, box=box.SIMPLE)
    for rate in compared.rates:
        middle, least, most = rate.times(first)
        table.add_row(
            rate.name,
            f"{rate.per_cpu_second:,.0f}",
            f"{median(rate.cpu):.3g}",
            f"{median(rate.wall):.3g}",
            f"{middle:.2f} ({least:.2f} to {most:.2f})",
            *([f"{median(rate.peaks):,.0f}"] if rate.peaks else ()),
        )
    return table


def as_plain(compared: Compared) -> dict[str, Any]:
    """Return a comparison as JSON would have it."""
    return {
        "about": compared.about,
        "unit": compared.unit,
        "rates": {
            rate.name: {
                "per_cpu_second": round(rate.per_cpu_second),
                "cpu_seconds": median(rate.cpu),
                "wall_seconds": median(rate.wall),
                "times_the_first": rate.times(compared.rates[0])[0],
                **({"peak_megabytes": round(median(rate.peaks))} if rate.peaks else {}),
            }
            for rate in compared.rates
        },
        "peak_megabytes": round(compared.peak_megabytes),
        "machine": machine(),
    }


def about_state(state: Footprint) -> str:
    """Return what the join's state takes when two thirds of the stream were read, in one sentence."""
    return (
        f"after two thirds of the stream {state.chains:,} chains wait: {state.beside_each:,.0f} bytes each beside "
        f"the payload, which is {state.payload / max(state.chains, 1):,.0f}"
    )


def state_as_plain(state: Footprint) -> dict[str, Any]:
    """Return the same as JSON would have it."""
    return {"waiting_chains": state.chains, "bytes_beside_payload": round(state.beside_each)}


def latency_table(latencies: Sequence[Latency]) -> Table:
    """Return latencies as a table."""
    heads = (
        "candidates",
        "p50 ms",
        "p99 ms",
        "CPU ms: scorer alone",
        "with messages",
        "CPU ms of the server",
    )
    title = f"one warm connection over loopback, {len(latencies[0].wall)} requests each; p50, p99: wall"
    table = Table(*heads, title=title, box=box.SIMPLE)
    for one in latencies:
        numbers = (one.millis(0.5), one.millis(0.99), one.scorer_ms, one.answer_ms, one.server_ms)
        table.add_row(str(one.candidates), *(f"{number:.2f}" for number in numbers))
    return table


def latency_as_plain(one: Latency) -> dict[str, Any]:
    """Return a latency as JSON would have it."""
    return {
        "candidates": one.candidates,
        "requests": len(one.wall),
        "p50_ms": one.millis(0.5),
        "p99_ms": one.millis(0.99),
        "scorer_cpu_ms": one.scorer_ms,
        "with_messages_cpu_ms": one.answer_ms,
        "server_cpu_ms": one.server_ms,
    }


def _cpuinfo() -> list[str]:
    path = Path("/proc/cpuinfo")
    return path.read_text().splitlines() if path.is_file() else []

"""The table of a run of the Criteo protocol: for a person, and as JSON."""

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from rich import box
from rich.console import RenderableType
from rich.table import Column
from rich.table import Table as RichTable
from rich.text import Text

from stream_mtl.processes.criteo import ORACLE, VANILLA, Scored, Table

_HEADINGS: Mapping[str, str] = {
    "auc": "AUC",
    "pr_auc_trapezoid": "PR-AUC",
    "average_precision": "AP",
    "nll": "NLL",
    "calibration": "calib.",
}
_RELATIVE: Mapping[str, str] = {"auc": "R-AUC", "pr_auc_trapezoid": "R-PR-AUC", "nll": "R-NLL"}


def tables(table: Table) -> list[RenderableType]:
    """Return what is shown of a run: a table, and what its numbers mean."""
    columns = [Column(name, justify="right") for name in (*_HEADINGS.values(), *_RELATIVE.values())]
    others = [Column(name, justify="right") for name in ("examples", "steps", "CPU s")]
    shown = RichTable("method", *columns, *others, box=box.SIMPLE)
    for scored in table.methods:
        shown.add_row(*_row(scored))
    return [shown, Text(_notes(table))]


def as_plain(table: Table) -> dict[str, Any]:
    """Return a run as JSON has it."""
    return {
        "protocol": asdict(table.protocol),
        "clicks": table.clicks,
        "conversions": table.conversions,
        "unreadable": dict(table.unreadable),
        "hours": table.hours,
        "hours_left_out": table.one_class,
        "rows": table.rows,
        "relative_improvement": {"zero": VANILLA, "one": ORACLE},
        "methods": [
            {
                "name": scored.name,
                **scored.means,
                **{f"relative_{name}": value for name, value in scored.relative.items()},
                "examples": dict(scored.examples),
                "steps": scored.steps,
                "cpu_seconds": scored.cpu_seconds,
            }
            for scored in table.methods
        ],
    }


def _row(scored: Scored) -> list[str]:
    means = [_number(scored.means[name]) for name in _HEADINGS]
    relative = [_number(scored.relative[name]) for name in _RELATIVE]
    counts = (f"{sum(scored.examples.values()):,}", f"{scored.steps:,}", f"{scored.cpu_seconds:.1f}")
    return [scored.name, *means, *relative, *counts]


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.4f}"


def _notes(table: Table) -> str:
    protocol = table.protocol
    unreadable = sum(table.unreadable.values())
    return (
        f"{table.clicks:,} clicks, {table.conversions:,} of them convert within {protocol.window_days} days; "
        f"{unreadable:,} rows could not be read. Means over {table.hours:,} hours, {table.rows:,} clicks, of the "
        f"measures within each hour, by its clicks; {table.one_class:,} hours without clicks or of one class are left "
        f"out.\nPR-AUC: trapezoid, as published; AP: average precision. R-: 0 is {VANILLA}, 1 is {ORACLE} (Yang et al., "
        "AAAI 2021). calib.: predicted over observed. CPU s: on the stream.\n"
        f"Seed {protocol.seed}; auxiliary logits "
        + (
            "are frozen after pretraining."
            if protocol.frozen_heads
            else "go on learning from matured labels."
        )
    )

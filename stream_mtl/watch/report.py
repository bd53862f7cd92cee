"""A report of one run: was it right, what was read, what was learned; as a page, as plain data, on the terminal."""

import math
from typing import Any

import msgspec

from stream_mtl.watch.console import show
from stream_mtl.watch.page import html
from stream_mtl.watch.parts import (
    Early,
    EarlyPoint,
    Fact,
    Learning,
    NextStep,
    Point,
    Report,
    SnapshotRow,
    TaskReport,
)

__all__ = [
    "Early",
    "EarlyPoint",
    "Fact",
    "Learning",
    "NextStep",
    "Point",
    "Report",
    "SnapshotRow",
    "TaskReport",
    "as_plain",
    "html",
    "show",
]


def as_plain(report: Report) -> dict[str, Any]:
    """Return the report as JSON has it; what is not a finite number is null."""
    plain: dict[str, Any] = _finite(msgspec.to_builtins(report))
    return plain


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _finite(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(one) for one in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value

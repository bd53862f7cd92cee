"""The live view: from what every process says of itself and the latest readings to one screen, or to one line.

It fits 100 columns and 30 rows, and leaves columns out down to 80. Facts of a process that are shown, by role; any may
be missing or None, and others are not shown:

    join    events_per_second, lag_ms (behind the newest record), watermark_ms (event time)
    train   examples_per_second, step, loss, snapshot (the version that it published last)
    serve   requests_per_second, p50_ms, p99_ms, snapshot (the version that serves)
    watch   rows (of the log, so far), rows_per_second

Of a process with another role, its first facts are shown under their own names.
"""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from textwrap import wrap
from typing import Any, TypeAlias

from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.table import Table as RichTable
from rich.text import Text

from stream_mtl.clock import Millis
from stream_mtl.watch.console import STYLES, as_rich, cell_text, with_heads
from stream_mtl.watch.early_table import ABOUT, early_of, early_table, has_anything
from stream_mtl.watch.history import HistoryLine
from stream_mtl.watch.parts import Early
from stream_mtl.watch.readings import LIFE, OutputReadings, Reading, Readings
from stream_mtl.watch.tables import Column, Table, TextCell, calibration_cell, tone_of, without
from stream_mtl.watch.words import DASH, brief, count, lapse, moment, number, ratio

FactValue: TypeAlias = float | int | str | None

WIDE = 100
"""Columns from which on everything is shown."""

_ROWS = 30
_TASKS, _SNAPSHOTS, _PROBLEMS, _OTHER_FACTS = 7, 3, 2, 3
_PROBLEM = 150  # characters
_SPARK, _NARROW_SPARK = 24, 12
_SNAPSHOT_TASKS = 4
_BARS = "▁▂▃▄▅▆▇█"
_NAME, _SHORT_NAME, _HEAD = 18, 14, 12  # characters of an output's name
_SCALE = 1.5
_NOT_FINAL = (
    f"proxy: predicted over what has come so far, too high; {ABOUT}: estimate of the final calibration"
)
_NOT_FINAL_SHORT = f"proxy: of what has come so far, too high; {ABOUT}: estimated final calib."
_STATES = {"running": "good", "starting": "fair", "waiting": "fair", "stalled": "poor", "failed": "poor"}


_FACTS: Mapping[str, Mapping[str, Callable[[Any], str]]] = {
    "join": {
        "events_per_second": lambda value: f"{brief(value)} events/s",
        "lag_ms": lambda value: f"lag {lapse(round(value))}",
        "watermark_ms": lambda value: f"watermark {moment(value)}",
    },
    "train": {
        "examples_per_second": lambda value: f"{brief(value)} examples/s",
        "step": lambda value: f"step {count(value)}",
        "loss": lambda value: f"loss {number(value)}",
        "snapshot": lambda value: f"snapshot {value}",
    },
    "serve": {
        "requests_per_second": lambda value: f"{brief(value)} requests/s",
        "p50_ms": lambda value: f"p50 {number(value, 2)} ms",
        "p99_ms": lambda value: f"p99 {number(value, 2)} ms",
        "snapshot": lambda value: f"snapshot {value}",
    },
    "watch": {
        "rows": lambda value: f"{count(value)} rows",
        "rows_per_second": lambda value: f"{brief(value)} rows/s",
    },
}


@dataclass(frozen=True, slots=True)
class ProcessStatus:
    """What a process says of itself."""

    role: str  # join, train, serve, watch, or another
    state: str  # starting, running, waiting, stalled, stopped, failed
    facts: Mapping[str, FactValue] = field(default_factory=dict)
    problem: str | None = None  # what is wrong and what to do


@dataclass(frozen=True, slots=True)
class View:
    """What there is to show."""

    title: str
    elapsed: Millis  # since the start, of the clock
    event_time: Millis | None = None
    processes: Sequence[ProcessStatus] = ()
    readings: Readings | None = None
    history: Sequence[HistoryLine] = ()  # the newest last
    window: str = "1h"  # the view that stands beside the life


def screen(view: View, width: int = WIDE) -> RenderableType:
    """Return the view as rich draws it on a terminal of so many columns."""
    parts = [_head(view), Text(), *(_process(process) for process in view.processes), Text()]
    problems = list(_problems(view))
    room = _ROWS - len(parts) - sum(len(wrap(text.plain, width - 2)) or 1 for text in problems)
    return Padding(Group(*parts, *_tables(view, width >= WIDE, room), *problems), (0, 1))


def line(view: View) -> str:
    """Return the view as one line, for where no terminal is."""
    parts = [lapse(view.elapsed), f"event time {moment(view.event_time)}"]
    parts += [" ".join([process.role, *said(process)]) for process in view.processes]
    if view.readings is not None:
        parts += [_brief_task(view, name, output) for name, output in view.readings.outputs.items()]
    parts += [f"{process.role}: {process.problem}" for process in view.processes if process.problem]
    return "; ".join(parts)


def spark(values: Sequence[float | None]) -> Text:
    """Return calibrations as bars on a fixed scale, from two thirds or less to one and a half or more, each in its tone."""
    text = Text()
    for value in values:
        bar = " " if value is None else _bar(value)
        text.append(bar, STYLES[tone_of(value)])
    return text


def _head(view: View) -> Text:
    times = f"  running {lapse(view.elapsed)}, event time {moment(view.event_time)} UTC"
    return Text.assemble((view.title, "bold"), (times, "dim"), no_wrap=True, overflow="ellipsis")


def _process(process: ProcessStatus) -> Text:
    """Return the line of a process: a dot for its state, its facts."""
    style = STYLES.get(_STATES.get(process.state, ""), "")
    state = [] if process.state == "running" else [process.state]
    says = "   ".join([*state, *said(process)])
    return Text.assemble(
        ("● ", style), (f"{process.role:<7}", "bold"), says, no_wrap=True, overflow="ellipsis"
    )


def said(process: ProcessStatus) -> list[str]:
    """Return the facts of a process in words."""
    chosen = _FACTS.get(process.role.partition("-")[0])  # "train-fresh": of a challenger
    if chosen is None:
        return [f"{name} {_text(value)}" for name, value in islice(process.facts.items(), _OTHER_FACTS)]
    known = [(write, process.facts.get(name)) for name, write in chosen.items()]
    return [write(value) for write, value in known if value is not None]


def _tables(view: View, wide: bool, room: int) -> Iterator[RenderableType]:
    """Give the tables that fit into so many rows: what is final, what is not yet, what each snapshot served."""
    if view.readings is None:
        yield Text("no readings yet: no label has come", style="dim")
        return
    outputs = view.readings.outputs
    early = {name: early_of(output, view.window) for name, output in outputs.items()}
    waiting = [name for name, one in early.items() if has_anything(one)]
    tasks = min(len(outputs), _TASKS, max((room - 7) // 2 if waiting else room - 3, 1))
    yield _tasks(view, view.readings, wide, tasks)
    more = len(outputs) - tasks
    yield Text(f"and {more} more" if more > 0 else "", style="dim")
    room -= 3 + tasks
    if waiting:
        shown = [(_cut(name, _NAME if wide else _SHORT_NAME), early[name]) for name in waiting[:tasks]]
        yield _early(shown, wide)
        yield Text(_NOT_FINAL if wide else _NOT_FINAL_SHORT, style="dim italic", no_wrap=True)
        room -= 3 + len(shown)
    snapshots = min(_SNAPSHOTS, room - 3)
    if snapshots > 0 and any(output.snapshots for output in outputs.values()):
        if room > snapshots + 4:
            yield Text()
        yield Text("calibration by snapshot", style="dim")
        yield as_rich(_snapshots(view.readings, snapshots), wide=wide)


def _tasks(view: View, readings: Readings, wide: bool, most: int) -> RichTable:
    window = view.window
    heads = ("final labels", "examples", f"AUC {window}", f"NE {window}", f"calib. {window}", "life")
    table = with_heads([Column(head) for head in heads], wide=wide)
    table.add_column(f"calib. {window} over time" if wide else "over time", justify="right", no_wrap=True)
    for name, output in islice(readings.outputs.items(), most):
        near, life = output.views.get(window), output.views.get(LIFE)
        table.add_row(*map(cell_text, _quality(name, near, life)), _sparks(view, name, wide))
    return table


def _early(rows: Sequence[tuple[str, Early]], wide: bool) -> RichTable:
    """Return what is not final yet, in a hand of its own."""
    left_out = {"newest"} if wide else {"newest", "final before"}
    table = as_rich(without(early_table(rows, "not final yet"), left_out), wide=False)
    table.style, table.header_style = "italic", "italic"
    return table


def _quality(name: str, near: Reading | None, life: Reading | None) -> list[TextCell]:
    return [
        TextCell(_cut(name, _NAME)),
        TextCell(count(life.examples) if life else DASH),
        TextCell(ratio(_value(near, "auc"))),
        TextCell(ratio(_value(near, "normalised_entropy"))),
        calibration_cell(_value(near, "calibration"), ""),
        calibration_cell(_value(life, "calibration"), ""),
    ]


def _sparks(view: View, output: str, wide: bool) -> Text:
    lines = view.history[-(_SPARK if wide else _NARROW_SPARK) :]
    views = [line.outputs.get(output, {}).get(view.window) for line in lines]
    return spark([_value(reading, "calibration") for reading in views])


def _snapshots(readings: Readings, most: int) -> Table:
    """Return the newest snapshots that have readings, and their calibration per output."""
    outputs = dict(islice(readings.outputs.items(), _SNAPSHOT_TASKS))
    numbered = {int(v) for output in outputs.values() for v in output.snapshots if v.isdecimal()}
    newest = sorted(numbered, reverse=True)[:most]
    heads = [
        Column("snapshot"),
        Column("examples"),
        *(Column(_cut(name, _HEAD)) for name in outputs),
    ]
    return Table(heads, [_snapshot(str(version), outputs) for version in newest])


def _snapshot(version: str, outputs: Mapping[str, OutputReadings]) -> list[TextCell]:
    readings = [output.snapshots.get(version) for output in outputs.values()]
    most = max((reading.examples for reading in readings if reading), default=None)
    cells = [calibration_cell(_value(reading, "calibration"), "") for reading in readings]
    return [TextCell(version), TextCell(count(most)), *cells]


def _problems(view: View) -> Iterator[Text]:
    wrong = [process for process in view.processes if process.problem]
    if wrong:
        yield Text()
    for process in wrong[:_PROBLEMS]:
        yield Text(_cut(f"{process.role}: {process.problem}", _PROBLEM), style=STYLES["poor"])


def _brief_task(view: View, name: str, output: OutputReadings) -> str:
    near = output.views.get(view.window) or output.views.get(LIFE)
    if near is None:
        return f"{name} too few labels yet"
    values = {
        "calibration": near.calibration,
        "NE": near.normalised_entropy,
        "AUC": near.auc,
    }
    known = (f"{label} {number(value, 3)}" for label, value in values.items() if value is not None)
    return f"{name} {' '.join(known)}{_brief_early(output)}"


def _brief_early(output: OutputReadings) -> str:
    """Return what is not final yet in a few words."""
    waiting = output.maturity.waiting if output.maturity else None
    said = f" ({count(waiting)} wait" if waiting else ""
    if output.sharpest is None:
        return f"{said})" if said else ""
    estimate = output.corrected[output.sharpest]
    interval = f"{estimate.low:.2f} to {estimate.high:.2f}"
    return f"{said or ' ('}{', ' if said else ''}estimate {ABOUT} {ratio(estimate.calibration)}, {interval})"


def _bar(calibration: float) -> str:
    reach = (math.log(max(calibration, 0.01), _SCALE) + 1) / 2  # 0 at the lower end, 1 at the upper
    return _BARS[min(max(round(reach * (len(_BARS) - 1)), 0), len(_BARS) - 1)]


def _cut(text: str, most: int) -> str:
    return text if len(text) <= most else f"{text[: most - 1]}…"


def _value(reading: Reading | None, name: str) -> float | None:
    return None if reading is None else getattr(reading, name)


def _text(value: FactValue) -> str:
    return brief(value) if isinstance(value, int | float) else value or DASH

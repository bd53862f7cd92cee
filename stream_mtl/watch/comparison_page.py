"""A comparison of ways of treating late labels: as a page, as plain data, on the terminal."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from html import escape
from typing import Any

from rich.console import Console
from rich.panel import Panel
from rich.text import Text

from stream_mtl.learn.grades import MEASURES, Span
from stream_mtl.watch.charts import COLOURS, Series, line_chart
from stream_mtl.watch.comparison import (
    Contender,
    Difference,
    Estimate,
    Recommendation,
    difference,
    estimate,
    ranked,
    recommend,
)
from stream_mtl.watch.console import as_rich
from stream_mtl.watch.intervals import Interval
from stream_mtl.watch.page import figures, head, next_steps, notes, page, tabular
from stream_mtl.watch.parts import Fact, NextStep
from stream_mtl.watch.tables import Column, Table, TextCell, Tone, calibration_cell
from stream_mtl.watch.ticks import Tick
from stream_mtl.watch.words import DASH, count, number, ratio

_NAMES: Mapping[str, str] = {
    "log_loss": "log loss",
    "normalised_entropy": "normalised entropy",
    "calibration": "calibration",
    "auc": "AUC",
    "average_precision": "PR-AUC, average precision",
    "precision_recall_trapezoid": "PR-AUC, trapezoid",
    "expected_calibration_error": "ECE",
}
_LEAST = 30
"""Examples of a block below which it is not drawn."""


@dataclass(frozen=True, slots=True)
class Compared:
    """The ways of one output: of each, the step size that served it best."""

    output: str
    about: str
    contenders: Sequence[Contender]
    tried: Sequence[Contender] = ()  # all step sizes, where several were tried


@dataclass(frozen=True, slots=True)
class Comparison:
    """What there is to show."""

    title: str
    subtitle: str
    facts: Sequence[Fact]
    span: Span
    outputs: Sequence[Compared]
    notes: Sequence[str] = ()
    next_steps: Sequence[NextStep] = ()
    accounts: Mapping[str, Mapping[str, int]] = field(default_factory=dict)


def html(made: Comparison) -> str:
    """Return the page."""
    parts = [head(made.title, made.subtitle, made.facts), notes(made.notes)]
    for one in made.outputs:
        parts += _section(one, made.span)
    return page(made.title, [*parts, next_steps(made.next_steps)])


def show(made: Comparison, console: Console) -> None:
    """Print it."""
    facts = [
        Text.assemble((fact.value, "bold"), f" {fact.label}", (f"  {fact.note}" if fact.note else "", "dim"))
        for fact in made.facts
    ]
    text = Text("\n").join([Text(made.subtitle, style="dim"), *facts])
    console.print(Panel(text, title=made.title, title_align="left"))
    for one in made.outputs:
        console.print(as_rich(_table(one), one.output, wide=console.width >= _WIDE))
        console.print(_advice(one))
    for note in made.notes:
        console.print(Text(f"- {note}", style="dim"))
    for step in made.next_steps:
        command = (f"  {step.command}", "cyan") if step.command else ""
        console.print(Text.assemble("\n", step.text, "\n", command))


def as_plain(made: Comparison) -> dict[str, Any]:
    """Return it as JSON has it."""
    return {
        "title": made.title,
        "graded": {"since": made.span.since, "until": made.span.until, "block_ms": made.span.width},
        "accounts": {kind: dict(counts) for kind, counts in made.accounts.items()},
        "outputs": {one.output: _plain(one) for one in made.outputs},
        "notes": list(made.notes),
    }


_WIDE = 150


def _section(one: Compared, span: Span) -> Iterator[str]:
    yield f"<h2>{escape(one.output)}</h2><p>{escape(one.about)}</p>"
    advice = recommend(one.contenders)
    yield _advice_html(advice)
    yield tabular(_table(one))
    yield figures(_charts(one, advice, span))
    if len(one.tried) > len(one.contenders):
        yield f"<details><summary>Every step size that was tried</summary>{tabular(_tried(one))}</details>"
    for name, text in _NAMES.items():
        yield f"<details><summary>{escape(text)}, with intervals</summary>{tabular(_measured(one, name))}</details>"


def _advice_html(advice: Recommendation) -> str:
    if advice.way is None:
        return f'<p class="quiet">{escape("; ".join(advice.reasons))}.</p>'
    reasons = f"<p>Take <b>{escape(advice.way)}</b>: {escape('; '.join(advice.reasons))}.</p>"
    return reasons + notes([f"Mind that {warning}." for warning in advice.warnings])


def _advice(one: Compared) -> Text:
    advice = recommend(one.contenders)
    if advice.way is None:
        return Text("; ".join(advice.reasons), "dim")
    lines = [Text.assemble("take ", (advice.way, "bold green"), ": " + "; ".join(advice.reasons))]
    lines += [Text(f"mind that {warning}", "yellow") for warning in advice.warnings]
    return Text("\n").join(lines)


def _table(one: Compared) -> Table:
    heads = (
        Column("way"),
        Column("log loss", "mean surprise at what happened, in nats; less is better; the mean over seeds"),
        Column("behind", "log loss above that of the best way that can be had", "behind"),
        Column("95 %", "of that, by leaving out blocks of time", None),
        Column("calibration", "predicted / observed: above 1 promises too much", "calib."),
        Column("95 %", "of that, by leaving out blocks of time", None),
        Column("norm. ent.", "log loss / base rate's: below 1 beats the base rate", "NE"),
        Column("AUC", "how often a positive is ranked above a negative"),
        Column("avg. prec.", "PR-AUC, average precision: sum of precision over recall gained", "AP"),
        Column("PR trap.", "PR-AUC by the trapezoid rule, as papers print it", None),
        Column("examples", "rows learned, the mean over seeds", "rows"),
        Column("CPU s", "of predicting, learning and grading"),
    )
    order = ranked(one.contenders)
    best = next((way for way in order if not way.reads_ahead), None)
    chosen = recommend(one.contenders).way
    return Table(heads, [_row(way, best, chosen) for way in order])


def _row(way: Contender, best: Contender | None, chosen: str | None) -> list[TextCell]:
    found = {name: estimate(way, name) for name in MEASURES}
    behind = None if best is None or best is way else difference(way, best)
    name_tone: Tone = "good" if way.name == chosen else "quiet" if way.reads_ahead else ""
    why = (
        "reads ahead: nobody can have it" if way.reads_ahead else "to be taken" if way.name == chosen else ""
    )
    calibration = found["calibration"]
    return [
        TextCell(_named(way), why, name_tone),
        TextCell(number(way.log_loss), _varies(found["log_loss"])),
        _behind(behind),
        TextCell("" if behind is None else _interval(behind.over_time, 4)),
        calibration_cell(calibration.value, _varies(calibration)),
        TextCell(_interval(calibration.over_time, 3)),
        *(
            TextCell(write(found[name].value), _varies(found[name]))
            for name, write in (
                ("normalised_entropy", ratio),
                ("auc", number),
                ("average_precision", number),
                ("precision_recall_trapezoid", number),
            )
        ),
        TextCell(count(way.examples)),
        TextCell(number(way.cpu_seconds, 3)),
    ]


def _named(way: Contender) -> str:
    return way.name if way.rate == 1 else f"{way.name} × {way.rate:g}"


def _behind(behind: Difference | None) -> TextCell:
    if behind is None:
        return TextCell("")
    doubt = "" if behind.certain else "chance may have done that"
    return TextCell(f"{behind.value:+.4f}", doubt, "" if behind.certain else "quiet")


def _interval(interval: Interval | None, places: int) -> str:
    return DASH if interval is None else f"{interval[0]:.{places}f} to {interval[1]:.{places}f}"


def _varies(found: Estimate) -> str:
    parts = (
        ("95 % over time", found.over_time),
        ("over seeds", found.over_seeds),
        ("over hours of the day", found.over_hours),
    )
    return "; ".join(f"{name} {_interval(interval, 4)}" for name, interval in parts if interval is not None)


def _measured(one: Compared, name: str) -> Table:
    """Return one measure of every way with all its intervals."""
    heads = (
        Column("way"),
        Column(_NAMES[name], "the mean over seeds"),
        Column("95 % over time", "by leaving out blocks of time"),
        Column("over seeds", "least and greatest"),
        Column("over hours of the day", "least and greatest of the 24 hours, UTC"),
    )
    rows = []
    for way in ranked(one.contenders):
        found = estimate(way, name)
        spans = (found.over_time, found.over_seeds, found.over_hours)
        cells = [TextCell(_interval(span, 4)) for span in spans]
        rows.append([TextCell(_named(way)), TextCell(number(found.value)), *cells])
    return Table(heads, rows)


def _tried(one: Compared) -> Table:
    heads = (Column("way"), Column("log loss"), Column("calibration"), Column("AUC"))
    rows = [
        [
            TextCell(_named(way)),
            TextCell(number(way.log_loss)),
            TextCell(ratio(estimate(way, "calibration").value)),
            TextCell(number(estimate(way, "auc").value)),
        ]
        for way in ranked(one.tried)
    ]
    return Table(heads, rows)


def _charts(one: Compared, advice: Recommendation, span: Span) -> Iterator[str]:
    drawn = _drawn(one.contenders, advice)
    yield line_chart(
        "Calibration: predicted / observed",
        [_over_time(way, "calibration", span) for way in drawn],
        "when it was shown (UTC)",
        reference=1.0,
    )
    floor = next((way for way in drawn if way.reads_ahead), None)
    if floor is None:
        yield line_chart(
            "Log loss", [_over_time(way, "log_loss", span) for way in drawn], "when it was shown (UTC)"
        )
    else:
        behind = [_behind_over_time(way, floor, span) for way in drawn if way is not floor]
        yield line_chart(f"Log loss above {floor.name}", behind, "when it was shown (UTC)", reference=0.0)
    yield line_chart(
        "Calibration by hour of the day",
        [_over_hours(way) for way in drawn],
        "hour of the day it was shown in (UTC)",
        reference=1.0,
        ticks=_hour_ticks,
    )


def _drawn(contenders: Sequence[Contender], advice: Recommendation) -> list[Contender]:
    """Return as many ways as there are colours: the one to take and the next best, an oracle last."""
    order = ranked(contenders)
    oracles = [way for way in order if way.reads_ahead][:1]
    able = [way for way in order if not way.reads_ahead]
    return [*sorted(able, key=lambda way: way.name != advice.way)[: COLOURS - len(oracles)], *oracles]


def _over_time(way: Contender, measure: str, span: Span) -> Series:
    """Return the mean over seeds of each block that holds enough."""
    times = [span.since + (place + 0.5) * span.width for place in range(len(span))]
    return Series(way.name, times, _blocks(way, measure))


def _behind_over_time(way: Contender, floor: Contender, span: Span) -> Series:
    own, other = (_blocks(each, "log_loss") for each in (way, floor))
    values = [None if a is None or b is None else a - b for a, b in zip(own, other, strict=True)]
    return Series(way.name, _over_time(way, "log_loss", span).x, values)


def _blocks(way: Contender, measure: str) -> list[float | None]:
    columns = zip(*(marks.values[measure].blocks for marks in way.marks), strict=True)
    enough = [examples >= _LEAST for examples in way.marks[0].examples]
    return [_mean(column) if keep else None for column, keep in zip(columns, enough, strict=True)]


def _over_hours(way: Contender) -> Series:
    columns = zip(*(marks.values["calibration"].hours for marks in way.marks), strict=True)
    return Series(way.name, [float(hour) for hour in range(24)], [_mean(column) for column in columns])


def _hour_ticks(low: float, high: float) -> list[Tick]:
    return [Tick(hour, f"{hour}:00") for hour in range(0, 24, 4) if low <= hour <= high]


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if known and len(known) == len(values) else None


def _plain(one: Compared) -> dict[str, Any]:
    order, advice = ranked(one.contenders), recommend(one.contenders)
    best = next((way for way in order if not way.reads_ahead), None)
    return {
        "recommended": advice.way,
        "reasons": list(advice.reasons),
        "warnings": list(advice.warnings),
        "ways": [_plain_way(way, best) for way in order],
        "tried": [{"way": way.name, "rate": way.rate, "log_loss": way.log_loss} for way in one.tried],
    }


def _plain_way(way: Contender, best: Contender | None) -> dict[str, Any]:
    behind = None if best is None else difference(way, best)
    measures = {}
    for name in MEASURES:
        found = estimate(way, name)
        measures[name] = {
            "value": found.value,
            "over_time": found.over_time,
            "over_seeds": found.over_seeds,
            "over_hours": found.over_hours,
        }
    return {
        "way": way.name,
        "rate": way.rate,
        "seeds": len(way.marks),
        "reads_ahead": way.reads_ahead,
        "examples_graded": sum(way.marks[0].examples),
        "positives_graded": way.marks[0].positives,
        "examples_learned": way.examples,
        "cpu_seconds": way.cpu_seconds,
        "behind_best": None if behind is None else {"value": behind.value, "over_time": behind.over_time},
        "measures": measures,
    }

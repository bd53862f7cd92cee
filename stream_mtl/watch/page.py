"""A report as one HTML file that needs nothing else, for the screen, light or dark, and for paper."""

from collections.abc import Iterable, Iterator, Sequence
from html import escape

from stream_mtl.measures import Group
from stream_mtl.watch.charts import STYLE, Dot, Series, averaged, line_chart, reliability_chart
from stream_mtl.watch.early_table import TERMS as EARLY_TERMS
from stream_mtl.watch.early_table import early_rows, early_table
from stream_mtl.watch.parts import EarlyPoint, Fact, Learning, NextStep, Report, TaskReport
from stream_mtl.watch.tables import (
    SHOWN_SNAPSHOTS,
    Table,
    TextCell,
    accounts_table,
    is_value,
    label_table,
    snapshots_table,
    value_table,
)
from stream_mtl.watch.ticks import number_ticks
from stream_mtl.watch.words import brief, count

_PAGE_STYLE = """
* { box-sizing: border-box; } html { color-scheme: light dark; }
body { margin: 0; background: var(--paper); color: var(--ink); font: 15px/1.5 system-ui, "Segoe UI",
  "Helvetica Neue", Arial, sans-serif; }
main { max-width: 1120px; margin: 0 auto; padding: 36px 28px 60px; }
h1 { font-size: 27px; line-height: 1.2; margin: 0 0 4px; letter-spacing: -.01em; }
h2 { font-size: 18px; margin: 40px 0 6px; padding-top: 14px; border-top: 1px solid var(--line); }
h3 { font-size: 15.5px; margin: 26px 0 0; } p { margin: 4px 0 10px; } .quiet { color: var(--quiet); }
.cards { display: grid; grid-template-columns: repeat(auto-fit, minmax(165px, 1fr)); gap: 12px; margin: 24px 0 8px; }
.card { background: var(--card); border-radius: 8px; padding: 12px 15px; }
.card b { display: block; font-size: 23px; line-height: 1.25; font-weight: 600; font-variant-numeric: tabular-nums; }
.card span { color: var(--quiet); font-size: 13px; display: block; line-height: 1.35; }
.scroll { overflow-x: auto; } table { border-collapse: collapse; width: 100%; font-size: 13.5px;
  font-variant-numeric: tabular-nums; margin: 8px 0 4px; }
th, td { text-align: right; padding: 6px 0 6px 14px; border-bottom: 1px solid var(--line); white-space: nowrap; }
th { color: var(--quiet); font-weight: 500; font-size: 12.5px; vertical-align: bottom; }
th:first-child, td:first-child { text-align: left; padding-left: 0; } td:first-child { font-weight: 600; }
[title] { cursor: help; } .tone-quiet { color: var(--quiet); }
.tone-good::before, .tone-fair::before, .tone-poor::before { content: ""; display: inline-block; width: 7px;
  height: 7px; border-radius: 50%; margin-right: 7px; vertical-align: 1px; }
.tone-good::before { background: var(--s2); } .tone-fair::before { background: #d9a13b; }
.tone-poor::before { background: var(--s4); }
.early { border-left: 3px dotted var(--s1); padding-left: 16px; margin-top: 22px; } .early h3 { margin-top: 0; }
.early td { font-style: italic; }
.terms { color: var(--quiet); font-size: 13px; } .terms b { color: var(--ink); font-weight: 600; }
.charts { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(440px, 100%), 1fr)); gap: 14px 26px;
  margin: 8px 0 4px; } figure { margin: 0; max-width: 700px; }
ol, ul { padding-left: 20px; margin: 6px 0; } li { margin: 5px 0; }
pre { background: var(--card); border-radius: 6px; padding: 9px 13px; margin: 5px 0 12px; font-size: 13px;
  white-space: pre-wrap; overflow-wrap: anywhere; }
@media screen and (max-width: 900px) { main { padding: 24px 18px 40px; } table { font-size: 12.5px; }
  th { font-size: 11.5px; } th, td { padding-left: 8px; } }
@page { margin: 14mm; }
@media print { body { font-size: 10.5pt; } main { padding: 0; max-width: none; } figure, .card, tr, pre
  { break-inside: avoid; } h2, h3, h2 + .cards { break-after: avoid; } .charts { grid-template-columns: 1fr 1fr; }
  .scroll { overflow: visible; } table { font-size: 8.5pt; } th { font-size: 8pt; } th, td { padding-left: 8px; }
  * { -webkit-print-color-adjust: exact; print-color-adjust: exact; } }
"""

_TERMS = (
    ("calibration", "predicted / observed; 1 keeps its promises, above 1 promises too much"),
    ("normalised entropy", "log loss over that of the base rate; below 1 beats the base rate"),
    ("AUC", "how often a positive is ranked above a negative; 0.5 is chance"),
    ("ECE", "mean distance of predicted and observed over groups of similar predictions"),
)
_LABEL_CURVES = (
    ("calibration", "Calibration: predicted / observed", 1.0),
    ("normalised_entropy", "Normalised entropy: below 1 beats the base rate", 1.0),
    ("auc", "AUC: how often a positive is ranked above a negative", None),
)
_VALUE_CURVES = (
    ("calibration", "Calibration: predicted / observed", 1.0),
    ("mean_absolute_error", "Mean absolute error", None),
)


def html(report: Report) -> str:
    """Return the page."""
    parts = (
        head(report.title, report.subtitle, report.facts),
        notes(report.notes),
        _quality(report.tasks),
        *map(_task, report.tasks),
        _accounts(report),
        "" if report.learning is None else _learning(report.learning),
        _snapshots(report),
        next_steps(report.next_steps),
    )
    return page(report.title, parts)


def page(title: str, parts: Iterable[str]) -> str:
    """Return a page that needs nothing else, of parts that are HTML."""
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{escape(title)}</title>\n<style>{STYLE}{_PAGE_STYLE}</style></head>\n<body><main>\n"
        + "\n".join(part for part in parts if part)
        + "\n</main></body></html>\n"
    )


def head(title: str, subtitle: str, facts: Sequence[Fact]) -> str:
    """Return the title, and the headlines under it."""
    under = f'<p class="quiet">{escape(subtitle)}</p>' if subtitle else ""
    cards = "".join(map(_card, facts))
    return f"<h1>{escape(title)}</h1>{under}" + (f'<div class="cards">{cards}</div>' if cards else "")


def _card(fact: Fact) -> str:
    note = f"<span>{escape(fact.note)}</span>" if fact.note else ""
    return f'<div class="card"><span>{escape(fact.label)}</span><b>{escape(fact.value)}</b>{note}</div>'


def notes(texts: Sequence[str]) -> str:
    """Return remarks as a list."""
    return f'<ul class="quiet">{"".join(f"<li>{escape(text)}</li>" for text in texts)}</ul>' if texts else ""


def _quality(tasks: Sequence[TaskReport]) -> str:
    if not tasks:
        return ""
    tables = "".join(tabular(table) for table in (label_table(tasks), value_table(tasks)) if table.rows)
    terms = "; ".join(f"<b>{escape(name)}</b>: {escape(meaning)}" for name, meaning in _TERMS)
    return f'<h2>Was it right</h2>{tables}<p class="terms">{terms}.</p>{_early(tasks)}'


def _early(tasks: Sequence[TaskReport]) -> str:
    """Return what is not final yet, in a frame and a hand of its own."""
    rows = early_rows(tasks)
    if not rows:
        return ""
    terms = "; ".join(f"<b>{escape(name)}</b>: {escape(meaning)}" for name, meaning in EARLY_TERMS)
    return (
        '<div class="early"><h3>Not final yet</h3><p class="quiet">Above are final labels only. What follows is about '
        f"labels that still come: proxies and estimates.</p>{tabular(early_table(rows))}"
        f'<p class="terms">{terms}.</p></div>'
    )


def _task(task: TaskReport) -> str:
    charts = list(_charts(task))
    if not charts:
        return ""
    return f'<h3>{escape(task.name)}</h3><p class="quiet">{escape(task.about)}</p>{figures(charts)}'


def _charts(task: TaskReport) -> Iterator[str]:
    times = [point.time for point in task.curve]
    for name, title, reference in _VALUE_CURVES if is_value(task) else _LABEL_CURVES:
        values = [point.reading.get(name) for point in task.curve]
        lines = [Series("final" if task.early_curve else task.name, times, values)]
        if name == "calibration":
            lines += _early_lines(task.early_curve)
        if any(value is not None for line in lines for value in line.y):
            yield line_chart(title, lines, reference=reference)
    if task.reliability:
        yield reliability_chart("Reliability: on the line it keeps its promises", _dots(task.reliability))


def _early_lines(curve: Sequence[EarlyPoint]) -> Iterator[Series]:
    times = [point.time for point in curve]
    if any(point.estimate is not None for point in curve):
        bands = [point.interval for point in curve]
        yield Series("estimate, 95 %", times, [point.estimate for point in curve], bands, "estimate")
    if any(point.proxy is not None for point in curve):
        yield Series("proxy", times, [point.proxy for point in curve], (), "proxy")


def _dots(groups: Sequence[Group]) -> list[Dot]:
    return [Dot(group.count, group.predicted, group.observed) for group in groups]


def _accounts(report: Report) -> str:
    if not report.accounts:
        return ""
    says = "Every record that was read is in exactly one of these accounts."
    return f'<h2>Accounts</h2><p class="quiet">{says}</p>{tabular(accounts_table(report))}'


def _learning(learning: Learning) -> str:
    rate = learning.rows_per_second
    facts = [Fact("steps", count(learning.steps)), Fact("examples", count(learning.examples))]
    facts += [Fact("examples per second", brief(rate))] if rate is not None else []
    charts = [
        line_chart(f"Loss of {name}", [_loss(name, points)], "step \u2192", ticks=number_ticks)
        for name, points in learning.losses.items()
        if points
    ]
    cards = "".join(map(_card, facts))
    return f'<h2>Learning</h2><div class="cards">{cards}</div>{figures(charts)}'


def _loss(name: str, points: Sequence[tuple[int, float]]) -> Series:
    return averaged(Series(name, [step for step, _ in points], [loss for _, loss in points]))


def _snapshots(report: Report) -> str:
    if not report.snapshots:
        return ""
    left = len(report.snapshots) - SHOWN_SNAPSHOTS
    more = f'<p class="quiet">and {count(left)} before them.</p>' if left > 0 else ""
    return f"<h2>Snapshots</h2>{tabular(snapshots_table(report))}{more}"


def next_steps(steps: Sequence[NextStep]) -> str:
    """Return what to do next, with the commands."""
    items = (
        f"<li>{escape(step.text)}" + (f"<pre>{escape(step.command)}</pre>" if step.command else "") + "</li>"
        for step in steps
    )
    return f"<h2>Next steps</h2><ol>{''.join(items)}</ol>" if steps else ""


def figures(charts: Iterable[str]) -> str:
    """Return charts beside each other."""
    framed = "".join(f"<figure>{chart}</figure>" for chart in charts)
    return f'<div class="charts">{framed}</div>' if framed else ""


def tabular(table: Table) -> str:
    """Return a table."""
    heads = "".join(f"<th{_title(column.meaning)}>{escape(column.text)}</th>" for column in table.columns)
    rows = "".join(f"<tr>{''.join(map(_cell, row))}</tr>" for row in table.rows)
    return f'<div class="scroll"><table><thead><tr>{heads}</tr></thead><tbody>{rows}</tbody></table></div>'


def _cell(cell: TextCell) -> str:
    tone = f' class="tone-{cell.tone}"' if cell.tone else ""
    return f"<td{tone}{_title(cell.why)}>{escape(cell.text)}</td>"


def _title(text: str) -> str:
    return f' title="{escape(text)}"' if text else ""

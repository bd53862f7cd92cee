"""A report on the terminal: the same tables, without the charts."""

from collections.abc import Iterator, Sequence

from rich import box
from rich.console import Console, Group, RenderableType
from rich.panel import Panel
from rich.table import Table as RichTable
from rich.text import Text

from stream_mtl.watch.early_table import TERMS, early_rows, early_table
from stream_mtl.watch.parts import Report
from stream_mtl.watch.tables import (
    Column,
    Table,
    TextCell,
    accounts_table,
    label_table,
    snapshots_table,
    value_table,
)

STYLES = {"": "", "quiet": "dim", "good": "green", "fair": "yellow", "poor": "red"}
"""How a tone looks."""


_TERMS = (
    "calibration: predicted / observed, above 1 promises too much; norm. entropy: below 1 beats the base rate"
)

WIDE = 110
"""A terminal narrower than this has short heads, and fewer columns."""


def show(report: Report, console: Console) -> None:
    """Print the report."""
    for part in _parts(report, console.width >= WIDE):
        console.print(part)


def as_rich(table: Table, title: str = "", wide: bool = True) -> RichTable:
    """Return a table as rich draws it."""
    kept = [i for i, column in enumerate(table.columns) if wide or column.short is not None]
    made = with_heads([table.columns[i] for i in kept], title, wide)
    for row in table.rows:
        made.add_row(*(cell_text(row[i]) for i in kept))
    return made


def with_heads(columns: Sequence[Column], title: str = "", wide: bool = True) -> RichTable:
    """Return a table without rows."""
    made = RichTable(title=f"\n{title}" if title else None, title_justify="left", title_style="bold")
    made.box, made.show_edge, made.pad_edge, made.collapse_padding = box.SIMPLE_HEAD, False, False, not wide
    made.padding = (0, 1)
    for i, column in enumerate(columns):
        head = column.text if wide else column.short or column.text
        if i:
            made.add_column(head, justify="right", overflow="ellipsis", no_wrap=True)
        else:
            made.add_column(head, overflow="fold")
    return made


def cell_text(cell: TextCell) -> Text:
    """Return what stands in a cell, in the style of its tone."""
    return Text(cell.text, style=STYLES[cell.tone])


def _parts(report: Report, wide: bool) -> Iterator[RenderableType]:
    facts = [
        Text.assemble((fact.value, "bold"), f" {fact.label}", (_note(fact.note), "dim"))
        for fact in report.facts
    ]
    yield Panel(Group(Text(report.subtitle, style="dim"), *facts), title=report.title, title_align="left")
    for title, table in _tables(report):
        if table.rows:
            yield as_rich(table, title, wide)
    if report.tasks:
        yield Text(f"\n{_TERMS}", "dim")
    if early_rows(report.tasks):
        yield Text("; ".join(f"{name}: {meaning}" for name, meaning in TERMS), "dim")
    yield from (Text(f"- {note}", style="dim") for note in report.notes)
    for step in report.next_steps:
        yield Text.assemble("\n", step.text, "\n", (f"  {step.command}", "cyan") if step.command else "")


def _tables(report: Report) -> Iterator[tuple[str, Table]]:
    yield "Was it right", label_table(report.tasks)
    yield "Values", value_table(report.tasks)
    yield "Not final yet: proxies and estimates", early_table(early_rows(report.tasks))
    yield "Accounts", accounts_table(report)
    yield "Snapshots", snapshots_table(report)


def _note(note: str) -> str:
    return f"  {note}" if note else ""

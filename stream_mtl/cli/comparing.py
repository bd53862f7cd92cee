"""What `replay --compare` does, and the bar that shows how far a replay is."""

import json
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

from stream_mtl.cli.app import say
from stream_mtl.config.load import Loaded
from stream_mtl.config.units import parse_duration
from stream_mtl.errors import ConfigError


@dataclass(frozen=True, slots=True)
class Asked:
    """The options, as they were written."""

    ways: str
    tasks: str | None
    seeds: int
    rates: str | None
    grade_after: str | None
    workers: int


def compare_(config: Path, loaded: Loaded, asked: Asked, out: Path | None, as_json_: bool) -> None:
    """Compare, print, and write the page."""
    from stream_mtl.processes.compare import CompareOptions, compare, ways_of
    from stream_mtl.processes.stop import stopped_by_signals
    from stream_mtl.processes.verdict import comparison_of
    from stream_mtl.watch.comparison_page import as_plain, html, show

    options = CompareOptions(
        ways=ways_of(asked.ways),
        tasks=_names(asked.tasks),
        seeds=asked.seeds,
        rates=_numbers(asked.rates),
        grade_after=_duration(asked.grade_after),
        workers=asked.workers or os.cpu_count() or 1,
    )
    folder = Path(f"{config.stem}-compare") if out is None else out
    with stopped_by_signals() as stop, progress_bar("compare") as progress:
        made = compare(loaded, options, folder, stop, progress)
    comparison = comparison_of(made, f"{config.name}: which way with late labels", config)
    page = folder / "report.html"
    folder.mkdir(parents=True, exist_ok=True)
    page.write_text(html(comparison))
    if as_json_:
        typer.echo(json.dumps({**as_plain(comparison), "page": str(page)}))
    else:
        show(comparison, Console(width=max(100, Console().width)))
    say(f"report: {page}")


@contextmanager
def progress_bar(what: str, counted: str = "") -> Iterator[Callable[[int, int, int], None]]:
    """Give a function that moves a bar on stderr; where that is no terminal, it is silent.

    It is told what is done, what there is, and a number that stands beside the bar, where `counted` says of what.
    """
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TaskProgressColumn(),
        *((TextColumn("{task.fields[number]:,} " + counted),) if counted else ()),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(what, number=0)

        def show(done: int, total: int, number: int) -> None:
            bar.update(task, completed=done, total=max(total, 1), number=number)

        yield show


def _names(text: str | None) -> tuple[str, ...]:
    return tuple(filter(None, (name.strip() for name in (text or "").split(","))))


def _numbers(text: str | None) -> tuple[float, ...]:
    try:
        return tuple(float(one) for one in _names(text))
    except ValueError as error:
        raise ConfigError(f"--rates {text}: {error}; write numbers: --rates 0.5,1,2") from None


def _duration(text: str | None) -> int | None:
    try:
        return None if text is None else parse_duration(text)
    except ValueError as error:
        raise ConfigError(f"--grade-after {text}: {error}") from None

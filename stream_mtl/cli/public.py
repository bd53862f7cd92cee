"""Commands for the public logs of late labels that a user may have."""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer
from rich import box
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn
from rich.table import Table

from stream_mtl.cli.app import app, say
from stream_mtl.cli.tables import Json, print_table, right


@app.command("load")
def load_(
    log: Annotated[str, typer.Argument(metavar="LOG", help="criteo, criteo-attribution or cascade.")],
    file: Annotated[
        Path, typer.Argument(metavar="FILE", help="The log, or a folder of its files; .gz is unpacked.")
    ],
    folder: Annotated[
        Path, typer.Argument(metavar="FOLDER", help="Where the events go; must not hold any yet.")
    ],
    as_json_: Json = False,
) -> None:
    """Turn a public log into event files in order of time and a configuration that fits, ready to be replayed.

    Rows that cannot be read are counted, and kept with the reason in FOLDER/unreadable.jsonl.

    Examples:

    stream-mtl load criteo data.txt criteo/

    stream-mtl replay criteo/config.toml
    """
    from stream_mtl.public.load import load
    from stream_mtl.public.logs import log_named

    chosen = log_named(log)
    with _progress("reading") as progress:
        loaded = load(chosen, file, folder, progress)
    if as_json_:
        counts = {"events": loaded.events, "unreadable": loaded.unreadable, "left_out": loaded.left_out}
        typer.echo(json.dumps({"rows": loaded.rows, **counts}))
    else:
        table = Table("what", right("count"), box=box.SIMPLE)
        table.add_row("rows", f"{loaded.rows:,}")
        for kind, count in loaded.events.items():
            table.add_row(f"{kind} events", f"{count:,}")
        for reason, count in [*loaded.unreadable.items(), *loaded.left_out.items()]:
            table.add_row(reason, f"{count:,}")
        print_table(table)
    say(f"next: stream-mtl replay {folder / 'config.toml'}")


@contextmanager
def _progress(what: str) -> Iterator[Callable[[int, int, int], None]]:
    """Give a function that moves a bar on stderr; where that is no terminal, it is silent."""
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TaskProgressColumn(),
        TextColumn("{task.fields[rows]:,} rows"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(what, rows=0)

        def show(done: int, total: int, rows: int) -> None:
            bar.update(task, completed=done, total=max(total, 1), rows=rows)

        yield show

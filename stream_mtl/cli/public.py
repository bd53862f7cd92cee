"""Commands for the public logs of late labels that a user may have."""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer
from rich import box
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TaskProgressColumn, TextColumn, TimeRemainingColumn
from rich.table import Table

from stream_mtl.cli.app import app, say
from stream_mtl.cli.comparing import progress_bar
from stream_mtl.cli.tables import Json, print_table, print_wide, right


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
    with progress_bar("reading", "rows") as progress:
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


@app.command("criteo")
def criteo_(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="Criteo's conversion log; .gz is unpacked.")],
    methods: Annotated[
        str | None,
        typer.Option(
            metavar="NAME,...", help="What is compared, as in a configuration; absent: every method."
        ),
    ] = None,
    pretrain_days: Annotated[int, typer.Option(help="Days before the stream.")] = 30,
    days: Annotated[int, typer.Option(help="Days in all.")] = 60,
    window_days: Annotated[int, typer.Option(help="A conversion counts within so many days.")] = 30,
    rows: Annotated[
        int | None, typer.Option(help="So many clicks, evenly spread over the log; absent: all.")
    ] = None,
    epochs: Annotated[int, typer.Option(help="Passes over the days before the stream.")] = 5,
    frozen_heads: Annotated[
        bool,
        typer.Option(
            "--frozen-heads", help="Auxiliary logits from a network of their own that learns no more."
        ),
    ] = False,
    leaky_labels: Annotated[
        bool,
        typer.Option("--leaky-labels", help="Pretraining knows what comes during the stream, as published."),
    ] = False,
    seed: Annotated[int, typer.Option(help="Of all that is random.")] = 0,
    threads: Annotated[int, typer.Option(help="Threads of the learners.")] = 1,
    as_json_: Json = False,
) -> None:
    """Run the streaming protocol of the ES-DFM paper over Criteo's conversion log: a table of every method.

    What differs from the publication is in docs/criteo.md.

    Examples:

    stream-mtl criteo data.txt --rows 1000000

    stream-mtl criteo data.txt --methods es_dfm:15m,fnw --frozen-heads --json
    """
    from stream_mtl.processes.criteo import METHODS, Protocol, methods_of, run_criteo
    from stream_mtl.processes.criteo_table import as_plain, tables

    protocol = Protocol(pretrain_days, days, window_days, epochs, frozen_heads, leaky_labels, seed, threads)
    chosen = methods_of(METHODS if methods is None else methods)
    with _stages() as progress:
        table = run_criteo(file, chosen, protocol, rows, progress)
    if as_json_:
        typer.echo(json.dumps(as_plain(table)))
    else:
        print_wide(*tables(table))


@contextmanager
def _stages() -> Iterator[Callable[[str, int, int], None]]:
    """Give a function that moves one bar after another on stderr; where that is no terminal, a line for each."""
    columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeRemainingColumn())
    console = Console(stderr=True)
    with Progress(*columns, console=console, transient=True) as bar:
        tasks: dict[str, TaskID] = {}

        def show(stage: str, done: int, total: int) -> None:
            if stage not in tasks:
                tasks[stage] = bar.add_task(stage)
                if not console.is_terminal:
                    say(stage)
            bar.update(tasks[stage], completed=done, total=max(total, 1))

        yield show

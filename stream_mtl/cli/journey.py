"""Commands for the journey as a whole: events that are made, replayed, and shown live."""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

from stream_mtl.cli.app import ConfigFile, Overrides, app, loaded, print_accounts, say


@app.command("gen")
def gen(
    folder: Annotated[
        Path, typer.Argument(metavar="FOLDER", help="Where the files go; must not hold any yet.")
    ],
    knobs: Annotated[
        list[str], typer.Option("-X", metavar="NAME=VALUE", help="Set a knob, like ctr=0.03 or duration=7d.")
    ] = [],  # noqa: B006
    table: Annotated[
        Path | None, typer.Option("--knobs", metavar="FILE", help="A TOML file with a table [generate].")
    ] = None,
    impressions: Annotated[int | None, typer.Option(help="How many exposures.")] = None,
    seed: Annotated[int | None, typer.Option(help="Same seed, same files.")] = None,
    format_: Annotated[str, typer.Option("--format", help="avro, jsonl or csv.")] = "avro",
    files: Annotated[int, typer.Option(help="Files per kind of event.")] = 1,
    as_json_: Annotated[bool, typer.Option("--json", help="Print the accounts as JSON.")] = False,
) -> None:
    """Generate a marketplace with known truth: event files, the truth beside them, a configuration that fits.

    Examples:

    stream-mtl gen market --impressions 100000 --seed 1

    stream-mtl gen market -X cvr=0.2 -X 'conversion_delays=[{weibull={scale="20h",shape=0.8}}]'

    stream-mtl run join market/config.toml
    """
    from stream_mtl.generate.command import generate_files

    chosen = {"impressions": impressions, "seed": seed}
    set_ = [f"{name}={value}" for name, value in chosen.items() if value is not None]
    accounts = generate_files(folder, table, [*knobs, *set_], format_, files)
    print_accounts(accounts, as_json_)
    say(f"{folder}: event files, truth/ and config.toml; next: stream-mtl replay {folder / 'config.toml'}")


@app.command("replay")
def replay_(
    config: ConfigFile,
    overrides: Overrides = [],  # noqa: B006
    events: Annotated[
        Path | None,
        typer.Option(metavar="PATH", help="The folder of the events, if it is not the configuration's."),
    ] = None,
    out: Annotated[
        Path | None, typer.Option(metavar="FOLDER", help="Where report and dead letters go.")
    ] = None,
    as_json_: Annotated[bool, typer.Option("--json", help="Print the report as JSON.")] = False,
) -> None:
    """Join and learn from recorded events as fast as they can be read, and report how good it was.

    Examples:

    stream-mtl replay market/config.toml

    stream-mtl replay examples/rees46.toml --events logs/ -X tasks.purchase.method=fnw
    """
    from stream_mtl.processes.replay import replay
    from stream_mtl.processes.stop import stopped_by_signals
    from stream_mtl.processes.summary import report_of
    from stream_mtl.watch.report import as_plain, html, show

    folder = Path(f"{config.stem}-replay") if out is None else out
    folder.mkdir(parents=True, exist_ok=True)
    with stopped_by_signals() as stop, _progress() as progress:
        replayed = replay(loaded(config, overrides, events), folder / "dead-letters", stop, progress)
    report = report_of(replayed, f"Replay of {config.name}", config)
    page = folder / "report.html"
    page.write_text(html(report))
    if as_json_:
        typer.echo(json.dumps({**as_plain(report), "digest": replayed.digest, "page": str(page)}))
    else:
        show(report, Console(width=max(100, Console().width)))
    say(f"report: {page}")


@contextmanager
def _progress() -> Iterator[Callable[[int, int, int], None]]:
    """Give a function that moves a bar on stderr; where that is no terminal, it is silent."""
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TaskProgressColumn(),
        TextColumn("{task.fields[records]:,} records"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("replay", records=0)

        def show(read: int, size: int, records: int) -> None:
            bar.update(task, completed=read, total=max(size, 1), records=records)

        yield show


@app.command("digest")
def digest_(
    config: ConfigFile,
    overrides: Overrides = [],  # noqa: B006
    as_json_: Annotated[bool, typer.Option("--json", help="JSON instead of lines.")] = False,
) -> None:
    """Print hashes of what has been made so far, for comparing runs.

    Example: stream-mtl digest market/config.toml --json
    """
    from stream_mtl.processes.digest import digest

    made = digest(loaded(config, overrides))
    if as_json_:
        typer.echo(json.dumps(made))
        return
    for name, value in made.items():
        if name != "accounts":
            typer.echo(f"{name} {value}")

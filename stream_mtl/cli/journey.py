"""Commands for the journey as a whole: events that are made, replayed, and shown live."""

import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.live import Live

from stream_mtl.cli.app import ConfigFile, Overrides, app, loaded, print_accounts, say
from stream_mtl.cli.comparing import Asked, compare_, progress_bar


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
    compare: Annotated[
        str | None,
        typer.Option(
            metavar="WAYS", help="Methods, or challengers by name, to be compared: wait:24h,fnw,oracle."
        ),
    ] = None,
    tasks: Annotated[
        str | None,
        typer.Option(metavar="NAMES", help="With --compare: whose method; the latest label's if absent."),
    ] = None,
    seeds: Annotated[
        int, typer.Option(help="With --compare: learners of each way, each with a seed of its own.")
    ] = 1,
    rates: Annotated[
        str | None,
        typer.Option(
            metavar="NUMBERS", help="With --compare: factors of the learning rates to be tried: 0.5,1,2."
        ),
    ] = None,
    grade_after: Annotated[
        str | None,
        typer.Option(
            metavar="DURATION",
            help="With --compare: how long is learned before it counts; a window's length.",
        ),
    ] = None,
    workers: Annotated[int, typer.Option(help="With --compare: processes; 0: one for each core.")] = 0,
    as_json_: Annotated[bool, typer.Option("--json", help="Print the report as JSON.")] = False,
) -> None:
    """Join and learn from recorded events as fast as they can be read, and report how good it was.

    With --compare: which way of treating late labels would have served best, for one read and one join.

    Examples:

    stream-mtl replay market/config.toml

    stream-mtl replay examples/rees46.toml --events logs/ -X tasks.purchase.method=fnw

    stream-mtl replay market/config.toml --compare wait:15m,wait:24h,fnw,es_dfm:15m,oracle --seeds 3
    """
    if compare is not None:
        asked = Asked(compare, tasks, seeds, rates, grade_after, workers)
        compare_(config, loaded(config, overrides, events), asked, out, as_json_)
        return
    from stream_mtl.processes.replay import replay
    from stream_mtl.processes.stop import stopped_by_signals
    from stream_mtl.processes.summary import report_of
    from stream_mtl.watch.report import as_plain, html, show

    made = loaded(config, overrides, events)
    folder = Path(f"{config.stem}-replay") if out is None else out
    with stopped_by_signals() as stop, progress_bar("replay", "records") as progress:
        replayed = replay(made, folder / "dead-letters", stop, progress)
    report = report_of(replayed, f"Replay of {config.name}", config)
    page = folder / "report.html"
    folder.mkdir(parents=True, exist_ok=True)
    page.write_text(html(report))
    if as_json_:
        typer.echo(json.dumps({**as_plain(report), "digest": replayed.digest, "page": str(page)}))
    else:
        show(report, Console(width=max(100, Console().width)))
    say(f"report: {page}")


@app.command("demo")
def demo_(
    folder: Annotated[
        Path,
        typer.Option(metavar="FOLDER", help="Where everything goes; emptied if an earlier demo made it."),
    ] = Path("stream-mtl-demo"),
    seconds: Annotated[float, typer.Option(help="How long it runs; 0: until Ctrl-C.")] = 90,
    requests: Annotated[float, typer.Option(help="Requests a second.")] = 60,
    seed: Annotated[int, typer.Option(help="Another seed, another market.")] = 0,
) -> None:
    """Run a simulated marketplace on the real processes: it asks for scores, clicks and buys late; watch it learn.

    Needs no server. Ends by itself, or with Ctrl-C; then it writes a report.

    Example: stream-mtl demo
    """
    from stream_mtl.clock import system_clock
    from stream_mtl.processes.aftermath import report_of_demo
    from stream_mtl.processes.demo import Demo, DemoOptions
    from stream_mtl.processes.stop import stopped_by_signals
    from stream_mtl.processes.top import view_of
    from stream_mtl.watch.report import html, show

    began = system_clock()
    demo = Demo(DemoOptions(folder, requests=requests, seed=seed), system_clock)
    say(f"a marketplace in {folder}: starting join, train, serve and watch, as in production; Ctrl-C ends it")
    with stopped_by_signals() as stop, _screen() as draw:

        def over() -> bool:
            return stop() or (seconds > 0 and system_clock() - began >= seconds * 1_000)

        demo.run(over, lambda: draw(view_of(demo.loaded, "stream-mtl demo", began, system_clock)))
    report = report_of_demo(demo, (system_clock() - began) / 1_000)
    page = folder / "report.html"
    page.write_text(html(report))
    show(report, Console(width=max(100, Console().width)))
    say(f"report: {page}")


@contextmanager
def _screen() -> Iterator[Callable[[Any], None]]:
    """Give a function that draws a view: on the whole terminal, or as a line now and then where there is none."""
    from stream_mtl.watch.terminal import View, line, screen

    console = Console(stderr=True)
    if console.is_terminal:
        with Live(console=console, auto_refresh=False, transient=True) as live:
            yield lambda view: live.update(screen(view, console.width), refresh=True)
        return
    due = time.monotonic()

    def print_line(view: View) -> None:
        nonlocal due
        if time.monotonic() >= due:
            due = time.monotonic() + 5
            say(line(view))

    yield print_line


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

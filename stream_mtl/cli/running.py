"""Commands that run the processes."""

import json
import time
from typing import Annotated

import typer
from rich.console import Console
from rich.live import Live

from stream_mtl.cli.app import Challenger, ConfigFile, Overrides, app, loaded, print_accounts, say

run_app = typer.Typer(no_args_is_help=True)
app.add_typer(run_app, name="run", help="Run a process.")

Follow = Annotated[bool, typer.Option("--follow", help="Wait for more at the end, until Ctrl-C.")]
Json = Annotated[bool, typer.Option("--json", help="Print what was done as JSON.")]


@run_app.command("join")
def run_join(
    config: ConfigFile,
    overrides: Overrides = [],  # noqa: B006
    follow: Follow = False,
    as_json_: Json = False,
) -> None:
    """Join the events of a configuration into its log of transitions; goes on where it was stopped.

    Example: stream-mtl run join market/config.toml
    """
    from stream_mtl.processes.join import join
    from stream_mtl.processes.stop import stopped_by_signals

    with stopped_by_signals() as stop:
        accounts = join(loaded(config, overrides), stop, follow=follow)
    print_accounts(accounts, as_json_)


@run_app.command("train")
def run_train(
    config: ConfigFile,
    overrides: Overrides = [],  # noqa: B006
    follow: Follow = False,
    as_json_: Json = False,
    challenger: Challenger = None,
) -> None:
    """Learn from the log of transitions and publish snapshots; goes on where it was stopped.

    Examples:

    stream-mtl run train market/config.toml

    stream-mtl run train market/config.toml --follow --challenger fresh
    """
    from stream_mtl.processes.stop import stopped_by_signals
    from stream_mtl.processes.train import train

    with stopped_by_signals() as stop:
        facts = train(loaded(config, overrides, challenger_=challenger), stop, follow=follow)
    typer.echo(
        json.dumps(facts)
        if as_json_
        else f"{facts.get('examples', 0):,} examples, snapshot {facts.get('snapshot')}"
    )


@run_app.command("serve")
def run_serve(
    config: ConfigFile,
    overrides: Overrides = [],  # noqa: B006
) -> None:
    """Answer POST /score from the latest snapshot, until Ctrl-C.

    Example: stream-mtl run serve market/config.toml -X serve.port=8080
    """
    from stream_mtl.processes.serve import serve
    from stream_mtl.processes.stop import stopped_by_signals

    with stopped_by_signals() as stop:
        serve(loaded(config, overrides), stop, announce=lambda host, port: say(f"http://{host}:{port}/score"))


@run_app.command("watch")
def run_watch(
    config: ConfigFile,
    overrides: Overrides = [],  # noqa: B006
    follow: Follow = False,
) -> None:
    """Measure the scores that were served against the labels that came, and write readings.

    Example: stream-mtl run watch market/config.toml --follow
    """
    import msgspec

    from stream_mtl.processes.stop import stopped_by_signals
    from stream_mtl.processes.watch import watch

    with stopped_by_signals() as stop:
        readings = watch(loaded(config, overrides), stop, follow=follow)
    typer.echo(msgspec.json.encode(readings).decode())


@run_app.command("all")
def run_all(
    config: ConfigFile,
    overrides: Overrides = [],  # noqa: B006
) -> None:
    """Join, train, serve and watch over live sources, each as a process of its own, until Ctrl-C.

    Example: stream-mtl run all market/config.toml
    """
    from stream_mtl.processes.everything import everything
    from stream_mtl.processes.stop import stopped_by_signals

    arguments = [argument for override in overrides for argument in ("-X", override)]
    with stopped_by_signals() as stop:
        everything(
            loaded(config, overrides),
            config,
            arguments,
            stop,
            lambda address: say(f"{address}/score; Ctrl-C ends it"),
        )


@app.command("top")
def top(
    config: ConfigFile,
    overrides: Overrides = [],  # noqa: B006
    once: Annotated[bool, typer.Option("--once", help="Show it once, and end.")] = False,
) -> None:
    """Show what the running processes of a configuration say, and how good the served scores are.

    Example: stream-mtl top market/config.toml
    """
    from stream_mtl.clock import system_clock
    from stream_mtl.processes.stop import stopped_by_signals
    from stream_mtl.processes.top import view_of
    from stream_mtl.watch.terminal import View, line, screen

    made, began, console = loaded(config, overrides), system_clock(), Console()

    def view() -> View:
        return view_of(made, config.name, began, system_clock)

    if once or not console.is_terminal:
        console.print(screen(view(), console.width)) if once else typer.echo(line(view()))
        return
    with stopped_by_signals() as stop, Live(console=console, screen=True, auto_refresh=False) as live:
        while not stop():
            live.update(screen(view(), console.width), refresh=True)
            time.sleep(0.5)

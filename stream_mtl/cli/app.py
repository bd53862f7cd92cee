"""The command line's frame: one application, how it fails, and what every command shares."""

import json
import logging
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import structlog
import typer
from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text
from typer.core import TyperGroup

from stream_mtl import __version__, failpoints
from stream_mtl.config.challengers import challenger
from stream_mtl.config.load import Loaded, load
from stream_mtl.errors import StreamMtlError, Unavailable

EPILOG = (
    "Exit codes: 0 done, 1 failed, 2 wrong usage or configuration, "
    "3 bad input, 4 bad state, 5 fenced, 6 unavailable, 7 hung, 8 the log has lost what comes next."
)


_DISK = Unavailable.exit_code  # of a file or folder that cannot be used: Python's own words say which


class Commands(TyperGroup):
    """Commands that answer an error of ours with one line and its exit code instead of a traceback."""

    def invoke(self, ctx: Any) -> Any:
        """Run the command. With --debug, errors keep their traceback."""
        try:
            return super().invoke(ctx)
        except (StreamMtlError, OSError) as error:
            if ctx.params.get("debug"):
                raise
            complain(error)
            raise typer.Exit(error.exit_code if isinstance(error, StreamMtlError) else _DISK) from error


app = typer.Typer(
    cls=Commands, no_args_is_help=True, epilog=EPILOG, pretty_exceptions_enable=False, rich_markup_mode="rich"
)

ConfigFile = Annotated[Path, typer.Argument(metavar="CONFIG", help="The TOML file.", show_default=False)]
Overrides = Annotated[
    list[str],
    typer.Option("-X", metavar="KEY=VALUE", help="Override one value; wins over file and environment."),
]


def main() -> None:
    """Run the command that the arguments name."""
    app(prog_name="stream-mtl")


def _version(asked: bool) -> None:
    if asked:
        typer.echo(f"stream-mtl {__version__}")
        raise typer.Exit()


@app.callback()
def stream_mtl(
    debug: Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")] = False,
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
    enable_failpoints: Annotated[
        bool, typer.Option("--enable-failpoints", help="Let STREAM_MTL_FAILPOINT end processes: for tests.")
    ] = False,
) -> None:
    """Join impressions, clicks and late conversions; learn, serve and watch.

    Examples:

    stream-mtl demo

    stream-mtl replay site.toml --events logs/

    stream-mtl run all site.toml

    STREAM_MTL__LEARN__SEED=7 stream-mtl config show site.toml --origin -X learn.batch_size=128
    """
    _log_to_stderr()
    failpoints.arm(os.environ, enable_failpoints)


def print_accounts(accounts: Mapping[str, Mapping[str, int]], as_json_: bool) -> None:
    """Print what became of every record."""
    if as_json_:
        typer.echo(json.dumps(accounts))
        return
    fates = [fate for fate in next(iter(accounts.values()), ()) if fate != "read"]
    table = Table("kind", "read", *fates, box=box.SIMPLE, padding=(0, 1, 0, 0))
    for kind, counts in accounts.items():
        numbers = [counts[fate] for fate in fates]
        table.add_row(kind, f"{sum(numbers):,}", *(f"{count:,}" for count in numbers))
    Console(width=max(100, Console().width)).print(table)


Challenger = Annotated[
    str | None, typer.Option("--challenger", metavar="NAME", help="Of this challenger, not of the champion.")
]


def loaded(
    config: Path, overrides: list[str], events: Path | None = None, challenger_: str | None = None
) -> Loaded:
    """Return the configuration that a command was given; relative paths begin at `events`, else at its folder."""
    base = load(config, os.environ, overrides, events)
    return base if challenger_ is None else challenger(base, challenger_)


def say(message: str) -> None:
    """Print a message for a person: on stderr, as stdout is for data."""
    Console(stderr=True).print(Text(message), soft_wrap=True)


def complain(error: Exception) -> None:
    """Print what is wrong, a red line for each fault."""
    console = Console(stderr=True)
    for line in str(error).splitlines():
        console.print(Text(f"error: {line}", style="red"), soft_wrap=True)


def _log_to_stderr() -> None:
    """Let events of the processes go to stderr: JSON lines, or readable ones on a terminal."""
    render = structlog.dev.ConsoleRenderer() if sys.stderr.isatty() else structlog.processors.JSONRenderer()
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            render,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.INFO),
        logger_factory=lambda *_: structlog.PrintLogger(sys.stderr),  # what stderr is when something is said
    )

"""The command line: each command parses its arguments and calls one function."""

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer
from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text
from typer.core import TyperGroup

from stream_mtl import __version__
from stream_mtl.config.load import Loaded, examine, load
from stream_mtl.config.show import as_json, as_toml, json_schema
from stream_mtl.errors import ConfigError, StreamMtlError

EPILOG = (
    "Exit codes: 0 done, 1 failed, 2 wrong usage or configuration, "
    "3 bad input, 4 bad state, 5 fenced, 6 unavailable."
)


class Commands(TyperGroup):
    """Commands that answer an error of ours with one line and its exit code instead of a traceback."""

    def invoke(self, ctx: Any) -> Any:
        """Run the command. With --debug, errors keep their traceback."""
        try:
            return super().invoke(ctx)
        except StreamMtlError as error:
            if ctx.params.get("debug"):
                raise
            complain(error)
            raise typer.Exit(error.exit_code) from error


app = typer.Typer(
    cls=Commands, no_args_is_help=True, epilog=EPILOG, pretty_exceptions_enable=False, rich_markup_mode="rich"
)
config_app = typer.Typer(no_args_is_help=True)
app.add_typer(config_app, name="config", help="Look at a configuration, and check it.")
run_app = typer.Typer(no_args_is_help=True)
app.add_typer(run_app, name="run", help="Run a process.")
bench_app = typer.Typer(no_args_is_help=True)
app.add_typer(bench_app, name="bench", help="Measure, beside plain loops in the same run.")

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
) -> None:
    """Join impressions, clicks and late conversions; learn, serve and watch.

    Examples:

    stream-mtl config validate site.toml

    stream-mtl config show site.toml --origin -X learn.batch_size=128

    STREAM_MTL__LEARN__SEED=7 stream-mtl config show site.toml
    """


@config_app.command("show")
def config_show(
    config: ConfigFile,
    overrides: Overrides = [],  # noqa: B006 (typer wants a list, and never changes it)
    origin: Annotated[bool, typer.Option("--origin", help="Say where each value comes from.")] = False,
    as_json_: Annotated[bool, typer.Option("--json", help="JSON instead of TOML.")] = False,
) -> None:
    """Print the effective configuration: defaults, file, environment, -X, the later the stronger.

    Examples:

    stream-mtl config show site.toml --origin

    stream-mtl config show site.toml --json -X learn.batch_size=128
    """
    write = as_json if as_json_ else as_toml
    typer.echo(write(loaded(config, overrides), origin), nl=False)


@config_app.command("validate")
def config_validate(
    config: ConfigFile,
    overrides: Overrides = [],  # noqa: B006
) -> None:
    """Check a configuration, and list everything that is wrong with it (exit code 2).

    Example: stream-mtl config validate site.toml
    """
    _, problems = examine(config, os.environ, overrides)
    if problems:
        raise ConfigError("\n".join(problems))
    say(f"{config}: valid")


@config_app.command("schema")
def config_schema() -> None:
    """Print the JSON Schema of configuration files, for editors.

    Example: stream-mtl config schema > stream-mtl.schema.json
    """
    typer.echo(json_schema(), nl=False)


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
    _print_accounts(accounts, as_json_)
    say(f"{folder}: event files, truth/ and config.toml; next: stream-mtl run join {folder / 'config.toml'}")


@run_app.command("join")
def run_join(
    config: ConfigFile,
    overrides: Overrides = [],  # noqa: B006
    follow: Annotated[bool, typer.Option("--follow", help="Wait for more files at the end.")] = False,
    as_json_: Annotated[bool, typer.Option("--json", help="Print the accounts as JSON.")] = False,
) -> None:
    """Join the events of a configuration into its log of transitions; goes on where it was stopped.

    Example: stream-mtl run join market/config.toml
    """
    from stream_mtl import processes

    with processes.stopped_by_signals() as stop:
        accounts = processes.join(loaded(config, overrides), stop, follow=follow)
    _print_accounts(accounts, as_json_)


@bench_app.command("join")
def bench_join(
    impressions: Annotated[int, typer.Option(help="How many exposures the stream has.")] = 1_000_000,
    batch: Annotated[int, typer.Option(help="Records in one batch.")] = 10_000,
    windows: Annotated[str, typer.Option(help="24h, or 30m+7d (click, conversion).")] = "24h",
    rounds: Annotated[int, typer.Option(help="Runs of each; medians are shown.")] = 3,
    as_json_: Annotated[bool, typer.Option("--json", help="JSON instead of a table.")] = False,
) -> None:
    """Measure the join beside a plain loop of fastavro and a dict; both are compared with the truth.

    Example: stream-mtl bench join --impressions 200000 --batch 2000
    """
    from stream_mtl.bench import joins, report

    measured = joins.bench_joins(impressions, batch, windows, rounds)
    if as_json_:
        typer.echo(json.dumps(report.as_plain(measured)))
        return
    console = Console(width=max(100, Console().width))
    console.print(report.as_table(measured))
    console.print(report.about_state(measured))
    console.print(f"{report.machine()}; peak memory of the process {measured.peak_megabytes:,.0f} MB")


@app.command("digest")
def digest(
    config: ConfigFile,
    overrides: Overrides = [],  # noqa: B006
    as_json_: Annotated[bool, typer.Option("--json", help="JSON instead of lines.")] = False,
) -> None:
    """Print hashes of what has been made so far, for comparing runs.

    Example: stream-mtl digest market/config.toml --json
    """
    from stream_mtl import processes

    made = processes.digest(loaded(config, overrides))
    typer.echo(json.dumps(made) if as_json_ else f"transitions {made['transitions']} rows {made['rows']}")


def _print_accounts(accounts: Mapping[str, Mapping[str, int]], as_json_: bool) -> None:
    if as_json_:
        typer.echo(json.dumps(accounts))
        return
    fates = [fate for fate in next(iter(accounts.values())) if fate != "read"]
    table = Table("kind", "read", *fates, box=box.SIMPLE, padding=(0, 1, 0, 0))
    for kind, counts in accounts.items():
        numbers = [counts[fate] for fate in fates]
        table.add_row(kind, f"{sum(numbers):,}", *(f"{count:,}" for count in numbers))
    Console(width=max(100, Console().width)).print(table)


def loaded(config: Path, overrides: list[str]) -> Loaded:
    """Return the configuration that a command was given."""
    return load(config, os.environ, overrides)


def say(message: str) -> None:
    """Print a message for a person: on stderr, as stdout is for data."""
    Console(stderr=True).print(Text(message), soft_wrap=True)


def complain(error: StreamMtlError) -> None:
    """Print what is wrong, a red line for each fault."""
    console = Console(stderr=True)
    for line in str(error).splitlines():
        console.print(Text(f"error: {line}", style="red"), soft_wrap=True)

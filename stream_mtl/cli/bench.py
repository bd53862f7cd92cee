"""Commands that measure, beside plain loops in the same run."""

import json
from typing import Annotated

import typer
from rich.console import Console

from stream_mtl.cli.app import app

bench_app = typer.Typer(no_args_is_help=True)
app.add_typer(bench_app, name="bench", help="Measure, beside plain loops in the same run.")


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

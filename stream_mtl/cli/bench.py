"""Commands that measure, beside plain loops in the same run."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich import box
from rich.console import Console
from rich.table import Table

from stream_mtl.cli.app import app

if TYPE_CHECKING:
    from stream_mtl.bench.measure import Compared

bench_app = typer.Typer(no_args_is_help=True)
app.add_typer(bench_app, name="bench", help="Measure, beside plain loops in the same run.")

Rounds = Annotated[int, typer.Option(min=1, help="Runs of each; medians are shown.")]
AsJson = Annotated[bool, typer.Option("--json", help="JSON instead of a table.")]


@bench_app.command("join")
def bench_join(
    impressions: Annotated[int, typer.Option(help="How many exposures the stream has.")] = 1_000_000,
    batch: Annotated[int, typer.Option(help="Records in one batch.")] = 10_000,
    windows: Annotated[str, typer.Option(help="24h, or 30m+7d (click, conversion).")] = "24h",
    rounds: Rounds = 3,
    as_json_: AsJson = False,
) -> None:
    """Measure the join beside a plain loop of fastavro and a dict; both are compared with the truth.

    Example: stream-mtl bench join --impressions 200000 --batch 2000
    """
    from stream_mtl.bench import joins, report

    measured = joins.bench_joins(impressions, batch, windows, rounds)
    if as_json_:
        plain = report.as_plain(measured.compared) | report.state_as_plain(measured.state)
        typer.echo(json.dumps(plain))
        return
    _print_tables([measured.compared], report.about_state(measured.state))


@bench_app.command("features")
def bench_features(
    rows: Annotated[int, typer.Option(min=1, help="Rows that are encoded.")] = 200_000,
    rounds: Rounds = 5,
    as_json_: AsJson = False,
) -> None:
    """Measure the encoding of features alone, in batches of 256, 2,048 and 10,000.

    Example: stream-mtl bench features --rows 50000
    """
    from stream_mtl.bench import features

    _print(features.bench_features(rows, rounds), as_json_)


@bench_app.command("compare")
def bench_compare(
    impressions: Annotated[int, typer.Option(min=1, help="How many exposures the stream has.")] = 200_000,
    as_json_: AsJson = False,
) -> None:
    """Measure what `replay --compare` of ten ways costs beside one, in one process.

    Example: stream-mtl bench compare --impressions 50000
    """
    from dataclasses import asdict

    from stream_mtl.bench.comparing import bench_comparing

    costs = bench_comparing(impressions)
    if as_json_:
        typer.echo(json.dumps([asdict(cost) | {"rest": cost.rest} for cost in costs]))
        return
    table = Table("ways", "CPU s", "of it learning", "all else", box=box.SIMPLE)
    for cost in costs:
        table.add_row(str(cost.ways), f"{cost.whole:.1f}", f"{cost.learning:.1f}", f"{cost.rest:.1%}")
    Console(width=max(100, Console().width)).print(table)


@bench_app.command("advice")
def bench_advice(
    streams: Annotated[
        int, typer.Option(min=1, help="How many streams, each with a drift and delays of its own.")
    ] = 12,
    clicks: Annotated[int, typer.Option(min=1000, help="Of each stream.")] = 40_000,
    seed: Annotated[int, typer.Option(help="Of the streams.")] = 0,
    workers: Annotated[int, typer.Option(min=1, help="Processes.")] = 2,
    as_json_: AsJson = False,
) -> None:
    """Measure what it costs to follow the recommendation of `replay --compare`: chosen by one half, judged by the other.

    Example: stream-mtl bench advice --streams 3 --clicks 5000
    """
    from dataclasses import asdict

    from stream_mtl.bench import advice

    found = []
    heads = (
        "window",
        "early",
        "delay",
        "drift",
        "speed",
        "recommended",
        "above",
        "1st half",
        "2nd half",
        "behind",
        "of",
    )
    table = Table(*heads, box=box.SIMPLE)
    for one in advice.advise(advice.streams(streams, seed), clicks, workers):
        found.append(one)
        own = one.stream
        facts = (
            f"{own.window_days} d",
            f"{own.early:.0%}",
            f"{own.hours:.0f} h",
            f"{own.drift:.2f}",
            f"{own.speed:.2f}",
        )
        costs = (f"{one.behind:.4f}", f"{one.spread:.4f}")
        table.add_row(*facts, one.recommended, f"{one.inside:.4f}", one.taken, one.best, *costs)
    means = advice.mean_costs(found)
    if as_json_:
        typer.echo(json.dumps({"mean": means, "streams": [asdict(one) for one in found]}))
        return
    console = Console(width=max(130, Console().width))
    console.print(table)
    console.print(
        f"log loss above the best, on average: {means['inside']:.5f} of what all of the time recommends; "
        f"{means['behind']:.5f} in the second half of what the first recommends, of {means['spread']:.5f} there was to lose"
    )


@bench_app.command("train")
def bench_train(
    batch: Annotated[int, typer.Option(min=1, help="Rows of one minibatch.")] = 2_048,
    blocks: Annotated[
        int, typer.Option(min=1, help="Blocks of 8,192 rows; the first quarter warms up.")
    ] = 24,
    as_json_: AsJson = False,
) -> None:
    """Measure the whole training loop beside a bare torch loop of the same shapes.

    Example: stream-mtl bench train --batch 256
    """
    from stream_mtl.bench import train

    _print(train.bench_train(batch, blocks), as_json_)


@bench_app.command("replay")
def bench_replay(
    impressions: Annotated[int, typer.Option(min=1, help="How many exposures the market has.")] = 200_000,
    rounds: Rounds = 3,
    as_json_: AsJson = False,
) -> None:
    """Measure a whole replay of event files beside a plain loop that only joins them; compared with the truth.

    Example: stream-mtl bench replay --impressions 50000
    """
    from stream_mtl.bench import replays

    _print([replays.bench_replay(impressions, rounds)], as_json_)


@bench_app.command("score")
def bench_score(
    impressions: Annotated[int, typer.Option(min=1, help="What is learned before it serves.")] = 50_000,
    requests: Annotated[int, typer.Option(min=1, help="Requests of each size.")] = 300,
    as_json_: AsJson = False,
) -> None:
    """Measure requests to a server of 1, 20 and 100 candidates, and what scoring alone costs.

    Example: stream-mtl bench score --requests 1000
    """
    from stream_mtl.bench import measure, report, score

    measured = score.bench_score(impressions, requests)
    peak = measure.peak_megabytes()
    if as_json_:
        latencies = [report.latency_as_plain(one) for one in measured]
        made = {"latencies": latencies, "peak_megabytes": round(peak), "machine": report.machine()}
        typer.echo(json.dumps(made))
        return
    console = _console()
    console.print(report.latency_table(measured))
    console.print(report.about_process(peak))


@bench_app.command("kafka")
def bench_kafka(
    parts: Annotated[
        list[str] | None, typer.Argument(metavar="[join|train|live|restart]...", help="Absent: all.")
    ] = None,
    impressions: Annotated[int, typer.Option(min=1, help="Exposures that are joined.")] = 1_000_000,
    learned: Annotated[int, typer.Option(min=1, help="Exposures that are learned.")] = 50_000,
    seconds: Annotated[float, typer.Option(min=1, help="How long people live.")] = 120,
    waiting: Annotated[
        int, typer.Option(min=1, help="Chains that wait when a joiner is killed.")
    ] = 1_000_000,
    rounds: Rounds = 3,
    batch_bytes: Annotated[
        int, typer.Option(min=1, help="Size of record batches, as producers send.")
    ] = 16_384,
    sending: Annotated[
        bool, typer.Option(help="Also by a plain loop that sends a record for each row, which takes long.")
    ] = True,
    overrides: Annotated[
        list[str] | None, typer.Option("-X", metavar="KEY=VALUE", help="For the processes of `live`.")
    ] = None,
    bootstrap: Annotated[
        str | None,
        typer.Option(envvar="STREAM_MTL_BENCH_KAFKA", help="A broker of your own; absent: one is started."),
    ] = None,
    kafka_home: Annotated[
        Path | None, typer.Option(envvar="KAFKA_HOME", help="Apache Kafka, of which one is started.")
    ] = None,
    as_json_: AsJson = False,
) -> None:
    """Measure join, training, the way from a label to a score, and a restart, through a real broker.

    Example: stream-mtl bench kafka join --impressions 200000
    """
    from stream_mtl.bench import kafka

    changes = tuple(overrides or ())
    sizes = kafka.Sizes(impressions, learned, seconds, waiting, rounds, batch_bytes, sending, changes)
    console = None if as_json_ else _console()
    told = {}
    for part, measured in kafka.bench_kafka(tuple(parts or kafka.PARTS), sizes, bootstrap, kafka_home):
        told[part] = measured.as_plain()
        if console is not None:
            for one in measured.as_shown():
                console.print(one)
    if as_json_:
        typer.echo(json.dumps(told))


def _print(measured: "list[Compared]", as_json: bool) -> None:
    from stream_mtl.bench import report

    if as_json:
        typer.echo(json.dumps([report.as_plain(one) for one in measured]))
    else:
        _print_tables(measured)


def _print_tables(measured: "list[Compared]", *remarks: str) -> None:
    from stream_mtl.bench import report

    console = _console()
    for one in measured:
        console.print(report.as_table(one))
    for remark in (*remarks, report.about_process(measured[-1].peak_megabytes)):
        console.print(remark)


def _console() -> Console:
    return Console(width=max(110, Console().width))

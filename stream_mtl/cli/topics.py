"""Commands about topics: make them, check them, look into them, fill them."""

import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich import box
from rich.table import Table
from rich.text import Text

from stream_mtl.cli.app import ConfigFile, Overrides, app, loaded, say
from stream_mtl.cli.tables import Json, print_table, print_wide
from stream_mtl.errors import ConfigError

if TYPE_CHECKING:
    from stream_mtl.processes.topic_check import Finding
    from stream_mtl.processes.topic_size import Estimate
    from stream_mtl.processes.topics import Made

topics_app = typer.Typer(no_args_is_help=True)
app.add_typer(topics_app, name="topics", help="Make topics, check them, look into them, fill them.")


@topics_app.command("create")
def topics_create(
    config: ConfigFile,
    overrides: Overrides = [],  # noqa: B006
    partitions: Annotated[
        int | None, typer.Option(min=1, help="Of input topics; absent: as many as there are joiners.")
    ] = None,
    replication: Annotated[
        int | None, typer.Option(min=1, help="Brokers that keep each record; absent: as the broker has it.")
    ] = None,
    replay: Annotated[
        bool, typer.Option("--replay", help="Keep inputs and log for ever: recorded events lie in the past.")
    ] = False,
    as_json_: Json = False,
) -> None:
    """Make every topic that the configuration names and the broker lacks; what is there stays as it is.

    Examples:

    stream-mtl topics create site.toml --replication 3

    stream-mtl topics create examples/kafka.toml --replay
    """
    from stream_mtl.processes.declared import declared
    from stream_mtl.processes.topics import create

    made = create(declared(loaded(config, overrides)), partitions, replication, replay)
    if as_json_:
        typer.echo(json.dumps({"topics": [_plain(one) for one in made]}))
        return
    table = Table("topic", "for", "partitions", "kept", "", box=box.SIMPLE)
    for one in made:
        state = "made" if one.new else "was there"
        table.add_row(one.planned.name, one.planned.what, str(one.partitions), _kept(one), state)
    print_table(table)
    if not all(one.new for one in made):
        say(f"what was there was left alone; stream-mtl topics check {config} says whether it is right")


@topics_app.command("check")
def topics_check(
    config: ConfigFile,
    overrides: Overrides = [],  # noqa: B006
    as_json_: Json = False,
) -> None:
    """Check that topics are as the joiners need them, and what their rates imply; exit code 2 if something is wrong.

    Looks at partitions, copies, retention, compaction, times, sizes, and at a few records: whether they can be read,
    and lie where their chain's key belongs.

    Example: stream-mtl topics check site.toml
    """
    from stream_mtl.clock import system_clock
    from stream_mtl.processes.declared import declared
    from stream_mtl.processes.topic_check import check
    from stream_mtl.processes.topic_facts import facts_of
    from stream_mtl.processes.topic_size import estimate

    made = declared(loaded(config, overrides))
    facts = facts_of(made, system_clock)
    findings, size = check(made, facts), estimate(made, facts)
    if as_json_:
        sized = None if size is None else asdict(size)
        typer.echo(json.dumps({"findings": [asdict(one) for one in findings], "estimate": sized}))
    else:
        _print_findings(findings)
        _print_estimate(size)
    if any(finding.level == "wrong" for finding in findings):
        raise typer.Exit(ConfigError.exit_code)


@topics_app.command("peek")
def topics_peek(
    config: ConfigFile,
    topic: Annotated[str, typer.Argument(metavar="TOPIC", help="One that the configuration names.")],
    overrides: Overrides = [],  # noqa: B006
    partition: Annotated[int | None, typer.Option(min=0, help="One of its partitions; absent: all.")] = None,
    offset: Annotated[
        int | None, typer.Option(help="Where to begin; below zero: so many before the end.")
    ] = None,
    limit: Annotated[int, typer.Option(min=1, help="Lines at most.")] = 10,
    headers: Annotated[
        bool,
        typer.Option("--headers", help="Show headers of records and blocks, and who claimed the log, too."),
    ] = False,
    as_json_: Annotated[
        bool, typer.Option("--json", help="JSON lines; it prints nothing else anyway.")
    ] = False,
) -> None:
    """Print records of a topic as lines of JSON: events as the joiner reads them, or why they are none.

    The log of transitions becomes a line for each row. Values that are no text are shown in hex.

    Examples:

    stream-mtl topics peek site.toml clicks --offset -5

    stream-mtl topics peek site.toml transitions --partition 0 --limit 3 --headers
    """
    from stream_mtl.processes.declared import declared
    from stream_mtl.processes.topic_peek import peek

    lines = peek(declared(loaded(config, overrides)), topic, partition, offset, limit, headers)
    _print_lines(lines)


@topics_app.command("fill")
def topics_fill(
    config: ConfigFile,
    overrides: Overrides = [],  # noqa: B006
    events: Annotated[
        Path | None,
        typer.Option(metavar="FOLDER", help="Event files, a folder a kind: impressions/, clicks/."),
    ] = None,
    from_: Annotated[
        Path | None, typer.Option("--from", metavar="CONFIG", help="A configuration whose sources are files.")
    ] = None,
    limit: Annotated[int | None, typer.Option(min=1, help="Records at most, the earliest.")] = None,
    as_json_: Json = False,
) -> None:
    """Send recorded events to the input topics: keyed by their chain, at the time of the event, in its order.

    Files are Avro containers, JSON lines or CSV. What is broken in them is sent as it is.

    Examples:

    stream-mtl topics fill examples/kafka.toml --events market

    stream-mtl topics fill site.toml --from lastweek.toml --limit 100000
    """
    from stream_mtl.clock import system_clock
    from stream_mtl.processes.topic_fill import as_plain, fill
    from stream_mtl.watch.words import moment

    other = None if from_ is None else loaded(from_, [])
    filled = fill(loaded(config, overrides), system_clock, events, other, limit)
    if as_json_:
        typer.echo(json.dumps({"filled": [as_plain(one) for one in filled]}))
        return
    table = Table("topic", "records", "without key", "first event", "last event", box=box.SIMPLE)
    for one in filled:
        numbers = (f"{one.records:,}", f"{one.keyless:,}")
        table.add_row(one.topic, *numbers, moment(one.first), moment(one.last))
    print_table(table)


_STYLES = {"ok": "green", "warning": "yellow", "wrong": "bold red"}


def _print_findings(findings: "Sequence[Finding]") -> None:
    """Print a paragraph for each topic: level, rule, what was found, and below it what to do."""
    for topic in dict.fromkeys(finding.topic for finding in findings):
        table = Table.grid("level", "rule", "text", padding=(0, 2, 0, 0))
        for one in findings:
            if one.topic == topic:
                table.add_row(Text(f"  {one.level}", _STYLES[one.level]), one.rule, Text(one.says))
                if one.remedy:
                    table.add_row("", "", Text(one.remedy, "cyan"))
        print_wide(Text(topic or "all inputs", "bold"), table, Text())


def _print_estimate(size: "Estimate | None") -> None:
    from stream_mtl.watch.words import brief, lapse
    from stream_mtl.watch.words import size as bytes_

    if size is None:
        say("no rate could be measured: too few records with times are there")
        return
    print_wide(
        Text(
            f"At {brief(size.exposures_per_second)} exposures and {brief(size.events_per_second)} events a second, all "
            f"joiners together hold about {brief(size.alive)} exposures in {bytes_(size.state_bytes)} of state; "
            f"{lapse(size.kept)} of inputs take {bytes_(size.input_bytes)} and of the log {bytes_(size.log_bytes)} "
            "(uncompressed, one copy)."
        )
    )


def _told(made: "Made") -> dict[str, str]:
    """Return the settings that a topic was made with, which say nothing of one that was there."""
    return dict(made.planned.settings) if made.new else {}


def _kept(made: "Made") -> str:
    from stream_mtl.watch.words import DASH, lapse

    retention = _told(made).get("retention.ms")
    return DASH if retention is None else "for ever" if retention == "-1" else lapse(int(retention))


def _plain(made: "Made") -> dict[str, Any]:
    planned = made.planned
    return {
        "topic": planned.name,
        "role": planned.role,
        "kinds": list(planned.kinds),
        "partitions": made.partitions,
        "new": made.new,
        "settings": _told(made),
    }


def _print_lines(lines: Iterable[Any]) -> None:
    for line in lines:
        typer.echo(json.dumps(line, ensure_ascii=False))

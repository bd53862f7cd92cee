"""Commands about topics: make them, check them, look into them, fill them."""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich import box
from rich.table import Table

from stream_mtl.cli.app import ConfigFile, Overrides, app, loaded, say
from stream_mtl.cli.tables import Json, print_table

if TYPE_CHECKING:
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
        bool, typer.Option("--headers", help="Show headers of blocks, and who claimed the log, too.")
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

"""Commands about how far the inputs were read."""

import json
from dataclasses import asdict
from typing import Annotated

import typer
from rich import box
from rich.table import Table

from stream_mtl.cli.app import ConfigFile, Overrides, app, loaded, say
from stream_mtl.cli.tables import Json, print_table, right

offsets_app = typer.Typer(no_args_is_help=True)
app.add_typer(offsets_app, name="offsets", help="How far the inputs were read.")

_TRUTH = (
    "The log of transitions is the truth: a joiner goes on where its last block ended, whatever the group says. To join "
    "anew, stop the joiners, give join.path and join.state new names (and learn.path and publish.path, if it is to be "
    "learned anew too), and start them: an empty log is begun at the beginning of the inputs."
)


@offsets_app.command("show")
def offsets_show(
    config: ConfigFile,
    overrides: Overrides = [],  # noqa: B006
    as_json_: Json = False,
) -> None:
    """Show how far each partition was read, by the log (the truth) and by the consumer group (its mirror).

    Lag is in records, and in the time between the next record and the newest.

    Example: stream-mtl offsets show site.toml
    """
    from stream_mtl.processes.declared import declared
    from stream_mtl.processes.offsets import standings
    from stream_mtl.watch.words import DASH, lapse

    made = declared(loaded(config, overrides))
    found = standings(made)
    if as_json_:
        plain = {"group": made.config.kafka.group, "partitions": [asdict(one) for one in found]}
        typer.echo(json.dumps(plain))
        return
    table = Table(
        "topic", *map(right, ("", "begin", "end", "committed", "group", "lag", "in time")), box=box.SIMPLE
    )
    for one in found:
        counts = (one.begin, one.end, one.committed, one.group, one.lag)
        numbers = (DASH if count is None else f"{count:,}" for count in counts)
        table.add_row(one.topic, str(one.partition), *numbers, lapse(one.behind_ms))
    print_table(table)
    if all(one.committed is None for one in found):
        say("no block is there yet; stream-mtl run join makes them")


@offsets_app.command("reset")
def offsets_reset(
    config: ConfigFile,
    overrides: Overrides = [],  # noqa: B006
    to: Annotated[
        str,
        typer.Option(
            metavar="WHERE", help="committed (by the log), earliest, latest, or a time (ISO, or ms)."
        ),
    ] = "committed",
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only show what would be written.")] = False,
    as_json_: Json = False,
) -> None:
    """Write to the consumer group, which tools show lag by, and nothing else: joiners never read it.

    Examples:

    stream-mtl offsets reset site.toml --dry-run

    stream-mtl offsets reset site.toml --to 2026-03-05T14:00:00Z --dry-run
    """
    from stream_mtl.processes.declared import declared
    from stream_mtl.processes.offsets import changes, reset
    from stream_mtl.watch.words import DASH

    made = declared(loaded(config, overrides))
    changed = changes(made, to)
    if not dry_run:
        reset(made, changed)
    if as_json_:
        plain = [asdict(change) for change in changed]
        typer.echo(json.dumps({"group": made.config.kafka.group, "dry_run": dry_run, "partitions": plain}))
        return
    table = Table(
        "topic", *map(right, ("", "group says", "would say" if dry_run else "says now")), box=box.SIMPLE
    )
    for change in changed:
        now = DASH if change.now is None else f"{change.now:,}"
        table.add_row(change.topic, str(change.partition), now, f"{change.then:,}")
    print_table(table)
    say(f"{'nothing was written. ' if dry_run else ''}{_TRUTH}")

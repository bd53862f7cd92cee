"""Commands about dead letters: what could not be used, why, and sending it again."""

import json
from collections import Counter
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich import box
from rich.table import Table
from rich.text import Text

from stream_mtl.cli.app import ConfigFile, Overrides, app, loaded, say
from stream_mtl.cli.tables import Json, print_table, print_wide, right

if TYPE_CHECKING:
    from stream_mtl.processes.dead import Wanted
    from stream_mtl.processes.dead_replay import Verdict

dlq_app = typer.Typer(no_args_is_help=True)
app.add_typer(dlq_app, name="dlq", help="Dead letters: look at them, and send them again.")

Reasons = Annotated[list[str], typer.Option("--reason", help="Only of this reason; may be given again.")]
Sources = Annotated[list[str], typer.Option("--source", help="Only of this source; may be given again.")]
Since = Annotated[
    str | None,
    typer.Option(
        metavar="TIME",
        help="Only those whose record (of files: whose letter) is not older: 2h, or 2026-03-05T14:00.",
    ),
]


@dlq_app.command("list")
def dlq_list(
    config: ConfigFile,
    overrides: Overrides = [],  # noqa: B006
    reasons: Reasons = [],  # noqa: B006
    sources: Sources = [],  # noqa: B006
    since: Since = None,
    limit: Annotated[int, typer.Option(min=0, help="Letters that are named, the newest.")] = 10,
    as_json_: Json = False,
) -> None:
    """Count dead letters by source and reason, and name the newest.

    Examples:

    stream-mtl dlq list site.toml

    stream-mtl dlq list site.toml --reason not_json --source kafka:clicks --since 2h --json
    """
    from stream_mtl.processes.dead import brief, counted, ledger_of
    from stream_mtl.watch.words import moment

    made = loaded(config, overrides).config
    letters = ledger_of(made).read()
    wanted = _wanted(reasons, sources, since).of(letters.letters)
    counts = counted(wanted)
    newest = [brief(letters, letter) for letter in wanted[len(wanted) - limit :]] if limit else []
    if as_json_:
        plain = {"letters": len(wanted), "counts": [asdict(one) for one in counts], "newest": newest}
        typer.echo(json.dumps(plain))
        return
    if not wanted:
        say("no dead letter is there" if not letters.letters else "none of these is there")
        return
    table = Table("source", "reason", right("letters"), "first", "last", box=box.SIMPLE)
    for one in counts:
        times = (moment(one.first_ms), moment(one.last_ms))
        table.add_row(one.source, one.reason, f"{one.letters:,}", *times)
    print_table(table)
    for letter in newest:
        print_wide(Text(f"{letter['letter']}  {letter['reason']}: {letter['detail']}", overflow="ellipsis"))


@dlq_app.command("show")
def dlq_show(
    config: ConfigFile,
    letter: Annotated[
        str, typer.Argument(metavar="LETTER", help="As `dlq list` names it: kafka:clicks/0/17.")
    ],
    overrides: Overrides = [],  # noqa: B006
    as_json_: Annotated[bool, typer.Option("--json", help="One line of JSON.")] = False,
) -> None:
    """Show a dead letter: its reason, its bytes as text and in hex, and what it would be if it were read today.

    Example: stream-mtl dlq show site.toml kafka:clicks/0/17
    """
    from stream_mtl.processes.dead import decoding_of, ledger_of, whole
    from stream_mtl.processes.declared import declared
    from stream_mtl.processes.ledger import named

    made = declared(loaded(config, overrides))
    letters = ledger_of(made.config).read()
    plain = whole(letters, named(letters, letter), decoding_of(made))
    typer.echo(json.dumps(plain, ensure_ascii=False, indent=None if as_json_ else 2))


@dlq_app.command("replay")
def dlq_replay(
    config: ConfigFile,
    overrides: Overrides = [],  # noqa: B006
    reasons: Reasons = [],  # noqa: B006
    sources: Sources = [],  # noqa: B006
    since: Since = None,
    to: Annotated[
        Path | None, typer.Option("--to", metavar="FILE", help="Of file sources: the new JSON lines file.")
    ] = None,
    anyway: Annotated[
        bool, typer.Option("--anyway", help="Also what is no event today, or is too late to be joined.")
    ] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only show what would be sent.")] = False,
    as_json_: Json = False,
) -> None:
    """Send dead letters to the partition that they came from, each once, marked by a header.

    What was sent before is not sent again, nor what came back. A record that is sent again stands at the end of its
    partition: it is joined only if it is not late there.

    Examples:

    stream-mtl dlq replay site.toml --reason schema_unknown --dry-run

    stream-mtl dlq replay site.toml --source kafka:clicks --since 2h
    """
    from stream_mtl.clock import system_clock
    from stream_mtl.processes.dead import ledger_of
    from stream_mtl.processes.dead_replay import replay
    from stream_mtl.processes.declared import declared

    made = declared(loaded(config, overrides))
    letters = ledger_of(made.config).read()
    chosen = _wanted(reasons, sources, since).of(letters.letters)
    verdicts = replay(made, letters, chosen, system_clock, dry_run=dry_run, anyway=anyway, file=to)
    _print_verdicts(verdicts, dry_run, as_json_)


def _wanted(reasons: list[str], sources: list[str], since: str | None) -> "Wanted":
    from stream_mtl.clock import system_clock
    from stream_mtl.processes.dead import Wanted
    from stream_mtl.processes.offsets import since as since_

    return Wanted(reasons, sources, None if since is None else since_(since, system_clock()))


def _print_verdicts(verdicts: "list[Verdict]", dry_run: bool, as_json: bool) -> None:
    from stream_mtl.connectors.letters import name_of

    sent = [one for one in verdicts if not one.why]
    if as_json:
        plain = [
            {"letter": name_of(one.letter), "sent_to": one.to, "passed_over": one.why} for one in verdicts
        ]
        typer.echo(json.dumps({"dry_run": dry_run, "sent": len(sent), "letters": plain}))
        return
    table = Table("source", "reason", right("letters"), "", box=box.SIMPLE)
    does = "would be sent" if dry_run else "sent"
    fates = Counter(
        (one.letter.source, one.letter.reason, one.why.partition(":")[0] or does) for one in verdicts
    )
    for (source, reason, fate), count in fates.items():
        table.add_row(source, reason, f"{count:,}", fate)
    print_table(table)
    say(
        f"{len(sent):,} {does}, {len(verdicts) - len(sent):,} passed over{'; nothing was written' if dry_run else ''}"
    )

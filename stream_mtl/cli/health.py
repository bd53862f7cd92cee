"""The command that says whether the processes are well."""

import json
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table
from rich.text import Text

from stream_mtl.cli.app import ConfigFile, Overrides, app, loaded
from stream_mtl.cli.tables import Json, print_wide

if TYPE_CHECKING:
    from stream_mtl.processes.health import Health

NOT_WELL = 1
"""The exit code when something is not well."""

_WELL, _ILL = "green", "bold red"


@app.command("status")
def status(
    config: ConfigFile,
    overrides: Overrides = [],  # noqa: B006
    only: Annotated[
        list[str],
        typer.Option("--role", help="Only this process, where others run elsewhere; may be given again."),
    ] = [],  # noqa: B006
    as_json_: Json = False,
) -> None:
    """Say how the processes are, by what each said last on this machine; nothing else is asked.

    Exit code 0 when all are well; 1 when one is absent, has ended or failed, has said nothing for 10 s, or has a problem.

    Examples:

    stream-mtl status site.toml

    stream-mtl status site.toml --role join --role train --json
    """
    from stream_mtl.clock import system_clock
    from stream_mtl.processes.health import health, positions

    made = loaded(config, overrides)
    found = health(made, config, system_clock, only)
    well = all(one.problem is None for one in found)
    if as_json_:
        plain = {
            "well": well,
            "processes": [asdict(one) for one in found],
            "positions": positions(made.config),
        }
        typer.echo(json.dumps(plain))
    else:
        _print(found)
    if not well:
        raise typer.Exit(NOT_WELL)


def _print(found: "list[Health]") -> None:
    from stream_mtl.watch.terminal import ProcessStatus, said
    from stream_mtl.watch.words import DASH, lapse

    table = Table.grid("", "role", "state", "said", "what", padding=(0, 2, 0, 0))
    for one in found:
        style = _WELL if one.problem is None else _ILL
        facts = "   ".join(said(ProcessStatus(one.role, one.state, one.facts)))
        age = DASH if one.age_ms is None else f"{lapse(one.age_ms)} ago"
        table.add_row(Text("●", style), Text(one.role, "bold"), one.state, age, facts)
    print_wide(table)
    for one in found:
        if one.problem is not None:
            print_wide(Text.assemble((f"{one.role}: {one.problem}\n", _ILL), (one.remedy, "cyan")))

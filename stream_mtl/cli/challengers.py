"""The command that shows challengers beside the champion."""

import json
from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer
from rich import box
from rich.console import Console
from rich.table import Table

from stream_mtl.cli.app import ConfigFile, Overrides, app, loaded, say
from stream_mtl.watch.words import count, moment, number, ratio

if TYPE_CHECKING:
    from stream_mtl.processes.challengers import Standing


@app.command("challengers")
def challengers_(
    config: ConfigFile,
    overrides: Overrides = [],  # noqa: B006
    recent: Annotated[
        bool, typer.Option("--recent", help="Since the last snapshot, instead of the whole life.")
    ] = False,
    as_json_: Annotated[bool, typer.Option("--json", help="JSON instead of a table.")] = False,
) -> None:
    """Show how the champion and its challengers did: what each predicted at the exposure, against the final label.

    All follow the same log, so that lines that learned up to the same time were asked about the same exposures.

    Example: stream-mtl challengers site.toml
    """
    from stream_mtl.processes.challengers import standings

    made = standings(loaded(config, overrides))
    if as_json_:
        typer.echo(json.dumps([asdict(one) for one in made]))
        return
    if len(made) == 1:
        say(f'{config} declares no challenger: [challengers] name = ["tasks.cvr.method=fnw"] adds one')
    Console(width=max(100, Console().width)).print(_table(made, recent))


def _table(made: "Sequence[Standing]", recent: bool) -> Table:
    table = Table(
        "", "snapshot", "learned up to", "task", "examples", "log loss", "calib.", "NE", "AUC", box=box.SIMPLE
    )
    for one in made:
        own = (one.name, "–" if one.version is None else str(one.version), moment(one.upto))
        outputs = one.recent if recent else one.life
        for place, (task, reading) in enumerate(outputs.items() or [("–", {})]):
            values = [ratio(reading.get(name)) for name in ("calibration", "normalised_entropy", "auc")]
            losses = (count(reading.get("examples")), number(reading.get("log_loss")))
            table.add_row(*(own if place == 0 else ("", "", "")), task, *losses, *values)
    return table

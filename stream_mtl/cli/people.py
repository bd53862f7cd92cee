"""The command that fills a bus with life."""

import json
from pathlib import Path
from typing import Annotated

import typer

from stream_mtl.cli.app import ConfigFile, Overrides, app, loaded
from stream_mtl.cli.tables import Json
from stream_mtl.config.secrets import secret_of
from stream_mtl.config.units import parse_duration


@app.command("people")
def people_(
    config: ConfigFile,
    overrides: Overrides = [],  # noqa: B006
    url: Annotated[
        str, typer.Option(metavar="URL", help="Where the scorer answers.")
    ] = "http://127.0.0.1:8080",
    token_file: Annotated[
        Path | None, typer.Option(metavar="FILE", help="File of the scorer's tokens; the first is shown.")
    ] = None,
    requests: Annotated[float, typer.Option(min=0.0, help="Requests a second.")] = 10,
    back: Annotated[str, typer.Option(metavar="DURATION", help="How long ago they begin.")] = "1d",
    speed: Annotated[
        float, typer.Option(min=1.0, help="How fast they live until they have caught up.")
    ] = 300,
    seed: Annotated[int, typer.Option(help="Another seed, another market.")] = 0,
    as_json_: Json = False,
) -> None:
    """Let simulated visitors live on the topics of a configuration: they ask its scorer, see, click and buy late.

    Until Ctrl-C. The topics must be there, and for what `stream-mtl gen` makes: see deploy/config.toml.

    Example: stream-mtl people deploy/config.toml --requests 20
    """
    from stream_mtl.clock import system_clock
    from stream_mtl.processes.people import PeopleOptions, people
    from stream_mtl.processes.stop import stopped_by_signals

    try:
        options = PeopleOptions(requests=requests, back=parse_duration(back), speed=speed, seed=seed)
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint="--back") from None
    with stopped_by_signals() as stop:
        tokens = (secret_of(None, token_file) or "").splitlines()
        sent = people(loaded(config, overrides), url, next(iter(tokens), None), options, stop, system_clock)
    typer.echo(json.dumps(sent) if as_json_ else ", ".join(f"{n:,} {kind}s" for kind, n in sent.items()))

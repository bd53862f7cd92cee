"""Commands that look at a configuration."""

import os
from collections.abc import Iterator
from typing import Annotated

import typer

from stream_mtl.cli.app import ConfigFile, Overrides, app, loaded, say
from stream_mtl.config.challengers import family
from stream_mtl.config.load import examine
from stream_mtl.config.sections import Config
from stream_mtl.config.show import as_json, as_toml, json_schema
from stream_mtl.connectors.folders import listings
from stream_mtl.errors import ConfigError

config_app = typer.Typer(no_args_is_help=True)
app.add_typer(config_app, name="config", help="Look at a configuration, and check it.")


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
    made, problems = examine(config, os.environ, overrides)
    if made is None:
        raise ConfigError("\n".join(problems))
    family(made)
    say(f"{config}: valid")
    for missing in _missing_history(made.config):
        say(missing)


def _missing_history(config: Config) -> Iterator[str]:
    """Say which topics have a history without files: a joiner needs them here, other roles do not."""
    for kind, event in config.events.items():
        if event.history is not None:
            try:
                listings(event.history.partition(":")[2], live=False)
            except ConfigError as error:
                yield f"note: events.{kind}.history: {error}; a joiner will not start without them"


@config_app.command("schema")
def config_schema() -> None:
    """Print the JSON Schema of configuration files, for editors.

    Example: stream-mtl config schema > stream-mtl.schema.json
    """
    typer.echo(json_schema(), nl=False)

"""Commands that look at a configured model."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.text import Text
from rich.tree import Tree

from stream_mtl.cli.app import ConfigFile, Overrides, app, loaded, say
from stream_mtl.cli.tables import Json, print_wide

if TYPE_CHECKING:
    from stream_mtl.processes.model_show import Shown

model_app = typer.Typer(no_args_is_help=True)
app.add_typer(model_app, name="model", help="Look at the model that a configuration chooses.")


@model_app.command("show")
def model_show(
    config: ConfigFile,
    overrides: Overrides = [],  # noqa: B006
    as_json_: Json = False,
    svg: Annotated[Path | None, typer.Option("--svg", help="Draw it into this file too.")] = None,
) -> None:
    """Show the parts of the model: shapes, numbers of weights, and what reads what.

    Examples:

    stream-mtl model show site.toml

    stream-mtl model show site.toml --svg model.svg -X model.name=ple
    """
    from stream_mtl.processes.model_show import picture, shown  # loads torch

    model = shown(loaded(config, overrides))
    if svg is not None:
        svg.write_text(picture(model), encoding="utf-8")
        say(f"{svg}: drawn")
    if as_json_:
        typer.echo(json.dumps(model.as_data(), indent=2))
        return
    print_wide(_tree(model))


def _tree(model: "Shown") -> Tree:
    root = Tree(Text(f"{model.name}: {model.parameters:,} weights", style="bold"))
    for group, nodes in model.groups().items():
        branch = root.add(Text(group, style="bold cyan"))
        for node in nodes:
            weights = f"  {node.parameters:,} weights" if node.parameters else ""
            leaf = branch.add(Text.assemble((node.title, "bold"), (weights, "green")))
            for fact in node.facts:
                leaf.add(Text(fact))
            if node.reads:
                leaf.add(Text(f"reads {', '.join(node.reads)}", style="dim"))
    return root

"""Commands that look at published snapshots."""

import json
from pathlib import Path
from typing import Annotated, Any

import msgspec
import typer
from rich import box
from rich.console import Console
from rich.table import Table

from stream_mtl.cli.app import Challenger, ConfigFile, Overrides, app, loaded, say
from stream_mtl.errors import StateError
from stream_mtl.publish.snapshot import Manifest, Version
from stream_mtl.publish.store import SnapshotFolder
from stream_mtl.watch.words import count, moment, ratio

snapshots_app = typer.Typer(no_args_is_help=True)
app.add_typer(snapshots_app, name="snapshots", help="Look at published snapshots.")

Json = Annotated[bool, typer.Option("--json", help="JSON instead of a table.")]


@snapshots_app.command("list")
def snapshots_list(
    config: ConfigFile,
    overrides: Overrides = [],  # noqa: B006
    as_json_: Json = False,
    challenger: Challenger = None,
) -> None:
    """List the snapshots that are there: what each had learned, and how good its predictions were of late.

    Example: stream-mtl snapshots list market/config.toml
    """
    store = SnapshotFolder(loaded(config, overrides, challenger_=challenger).config.publish.path)
    latest = store.latest()
    manifests = [store.manifest(version) for version in store.versions()]
    if as_json_:
        typer.echo(json.dumps({"latest": latest, "snapshots": [_plain(one) for one in manifests]}))
        return
    if not manifests:
        say(f"no snapshot is there yet; stream-mtl run train {config} makes them")
        return
    table = Table(
        "version",
        "learned up to",
        "examples",
        "task",
        "examples of late",
        "calib.",
        "NE",
        "AUC",
        box=box.SIMPLE,
    )
    for manifest in manifests:
        for place, (task, reading) in enumerate(manifest.metrics.get("recent", {}).items()):
            learned = manifest.learned
            mark = " *" if manifest.version == latest else ""
            own = (f"{manifest.version}{mark}", moment(learned.upto), count(learned.examples))
            values = [ratio(reading.get(name)) for name in ("calibration", "normalised_entropy", "auc")]
            table.add_row(
                *(own if place == 0 else ("", "", "")), task, count(reading.get("examples")), *values
            )
    console = Console(width=max(100, Console().width))
    console.print(table)
    console.print("* is the one that serves; calibration is predicted / observed", style="dim")


@snapshots_app.command("show")
def snapshots_show(
    config: ConfigFile,
    version: Annotated[
        int | None, typer.Argument(help="The version; the latest, if it is not given.")
    ] = None,
    overrides: Overrides = [],  # noqa: B006
    challenger: Challenger = None,
) -> None:
    """Verify a snapshot, and print its manifest and the shapes of its weights as JSON.

    Example: stream-mtl snapshots show market/config.toml 12
    """
    path = loaded(config, overrides, challenger_=challenger).config.publish.path
    store = SnapshotFolder(path)
    snapshot = store.open(_latest(store, path) if version is None else version)
    shapes = {name: f"{array.dtype} {list(array.shape)}" for name, array in sorted(snapshot.weights.items())}
    typer.echo(json.dumps({**_plain(snapshot.manifest), "arrays": shapes}, indent=2))


def _latest(store: SnapshotFolder, path: Path) -> Version:
    latest = store.latest()
    if latest is None:
        raise StateError(f"{path}: there is no snapshot yet; `stream-mtl run train` publishes them")
    return latest


def _plain(manifest: Manifest) -> dict[str, Any]:
    plain: dict[str, Any] = msgspec.to_builtins(manifest)
    return plain

"""What a configuration declares, worked out for the join and for everybody who reads its log (never loads torch)."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from stream_mtl.config.chains import chain_spec
from stream_mtl.config.columns import event_specs, read_schemas
from stream_mtl.config.load import Loaded
from stream_mtl.config.sections import Config
from stream_mtl.connectors.peek import first_schema
from stream_mtl.events.types import EventSpec
from stream_mtl.join.log import refuse_other
from stream_mtl.join.spec import ChainSpec, TaskSpec
from stream_mtl.join.state import declaration
from stream_mtl.label.methods import make
from stream_mtl.label.plan import Plan, products

_JOINT: Mapping[str, Callable[[Sequence[TaskSpec]], tuple[str, ...]]] = {
    "independent": lambda tasks: (),
    "esmm": products,
}
"""Per relation, the tasks that are taught over all exposures: what the join must know of the model, and no more."""


@dataclass(frozen=True, slots=True)
class Declared:
    """The chain, its events, and what the tasks teach."""

    config: Config
    chain: ChainSpec
    specs: list[EventSpec]  # the root first, the scores last
    plan: Plan

    @property
    def declaration(self) -> Mapping[str, Any]:
        """What the log of transitions is bound to."""
        return declaration(self.chain, {spec.kind: spec.schema for spec in self.specs})


def declared(loaded: Loaded) -> Declared:
    """Work a configuration out. Raises ConfigError."""
    config = loaded.config
    bare = chain_spec(config)
    labels = [task.name for task in bare.tasks if not task.regression]
    methods = {
        name: make(config.tasks[name].method.name, *config.tasks[name].method.waits) for name in labels
    }
    plan = Plan(bare.tasks, methods, _JOINT[config.model.relation](bare.tasks))
    chain = chain_spec(config, plan.waits, plan.features_on_final or bool(config.watch.slices))
    schemas = {**_schemas_of_files(config), **read_schemas(config)}
    return Declared(config, chain, event_specs(config, schemas, loaded.document), plan)


def check_folder(made: Declared, folder: Path) -> None:
    """Raise FingerprintMismatch, naming what differs, if the log there was written under another configuration."""
    path = folder / "declaration.json"
    if path.is_file():
        wanted = msgspec.json.decode(msgspec.json.encode(made.declaration))
        refuse_other(str(path.parent), msgspec.json.decode(path.read_bytes()), wanted)


def _schemas_of_files(config: Config) -> dict[str, bytes]:
    found = {
        kind: first_schema(event.source.partition(":")[2])
        for kind, event in config.events.items()
        if event.source.startswith("files:") and event.format in (None, "avro")
    }
    return {kind: schema for kind, schema in found.items() if schema is not None}

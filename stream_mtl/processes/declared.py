"""What a configuration declares, worked out for the join and for everybody who reads its log (never loads torch)."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from stream_mtl.clock import Millis
from stream_mtl.config.chains import chain_spec
from stream_mtl.config.challengers import family
from stream_mtl.config.columns import event_specs, read_schemas
from stream_mtl.config.declarations import Task
from stream_mtl.config.load import Loaded
from stream_mtl.config.sections import Config
from stream_mtl.connectors.peek import first_schema
from stream_mtl.events.types import EventSpec
from stream_mtl.join.log import refuse_other
from stream_mtl.join.spec import ChainSpec, TaskSpec
from stream_mtl.join.state import declaration
from stream_mtl.label.base import DelayedFeedback
from stream_mtl.label.heads import Heads
from stream_mtl.label.methods import make
from stream_mtl.label.plan import Plan, products

_JOINT: Mapping[str, Callable[[Sequence[TaskSpec]], tuple[str, ...]]] = {
    "independent": lambda tasks: (),
    "esmm": products,
    "dbmtl": lambda tasks: (),
    "gmsl": lambda tasks: (),
    "aitm": products,
}
"""Per relation, the tasks that are taught over all exposures: what the join must know of the model, and no more."""


@dataclass(frozen=True, slots=True)
class Declared:
    """The chain, its events, and what the tasks teach."""

    config: Config
    chain: ChainSpec
    specs: list[EventSpec]  # the root first, the scores last
    plan: Plan
    name: str | None = None  # of the challenger, if it is one

    @property
    def declaration(self) -> Mapping[str, Any]:
        """What the log of transitions is bound to."""
        return declaration(self.chain, {spec.kind: spec.schema for spec in self.specs})


def declared(loaded: Loaded) -> Declared:
    """Work a configuration out; its log is that of the champion and all challengers. Raises ConfigError."""
    return next(one for one in declared_together(loaded) if one.name == loaded.name)


def declared_together(loaded: Loaded) -> list[Declared]:
    """Work out the champion and all challengers of a configuration. Raises ConfigError."""
    members = family(loaded)
    config = members[0].config
    bare = chain_spec(config)
    plans = [_plan(one.config, bare.tasks) for one in members]
    needs_features = bool(config.watch.slices) or any(plan.features_on_final for plan in plans)
    chain = chain_spec(config, _looks(config, plans), needs_features)
    schemas = {**_schemas_of_files(config), **read_schemas(config)}
    specs = event_specs(config, schemas, members[0].document)
    return [
        Declared(one.config, chain, specs, plan, one.name) for one, plan in zip(members, plans, strict=True)
    ]


def _plan(config: Config, tasks: Sequence[TaskSpec]) -> Plan:
    methods = {task.name: _method(config.tasks[task.name]) for task in tasks if not task.regression}
    return Plan(tasks, methods, _JOINT[config.model.relation](tasks))


def _method(task: Task) -> DelayedFeedback:
    heads = Heads(task.auxiliary == "oracle", task.auxiliary_until)
    return make(task.method.name, *task.method.waits, heads=heads)


def _looks(config: Config, plans: Iterable[Plan]) -> dict[str, set[Millis]]:
    """Return, by task, the looks that anybody asks for."""
    looks = {name: set(task.looks) for name, task in config.tasks.items()}
    for plan in plans:
        for name, waits in plan.waits.items():
            looks[name] |= set(waits)
    return looks


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

"""From the declared events to the columns that are kept of each kind, with their types."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import TypeAlias, get_args

from stream_mtl.config.avro import avro_types
from stream_mtl.config.chains import before_root, chain_key, in_order, less_of
from stream_mtl.config.declarations import AnyFeature, Numeric, Sequence
from stream_mtl.config.origin import Document
from stream_mtl.config.problems import Path, Problem, nearest
from stream_mtl.config.sections import Config
from stream_mtl.errors import ConfigError, SchemaError
from stream_mtl.events.types import EventSpec, FieldType

SchemaTypes: TypeAlias = Mapping[str, FieldType | None]

IDS: frozenset[FieldType] = frozenset({"long", "string"})
NUMBERS: frozenset[FieldType] = frozenset({"long", "double"})
CATEGORIES: frozenset[FieldType] = frozenset({"long", "string", "boolean"})
SCALARS: frozenset[FieldType] = frozenset({"long", "double", "boolean"})
ARRAYS: frozenset[FieldType] = frozenset({"array<long>", "array<string>"})
ANY: frozenset[FieldType] = frozenset(get_args(FieldType))


@dataclass(frozen=True, slots=True)
class Want:
    """A field that is kept: who asks for it, which types can serve him, and what is taken if nothing says."""

    field: str
    path: Path
    serves: frozenset[FieldType]
    default: FieldType | None = None
    may_lack: bool = False  # whether a schema without the field is in order


@dataclass(frozen=True, slots=True)
class Kept:
    """One field of one kind, and all who ask for it."""

    kind: str
    name: str
    wants: list[Want]

    @property
    def path(self) -> Path:
        """Where the first who asks for it does so."""
        return self.wants[0].path

    @property
    def default(self) -> FieldType | None:
        """The type that is taken if nothing says: one that serves all."""
        defaults = (want.default for want in self.wants)
        return next((one for one in defaults if one and all(one in want.serves for want in self.wants)), None)


@dataclass(slots=True)
class Typed:
    """The types of the kept fields by kind, what contradicts itself, and what nobody has said yet."""

    types: dict[str, dict[str, FieldType]] = field(default_factory=dict)
    wrong: list[Problem] = field(default_factory=list)
    unsaid: list[Problem] = field(default_factory=list)


def event_specs(
    config: Config, schemas: Mapping[str, bytes | str] | None = None, document: Document | None = None
) -> list[EventSpec]:
    """Return how each kind is found and which of its fields are kept: in the chain's order, scores last.

    `schemas` are Avro record schemas (JSON) by kind: those of `read_schemas`, a registry's, a file's own. A
    field's type is what `fields` says, else the schema, else, for keys and parents, the type of what they
    are equal to, else "double" for values and numeric features, and for labels the type of what they are
    compared with. Of scores, all that `fields` names is kept. Raises ConfigError with every field whose type
    is not said, or cannot serve; with its line where `document` is given.
    """
    typed = field_types(config, schemas or {})
    if problems := typed.wrong + typed.unsaid:
        raise ConfigError("\n".join(map(document.located if document is not None else str, problems)))
    return [_spec(config, kind, types) for kind, types in typed.types.items()]


def read_schemas(config: Config) -> dict[str, bytes]:
    """Return the text of every `schema` file by kind. Raises ConfigError when one cannot be read."""
    schemas, problems = _read_schemas(config)
    if problems:
        raise ConfigError("\n".join(map(str, problems)))
    return schemas


def schema_problems(config: Config) -> list[Problem]:
    """Return what is wrong with the fields whatever a registry may say later."""
    schemas, problems = _read_schemas(config)
    typed = field_types(config, schemas)
    return problems + typed.wrong


def field_types(config: Config, schemas: Mapping[str, bytes | str]) -> Typed:
    """Return the type of every kept field, as far as it can be known."""
    typed = Typed()
    for kind in (*in_order(config), *before_root(config)):
        schema = _schema_types(kind, schemas, typed)
        grouped: dict[str, list[Want]] = {}
        for want in wants(config, kind):
            grouped.setdefault(want.field, []).append(want)
        typed.types[kind] = {}
        for name, group in grouped.items():
            _settle(config, Kept(kind, name, group), schema, typed)
    return typed


def wants(config: Config, kind: str) -> Iterator[Want]:
    """Give the kept fields of a kind: key, id, parent, labels, all whose type is declared, the root's features."""
    event = config.events[kind]
    for name in chain_key(config):
        yield Want(name, ("chain", "key"), IDS, may_lack=event.parent is not None)
    if event.id is not None:
        yield Want(event.id, ("events", kind, "id"), IDS)
    if event.parent is not None:
        yield Want(event.parent, ("events", kind, "parent"), IDS)
    for name, task in config.tasks.items():
        if task.event == kind and task.value is not None:
            yield Want(task.value, ("tasks", name, "value"), NUMBERS, default="double")
        if task.less is not None and less_of(task.less)[0] == kind:
            yield Want(less_of(task.less)[1], ("tasks", name, "less"), NUMBERS, default="double")
        for label, values in task.where.items():
            yield _label_want(label, ("tasks", name, "where"), values)
    for name in event.fields:
        yield Want(name, ("events", kind, "fields", name), ANY)
    if event.before is None and not event.after:
        for name, task in config.tasks.items():
            if task.row_weight is not None:
                yield Want(task.row_weight, ("tasks", name, "row_weight"), NUMBERS, default="double")
        for name, feature in config.features.items():
            yield _feature_want(name, feature)


def _label_want(name: str, path: Path, values: tuple[object, ...]) -> Want:
    kind = "double" if float in map(type, values) else _OF_VALUE[type(values[0])]
    return Want(name, path, NUMBERS if kind == "long" else frozenset({kind}), default=kind)


_OF_VALUE: Mapping[type, FieldType] = {bool: "boolean", str: "string", int: "long"}


def _feature_want(name: str, feature: AnyFeature) -> Want:
    source, path = feature.field or name, ("features", name)
    if isinstance(feature, Numeric):
        return Want(source, path, SCALARS, default="double")
    return Want(source, path, ARRAYS if isinstance(feature, Sequence) else CATEGORIES)


def _settle(config: Config, kept: Kept, schema: SchemaTypes | None, typed: Typed) -> None:
    """Choose the type of one field, and see that it serves everyone who asks for it."""
    said = config.events[kept.kind].fields.get(kept.name)
    fault = _no_column(kept, config.events[kept.kind].columns)
    if fault is None and said is None and schema is not None:
        fault = _unusable(kept, schema)
    if fault is not None:
        typed.wrong.append(Problem(kept.path, fault))
        return
    equal = _equal(config, kept, typed)
    chosen = said or (schema or {}).get(kept.name) or equal or kept.default
    if chosen is None:
        typed.unsaid.append(Problem(kept.path, _unsaid(kept)))
        return
    typed.types[kept.kind][kept.name] = chosen
    typed.wrong += _contradictions(kept, chosen, equal)


def _no_column(kept: Kept, columns: tuple[str, ...]) -> str | None:
    if not columns or kept.name in columns or all(want.may_lack for want in kept.wants):
        return None
    return f'{kept.kind} has no column "{kept.name}"; {nearest(kept.name, columns)}'


def _unusable(kept: Kept, schema: SchemaTypes) -> str | None:
    if kept.name not in schema and not all(want.may_lack for want in kept.wants):
        return f'the schema of {kept.kind} has no field "{kept.name}"; {nearest(kept.name, schema)}'
    if schema.get(kept.name, "long") is None:
        return f'no column holds the type of "{kept.name}" in the schema of {kept.kind}; name another field'
    return None


def _unsaid(kept: Kept) -> str:
    example = min(kept.wants[0].serves)
    return (
        f'nothing says the type of "{kept.name}" in {kept.kind}; add to [events.{kept.kind}] '
        f'fields = {{ {kept.name} = "{example}" }} or schema = "{kept.kind}.avsc"'
    )


def _contradictions(kept: Kept, chosen: FieldType, equal: FieldType | None) -> Iterator[Problem]:
    for want in kept.wants:
        if chosen not in want.serves:
            wanted = " or ".join(sorted(want.serves))
            text = f'"{kept.name}" is {chosen} in {kept.kind}, but must be {wanted} here; name another field'
            yield Problem(want.path, text)
    if equal is not None and chosen != equal:
        text = (
            f'"{kept.name}" is {chosen} in {kept.kind}, but what it must equal is {equal}; make them the same'
        )
        yield Problem(kept.path, text)


def _equal(config: Config, kept: Kept, typed: Typed) -> FieldType | None:
    """Return the type of what the field must equal: the root's key, or the id of the kind it follows."""
    event = config.events[kept.kind]
    root = next(iter(typed.types))
    for want in kept.wants:
        if want.path == ("chain", "key"):
            found = typed.types[root].get(want.field)
        elif want.path[-1] == "parent" and event.after:
            found = typed.types[event.after[0]].get(config.events[event.after[0]].id or "")
        else:
            found = None
        if found is not None:
            return found
    return None


def _schema_types(kind: str, schemas: Mapping[str, bytes | str], typed: Typed) -> SchemaTypes | None:
    if kind not in schemas:
        return None
    try:
        return avro_types(schemas[kind])
    except SchemaError as error:
        typed.wrong.append(Problem(("events", kind, "schema"), str(error)))
        return None


def _read_schemas(config: Config) -> tuple[dict[str, bytes], list[Problem]]:
    schemas: dict[str, bytes] = {}
    problems: list[Problem] = []
    for kind, event in config.events.items():
        if event.schema_path is None:
            continue
        try:
            schemas[kind] = event.schema_path.read_bytes()
        except OSError as error:
            text = f"{event.schema_path} cannot be read: {error.strerror}; name an existing Avro schema file"
            problems.append(Problem(("events", kind, "schema"), text))
    return schemas, problems


def _spec(config: Config, kind: str, types: Mapping[str, FieldType]) -> EventSpec:
    event = config.events[kind]
    needed = [*(chain_key(config) if event.parent is None else ()), *([event.id] if event.id else ())]
    return EventSpec(
        kind=kind,
        source=event.source,
        time=event.time,
        fields=dict(types),
        time_unit=event.time_unit,
        time_format=event.time_format,
        where=dict(event.where),
        required=tuple(dict.fromkeys(needed)),
        columns=event.columns,
        trim=event.trim,
    )

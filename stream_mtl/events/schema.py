"""A writer's schema against the wanted fields: what is read for each field, in which order, into which column."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import pyarrow as pa

from stream_mtl.errors import SchemaError
from stream_mtl.events.extent import Skip, skipper
from stream_mtl.events.strict import Cells, Walk, walker
from stream_mtl.events.tree import Node, parse
from stream_mtl.events.types import ARROW_TYPES, FieldType, Limits

SHORT: Final = 64  # bytes that a cursor may go on without a look at where its span ends


@dataclass(frozen=True, slots=True)
class Step:
    """What every cursor does next: over one field, or over a branch that only some of the rows have."""

    name: str  # the field's path
    kind: str  # number, boolean, enum, text, fixed, array, nullable
    node: Node
    cell: int | None = None  # which column it fills
    branch: int = 0  # nullable: the number of the branch that is not null
    inner: tuple["Step", ...] = ()  # nullable: what is in that branch


@dataclass(frozen=True, slots=True)
class Plan:
    """How rows of one writer become the wanted columns.

    `steps` is None for a schema that columns do not cover: one with a map, a union other than of null and one
    type, or an array of anything but plain types. Such rows are read one at a time, by the same rules.
    """

    fields: Mapping[str, FieldType]
    limits: Limits
    columns: pa.Schema
    steps: tuple[Step, ...] | None
    reach: int  # bytes that a cursor may go past the end of its span before it is looked at
    row: Walk  # reads one row into its cells
    skip: Skip  # finds where one row ends

    @property
    def columnar(self) -> bool:
        """Whether many rows are read at once."""
        return self.steps is not None


def compile_plan(
    writer_schema: str | bytes | dict[str, Any], fields: Mapping[str, FieldType], limits: Limits
) -> Plan:
    """Return how rows of a writer become columns of the wanted fields.

    A field that the writer lacks is null; `a.b` is field b of the record a. A long takes int and long; a double
    also float and double; a string also bytes, fixed, enum, and int and long as decimal digits; an array its items
    by the same rules; each of them also in a union with null. Logical types of int and long are read as plain
    numbers.

    Raises SchemaError for a schema that is no Avro record or not safe to read by (`tree.parse`), and for a field
    of a type that never becomes the wanted one.
    """
    root = parse(writer_schema)
    cells: dict[tuple[str, ...], tuple[int, FieldType]] = {}
    for cell, (name, kind) in enumerate(fields.items()):
        path = _path(root, name)
        if path is not None:
            cells[path] = (cell, kind)
    steps = tuple(_steps(root, cells, ())) if _covered(root) else None
    return Plan(
        fields=dict(fields),
        limits=limits,
        columns=pa.schema([(name, ARROW_TYPES[kind]) for name, kind in fields.items()]),
        steps=steps,
        reach=_reach(steps or ()),
        row=walker(root, limits.max_items, cells),
        skip=skipper(root),
    )


def _path(root: Node, name: str) -> tuple[str, ...] | None:
    """Return the path of a field, or None if the writer has none of that name. Raises SchemaError."""
    names = [inner for inner, _ in root.fields]
    path = (name,) if name in names else tuple(name.split("."))
    node = root
    for depth, part in enumerate(path):
        record = _record_of(node)
        if record is None:
            raise SchemaError(
                f"field {name!r}: {'.'.join(path[:depth])} is {node.kind} to its writer, no record"
            )
        found = dict(record.fields).get(part)
        if found is None:
            return None
        node = found
    return path


def _record_of(node: Node) -> Node | None:
    """Return the record that a node is, or is unless it is null."""
    some = _some(node)
    inner = node.branches[some] if some is not None else node
    return inner if inner.kind == "record" else None


def _some(node: Node) -> int | None:
    """Return the number of the branch that is not null, of a union of null and one other type."""
    kinds = [branch.kind for branch in node.branches]
    if len(kinds) != 2 or kinds.count("null") != 1:
        return None
    return 1 - kinds.index("null")


def _covered(node: Node) -> bool:
    """Return whether columns cover a node."""
    if node.kind == "union":
        some = _some(node)
        return some is not None and _covered(node.branches[some])
    if node.kind == "array":
        return node.items is not None and node.items.kind in _STEPS
    if node.kind == "record":
        return all(_covered(inner) for _, inner in node.fields)
    return node.kind != "map"


def _steps(record: Node, cells: Cells, path: tuple[str, ...]) -> Iterator[Step]:
    for name, node in record.fields:
        yield from _steps_of(node, cells, (*path, name))


def _steps_of(node: Node, cells: Cells, path: tuple[str, ...]) -> Iterator[Step]:
    name = ".".join(path)
    if node.kind == "record":
        yield from _steps(node, cells, path)
    elif node.kind == "union":
        some = _some(node)
        assert some is not None
        yield Step(name, "nullable", node, None, some, tuple(_steps_of(node.branches[some], cells, path)))
    elif node.kind != "null":
        cell = cells[path][0] if path in cells else None
        yield Step(name, _STEPS.get(node.kind, node.kind), node, cell)


def _reach(steps: Sequence[Step]) -> int:
    """Return how far a cursor may get if every field is as long as it can be without a look at the end."""
    total = 0
    for step in steps:
        total += _REACHES[step.kind] + _reach(step.inner)
    return total


_STEPS: Final[Mapping[str, str]] = {
    "boolean": "boolean",
    "int": "number",
    "long": "number",
    "float": "fixed",
    "double": "fixed",
    "bytes": "text",
    "string": "text",
    "fixed": "fixed",
    "enum": "enum",
}
_VARINT: Final = 10
_REACHES: Final[Mapping[str, int]] = {
    "boolean": 1,
    "number": _VARINT,
    "enum": _VARINT,
    "nullable": _VARINT,
    "text": _VARINT + SHORT,
    "fixed": SHORT,
    "array": 3 * _VARINT,
}

"""An Avro writer schema as a tree that is safe to read by: finite, shallow, and no item without bytes."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final, TypeAlias

from stream_mtl.errors import SchemaError

PRIMITIVES: Final[Mapping[str, int]] = {
    "null": 0,
    "boolean": 1,
    "int": 1,
    "long": 1,
    "float": 4,
    "double": 8,
    "bytes": 1,
    "string": 1,
}
"""The least bytes of each."""

_RECORDS: Final = ("record", "error")
_DEEPEST: Final = 64  # levels
_MOST_NODES: Final = 10_000  # with every named type counted wherever it is used
_WIDEST: Final = 2**31 - 1  # bytes of a fixed


@dataclass(frozen=True, slots=True)
class Node:
    """One type of a schema; a named type that is used twice is one node.

    `least` is the fewest bytes that a value takes, `nodes` how many nodes there are from here down, `levels` how
    deep.
    """

    kind: str  # a primitive, or fixed, enum, union, array, map, record
    least: int
    nodes: int = 1
    levels: int = 1
    logical: str | None = None
    size: int = 0  # of a fixed
    symbols: tuple[str, ...] = ()
    branches: tuple["Node", ...] = ()
    items: "Node | None" = None  # of an array, the values of a map
    fields: tuple[tuple[str, "Node"], ...] = ()


@dataclass(slots=True)
class _Names:
    """The named types so far by full name, None for one whose definition is still open."""

    known: dict[str, Node | None] = field(default_factory=dict)
    path: list[str] = field(default_factory=list)  # the fields that lead to where we are

    def error(self, what: str) -> SchemaError:
        return SchemaError(f"writer schema, at {'.'.join(self.path) or 'its top'}: {what}")


_Schema: TypeAlias = Any  # whatever JSON gave


def parse(writer_schema: str | bytes | Mapping[str, Any]) -> Node:
    """Return the record that a schema describes.

    Raises SchemaError if it is no Avro record, is recursive, or has arrays or maps of items that take no bytes: a
    few bytes of those claim any number of items.
    """
    names = _Names()
    root = _node(_loaded(writer_schema), "", 0, names)
    if root.kind != "record":
        raise names.error(f"is {root.kind}; rows of columns need a record")
    if root.nodes > _MOST_NODES:
        raise names.error(
            f"has {root.nodes} types, named ones counted wherever they are used; the limit is {_MOST_NODES}"
        )
    if root.levels > _DEEPEST:
        raise names.error(f"is nested deeper than {_DEEPEST} levels")
    if root.least == 0:
        raise names.error("no field takes a byte, so that no row can be told from nothing")
    return root


def _loaded(schema: str | bytes | Mapping[str, Any]) -> _Schema:
    if isinstance(schema, Mapping):
        return schema
    try:
        return json.loads(schema)
    except (ValueError, RecursionError, TypeError) as error:
        raise SchemaError(f"writer schema: is no JSON ({error}); give an Avro record schema") from error


def _node(schema: _Schema, space: str, depth: int, names: _Names) -> Node:
    """Return the node of a schema that stands in a namespace."""
    if depth > _DEEPEST:
        raise names.error(f"is nested deeper than {_DEEPEST} levels")
    if isinstance(schema, str):
        return _by_name(schema, space, names)
    if isinstance(schema, list):
        return _union(schema, space, depth, names)
    if not isinstance(schema, Mapping):
        raise names.error(f"{schema!r} is no type")
    kind = schema.get("type")
    if isinstance(kind, str) and kind in _RECORDS:
        return _record(schema, space, depth, names)
    if isinstance(kind, str) and kind in _COMPLEX:
        node: Node = _COMPLEX[kind](schema, space, depth, names)
        return node
    inner = _node(kind, space, depth + 1, names)
    logical = schema.get("logicalType")
    if inner.kind in PRIMITIVES and isinstance(logical, str):
        return Node(inner.kind, inner.least, logical=logical)
    return inner


def _by_name(name: str, space: str, names: _Names) -> Node:
    if name in PRIMITIVES:
        return Node(name, PRIMITIVES[name])
    for full in (_full(name, space), name):
        if full in names.known:
            found = names.known[full]
            if found is None:
                raise names.error(f"{full} contains itself; a recursive schema is refused")
            return found
    raise names.error(f"{name!r} is neither an Avro type nor one defined before")


def _union(schema: _Schema, space: str, depth: int, names: _Names) -> Node:
    branches = tuple(_node(branch, space, depth + 1, names) for branch in schema)
    if not branches or any(branch.kind == "union" for branch in branches):
        raise names.error("a union has no branch, or a union among them")
    return _over("union", 1 + min(branch.least for branch in branches), branches, branches=branches)


def _array(schema: _Schema, space: str, depth: int, names: _Names) -> Node:
    return _repeated("array", "items", schema, space, depth, names)


def _map(schema: _Schema, space: str, depth: int, names: _Names) -> Node:
    return _repeated("map", "values", schema, space, depth, names)


def _repeated(kind: str, of: str, schema: _Schema, space: str, depth: int, names: _Names) -> Node:
    items = _node(schema.get(of), space, depth + 1, names)
    if items.least == 0:
        raise names.error(f"the {of} of {kind} take no bytes; a few bytes could claim any number of them")
    return _over(kind, 1, (items,), items=items)


def _enum(schema: _Schema, space: str, depth: int, names: _Names) -> Node:
    symbols = schema.get("symbols")
    if not isinstance(symbols, list) or not symbols or not all(_is_text(symbol) for symbol in symbols):
        raise names.error("an enum needs a list of symbols")
    return _defined(schema, space, names, Node("enum", 1, symbols=tuple(symbols)))


def _fixed(schema: _Schema, space: str, depth: int, names: _Names) -> Node:
    size = schema.get("size")
    if not isinstance(size, int) or isinstance(size, bool) or not 0 <= size <= _WIDEST:
        raise names.error(f"a fixed cannot have the size {size!r}")
    logical = schema.get("logicalType")
    node = Node("fixed", size, size=size, logical=logical if isinstance(logical, str) else None)
    return _defined(schema, space, names, node)


def _record(schema: _Schema, space: str, depth: int, names: _Names) -> Node:
    full = _define(schema, space, names)
    inner = full.rpartition(".")[0]
    listed = schema.get("fields")
    if not isinstance(listed, list):
        raise names.error("a record needs a list of fields")
    fields: dict[str, Node] = {}
    for one in listed:
        name = one.get("name") if isinstance(one, Mapping) else None
        if not isinstance(name, str) or not _is_text(name) or name in fields:
            raise names.error(f"a field's name is missing, no text, or there twice: {name!r}")
        names.path.append(name)
        fields[name] = _node(one.get("type"), inner, depth + 1, names)
        names.path.pop()
    least = sum(node.least for node in fields.values())
    node = _over("record", least, tuple(fields.values()), fields=tuple(fields.items()))
    names.known[full] = node
    return node


def _over(kind: str, least: int, children: tuple[Node, ...], **rest: Any) -> Node:
    nodes = 1 + sum(child.nodes for child in children)
    levels = 1 + max((child.levels for child in children), default=0)
    return Node(kind, least, nodes, levels, **rest)


def _defined(schema: _Schema, space: str, names: _Names, node: Node) -> Node:
    names.known[_define(schema, space, names)] = node
    return node


def _define(schema: _Schema, space: str, names: _Names) -> str:
    """Open the definition of a named type; return its full name."""
    name, own = schema.get("name"), schema.get("namespace")
    if not _is_text(name):
        raise names.error(f"a {schema['type']} needs a name")
    full = _full(name, own if isinstance(own, str) else space)
    if full in names.known or full in PRIMITIVES:
        known = names.known.get(full)
        again = "contains itself" if full in names.known and known is None else "is defined twice"
        raise names.error(f"{full} {again}")
    names.known[full] = None
    return full


def _full(name: str, space: str) -> str:
    return name if "." in name or not space else f"{space}.{name}"


def _is_text(value: Any) -> bool:
    """Return whether a value is a text that UTF-8 can hold: JSON's escapes can make half characters."""
    return (
        isinstance(value, str) and value != "" and not any("\ud800" <= letter <= "\udfff" for letter in value)
    )


_COMPLEX: Final[Mapping[str, Any]] = {"array": _array, "map": _map, "enum": _enum, "fixed": _fixed}

"""An Avro schema that refers to others, written out as one: each type stands where it is first named."""

import json
from collections.abc import Mapping
from typing import Any, TypeAlias

from stream_mtl.errors import SchemaError

_Schema: TypeAlias = Any  # whatever JSON gave


def written_out(schema: str, definitions: Mapping[str, str]) -> str:
    """Return a schema with the definitions (schemas by their full name) that it names, and that those name.

    Raises SchemaError for what is no JSON, or nested too deep to be a schema.
    """
    try:
        left = {name: json.loads(text) for name, text in definitions.items()}
        return json.dumps(_walked(json.loads(schema), "", left))
    except (ValueError, RecursionError) as error:
        raise SchemaError(f"a schema and those that it refers to cannot be read: {error}") from error


def _walked(schema: _Schema, space: str, left: dict[str, _Schema]) -> _Schema:
    """Return a schema that stands in a namespace; definitions that it takes are no longer `left`."""
    if isinstance(schema, str):
        return _named(schema, space, left)
    if isinstance(schema, list):
        return [_walked(branch, space, left) for branch in schema]
    if not isinstance(schema, dict):
        return schema
    kind = schema.get("type")
    if kind in ("record", "error"):
        return _record(schema, space, left)
    if kind in ("enum", "fixed"):
        return schema
    inner = {"array": "items", "map": "values"}.get(kind, "type") if isinstance(kind, str) else "type"
    return {**schema, inner: _walked(schema.get(inner), space, left)}


def _named(name: str, space: str, left: dict[str, _Schema]) -> _Schema:
    for full in (f"{space}.{name}" if space and "." not in name else name, name):
        if full in left:
            definition = left.pop(full)
            # Without a namespace of its own it would take the one that it now stands in.
            alone = {"namespace": "", **definition} if isinstance(definition, dict) else definition
            return _walked(alone, "", left)
    return name


def _record(schema: dict[str, _Schema], space: str, left: dict[str, _Schema]) -> _Schema:
    name, own, fields = schema.get("name"), schema.get("namespace"), schema.get("fields")
    if not isinstance(name, str) or not isinstance(fields, list):
        return schema  # what is wrong with it is said where it is used
    inner = name.rpartition(".")[0] if "." in name else own if isinstance(own, str) else space
    return {**schema, "fields": [_field(one, inner, left) for one in fields]}


def _field(field: _Schema, space: str, left: dict[str, _Schema]) -> _Schema:
    return {**field, "type": _walked(field.get("type"), space, left)} if isinstance(field, dict) else field

"""Which of our field types the fields of an Avro schema are."""

import json
from collections.abc import Mapping
from typing import Any

from stream_mtl.errors import SchemaError
from stream_mtl.events.types import FieldType

PLAIN: Mapping[str, FieldType] = {
    "int": "long",
    "long": "long",
    "float": "double",
    "double": "double",
    "boolean": "boolean",
    "string": "string",
    "enum": "string",
}
LISTS: Mapping[FieldType, FieldType] = {
    "long": "array<long>",
    "double": "array<double>",
    "string": "array<string>",
}


def avro_types(schema: bytes | str) -> dict[str, FieldType | None]:
    """Return the type of every top-level field of a record schema; None for types that no column holds.

    Raises SchemaError when the text is no record schema.
    """
    try:
        read = json.loads(schema)
    except ValueError as error:
        raise SchemaError(f"is no JSON ({error}); give an Avro record schema") from error
    fields = read.get("fields") if isinstance(read, dict) and read.get("type") == "record" else None
    if not isinstance(fields, list) or not all(isinstance(one, dict) and "name" in one for one in fields):
        raise SchemaError("is no record with fields; give an Avro record schema")
    named: dict[str, Any] = {}
    return {str(one["name"]): _field_type(one.get("type"), named) for one in fields}


def _field_type(kind: Any, named: dict[str, Any]) -> FieldType | None:
    if isinstance(kind, list):
        present = [part for part in kind if part != "null"]
        return _field_type(present[0], named) if len(present) == 1 else None
    if isinstance(kind, str):
        return PLAIN.get(kind) or named.get(kind)
    if not isinstance(kind, dict):
        return None
    if kind.get("type") == "array":
        item = _field_type(kind.get("items"), named)
        return LISTS.get(item) if item is not None else None
    found = _field_type(kind.get("type"), named)
    # A named type may be used again by its name.
    if "name" in kind:
        space = f"{kind['namespace']}." if kind.get("namespace") else ""
        named |= {kind["name"]: found, f"{space}{kind['name']}": found}
    return found

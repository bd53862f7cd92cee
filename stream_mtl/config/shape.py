"""Which keys a configuration may hold, read from its sections."""

import types
from collections.abc import Iterable, Mapping
from typing import Annotated, Any, Union, get_args, get_origin

from pydantic import BaseModel, SecretStr
from pydantic.fields import FieldInfo

from stream_mtl.config.problems import Path
from stream_mtl.config.sections import Config


def fields_of(section: type[BaseModel]) -> dict[str, FieldInfo]:
    """Return the section's fields by the names that a user writes."""
    return {field.alias or name: field for name, field in section.model_fields.items()}


def sections_within(section: type[BaseModel]) -> list[type[BaseModel]]:
    """Return the section and all sections that it holds, at whatever depth."""
    found = [section]
    for field in section.model_fields.values():
        kinds = _alternatives(field.annotation)
        kinds += [inner for kind in kinds if _is_open(kind) for inner in _open_kinds(kind)]
        found += [inner for kind in kinds if _is_section(kind) for inner in sections_within(kind)]
    return found


def known_keys(path: Path) -> dict[str, FieldInfo] | None:
    """Return the keys of the table at `path`; None where any key may stand, or where no table is."""
    sections = [kind for kind in _kinds_at(path) if _is_section(kind)]
    found = {key: field for section in sections for key, field in fields_of(section).items()}
    return found if sections else None


def field_at(path: Path) -> FieldInfo | None:
    """Return what is known of the value at `path`; None for sections by name and for what is not allowed."""
    return (known_keys(path[:-1]) or {}).get(path[-1]) if path else None


def is_leaf(path: Path) -> bool:
    """Return whether a value, not a table, stands at `path`."""
    kinds = _kinds_at(path)
    return bool(kinds) and not any(_is_section(kind) or _is_open(kind) for kind in kinds)


def holds_sections(path: Path) -> bool:
    """Return whether the table at `path` holds sections under names that the user chooses."""
    return any(_is_open(kind) and any(map(_is_section, _open_kinds(kind))) for kind in _kinds_at(path))


def is_allowed(path: Path) -> bool:
    """Return whether anything may stand at `path`."""
    return bool(_kinds_at(path))


def is_secret(path: Path) -> bool:
    """Return whether a secret itself stands at `path`, not the file that holds one."""
    return SecretStr in _kinds_at(path)


def locate(loc: Iterable[int | str]) -> tuple[Path, list[str]]:
    """Return the path that a user wrote for a pydantic location, and the keys that may stand at its end.

    A location also holds list positions and, where a section is one of several, which one was taken.
    """
    path: Path = ()
    kinds: list[Any] = [Config]
    keys: list[str] = []
    for part in loc:
        taken = [kind for kind in kinds if len(kinds) > 1 and _is_section(kind) and _tag(kind) == part]
        if taken:
            kinds = taken
        elif isinstance(part, str) and part != "[key]":
            keys = [key for kind in kinds if _is_section(kind) for key in fields_of(kind)]
            kinds = [inner for kind in kinds for inner in _inside(kind, part)]
            path += (part,)
    return path, keys


def example_of(field: FieldInfo | None) -> Any:
    """Return an example of a value."""
    return field.examples[0] if field is not None and field.examples else None


def _tag(section: type[BaseModel]) -> Any:
    return get_args(section.model_fields["type"].annotation)[0]


def _kinds_at(path: Path) -> list[Any]:
    kinds: list[Any] = [Config]
    for key in path:
        kinds = [inner for kind in kinds for inner in _inside(kind, key)]
    return kinds


def _inside(kind: Any, key: str) -> list[Any]:
    if _is_section(kind):
        field = fields_of(kind).get(key)
        return _alternatives(field.annotation) if field is not None else []
    return _open_kinds(kind) if _is_open(kind) else []


def _open_kinds(kind: Any) -> list[Any]:
    return _alternatives(get_args(kind)[1])


def _alternatives(kind: Any) -> list[Any]:
    if get_origin(kind) is Annotated:
        return _alternatives(get_args(kind)[0])
    if get_origin(kind) in (Union, types.UnionType):
        return [inner for part in get_args(kind) for inner in _alternatives(part) if inner is not type(None)]
    return [kind]


def _is_section(kind: Any) -> bool:
    return isinstance(kind, type) and issubclass(kind, BaseModel)


def _is_open(kind: Any) -> bool:
    return get_origin(kind) in (dict, Mapping)

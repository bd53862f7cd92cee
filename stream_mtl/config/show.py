"""A configuration as text: TOML with or without origins, JSON, and the JSON Schema of all configurations."""

import json
import re
from typing import Any

from stream_mtl.config.load import Loaded
from stream_mtl.config.origin import leaves
from stream_mtl.config.problems import Path, dotted
from stream_mtl.config.sections import Config
from stream_mtl.config.shape import sections_within

_BARE = re.compile(r"[A-Za-z0-9_-]+", re.ASCII)


def as_toml(loaded: Loaded, origins: bool = False) -> str:
    """Return the effective configuration as TOML that loads as the same; origins are comments."""
    blocks = []
    for path, values in _tables(_written(loaded.config)):
        lines = [f"[{'.'.join(map(_key, path))}]"]
        for key, value in values.items():
            comment = f"  # {_one_line(str(loaded.document.origin((*path, key))))}" if origins else ""
            lines.append(f"{_key(key)} = {_value(value)}{comment}")
        blocks.append("\n".join(lines))
    return "\n\n".join(blocks) + "\n"


def as_json(loaded: Loaded, origins: bool = False) -> str:
    """Return the effective configuration as JSON; with origins, every value by its path with its origin."""
    written = _written(loaded.config)
    if not origins:
        return json.dumps(written, indent=2, ensure_ascii=False) + "\n"
    listed = {
        dotted(path): {"value": value, "origin": str(loaded.document.origin(path))}
        for path, value in leaves(written)
    }
    return json.dumps(listed, indent=2, ensure_ascii=False) + "\n"


def json_schema() -> str:
    """Return the JSON Schema of a configuration file."""
    schema = {"$schema": "https://json-schema.org/draft/2020-12/schema", **Config.model_json_schema()}
    for section in sections_within(Config):
        properties = (schema if section is Config else schema["$defs"][section.__name__])["properties"]
        # pydantic shows defaults as they are inside (3600000), not as they are written ("1h").
        for key, value in section.model_construct().model_dump(mode="json", by_alias=True).items():
            if properties[key].pop("default", None) is not None:
                properties[key]["default"] = value
    return json.dumps(schema, indent=2, ensure_ascii=False) + "\n"


def _written(config: Config) -> dict[str, Any]:
    """Return the tables with values as a user writes them, secrets masked, without what is not set."""
    return config.model_dump(mode="json", by_alias=True, exclude_none=True)


def _tables(table: dict[str, Any], path: Path = ()) -> list[tuple[Path, dict[str, Any]]]:
    """Return every table that holds values, or nothing at all, each before those inside it."""
    values = {key: value for key, value in table.items() if not isinstance(value, dict)}
    inner = {key: value for key, value in table.items() if isinstance(value, dict)}
    here = [(path, values)] if values else []
    return here + [found for key, value in inner.items() for found in _tables(value, (*path, key))]


def _key(key: str) -> str:
    return key if _BARE.fullmatch(key) else _text(key)


def _value(value: Any) -> str:
    if isinstance(value, str):
        return _text(value)
    if isinstance(value, list):
        return f"[{', '.join(map(_value, value))}]"
    return "true" if value is True else "false" if value is False else repr(value)


def _text(text: str) -> str:
    # JSON's escapes are TOML's, but TOML also wants DEL escaped.
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007F")


def _one_line(text: str) -> str:
    return "".join(letter if letter.isprintable() else "?" for letter in text)

"""Schemas that a registry once gave, one file an id: what an id means never changes, so they outlive its failures."""

import hashlib
from pathlib import Path

import msgspec
import structlog

from stream_mtl.durable import replace_file


class Kept(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One file: a schema, with all that says whether it is the one that is looked for."""

    id: int
    registry: str
    schema: str
    sha256: str  # of the schema


class SchemaCache:
    """A folder of schemas. It is a convenience: one that cannot be read or written is said and done without.

    Files of a registry at another address are not taken for ours. Several processes may share a folder.
    """

    def __init__(self, folder: Path, registry: str) -> None:
        self._folder, self._registry = folder, registry

    def read(self, number: int) -> str | None:
        """Return the schema of an id, or None if it is not here whole."""
        path = self._path(number)
        try:
            kept = msgspec.json.decode(path.read_bytes(), type=Kept)
        except FileNotFoundError:
            return None
        except (OSError, msgspec.DecodeError, UnicodeDecodeError) as error:
            _warn("schema_cache_unreadable", path, str(error))
            return None
        if kept.registry != self._registry:
            return None
        if kept.id != number or kept.sha256 != _hash(kept.schema):
            _warn("schema_cache_unreadable", path, "its checksum or id is another")
            return None
        return kept.schema

    def write(self, number: int, schema: str) -> None:
        """Keep the schema of an id."""
        path = self._path(number)
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            replace_file(
                path, msgspec.json.encode(Kept(number, self._registry, schema, _hash(schema))) + b"\n"
            )
        except OSError as error:
            _warn("schema_cache_unwritable", path, str(error))

    def _path(self, number: int) -> Path:
        return self._folder / f"{number}.json"


def _hash(schema: str) -> str:
    return hashlib.sha256(schema.encode()).hexdigest()


def _warn(event: str, path: Path, detail: str) -> None:
    structlog.get_logger().warning(event, path=str(path), detail=detail)

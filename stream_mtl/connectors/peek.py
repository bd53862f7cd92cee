"""Looks into files before they are read as a source: which schema they carry."""

from pathlib import Path

from stream_mtl.connectors.containers import parse_header
from stream_mtl.connectors.folders import encoding, listings
from stream_mtl.errors import ConfigError

_HEAD = 1 << 20  # bytes: a header longer than this is not looked at


def first_schema(pattern: str) -> bytes | None:
    """Return the writer schema of the first Avro container that a files: pattern finds, None if there is none."""
    try:
        found = listings(pattern, live=True)
    except ConfigError:
        return None
    for listing in found.values():
        for path in listing():
            if encoding(path) == "avro-container":
                with path.open("rb") as file:
                    header = parse_header(file.read(_HEAD))
                return header.format.schema if header is not None else None
    return None


def first_file(pattern: str) -> Path | None:
    """Return the first file that a files: pattern finds, None if there is none."""
    try:
        found = listings(pattern, live=True)
    except ConfigError:
        return None
    return next((path for listing in found.values() for path in listing()), None)

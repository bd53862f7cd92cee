"""Which files of a folder, or of a glob, make which partition's log, and in what order."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final, TypeAlias

from stream_mtl.connectors.base import Encoding
from stream_mtl.errors import ConfigError

Listing: TypeAlias = Callable[[], list[Path]]
"""The files of one partition that are there now, in name order."""

ENCODINGS: Final[Mapping[str, Encoding]] = {
    ".avro": "avro-container",
    ".jsonl": "json",
    ".ndjson": "json",
    ".json": "json",
    ".csv": "csv",
    ".jsonl.gz": "json",
    ".ndjson.gz": "json",
    ".json.gz": "json",
    ".csv.gz": "csv",
}


@dataclass(frozen=True, slots=True)
class FileFormat:
    """What is known of files besides their names: how those are read whose names say nothing, and of CSV more."""

    encoding: Encoding | None = None  # None: only files whose names say it are read
    header: bool = True  # whether the first line of a CSV file is its header


BY_NAME: Final = FileFormat()

_PARTITION = re.compile(r"p?(\d+)")
_WILD = re.compile(r"[*?\[]")


def encoding(path: Path, otherwise: Encoding | None = None) -> Encoding | None:
    """Return how a file of that name is to be read: `otherwise`, where the name says nothing."""
    ending = "".join(path.suffixes[-2:]) if path.suffix == ".gz" else path.suffix
    return ENCODINGS.get(ending.lower(), otherwise)


def listings(pattern: str, live: bool, otherwise: Encoding | None = None) -> dict[int, Listing]:
    """Return how to list each partition's files: of folders named 0, 1, ... or p0, p1, ..., else of 0 alone.

    Hidden files and *.tmp do not exist for us. In a folder, files with an ending that is not known are passed
    over; a glob that matches one is an error; but with `otherwise` they are files like the others. Raises
    ConfigError, also when there is no file and the log is not `live`.
    """
    folder = Path(pattern)
    found = _of_folder(folder, otherwise) if folder.is_dir() else _of_glob(pattern, otherwise)
    if not live and not any(listing() for listing in found.values()):
        raise ConfigError(_nothing(pattern))
    if live and not _fixed(pattern).is_dir():
        raise ConfigError(_nothing(pattern))
    return found


def _of_folder(folder: Path, otherwise: Encoding | None) -> dict[int, Listing]:
    parts: dict[int, Path] = {}
    for path in sorted(folder.iterdir()):
        match = _PARTITION.fullmatch(path.name)
        if match is None or not path.is_dir():
            continue
        number = int(match.group(1))
        if number in parts:
            raise ConfigError(f"{parts[number]} and {path} are both partition {number}; rename one")
        parts[number] = path
    if not parts:
        return {0: _listing(folder, otherwise)}
    if loose := _files(folder, otherwise):
        raise ConfigError(
            f"{loose[0]} lies beside the partition folder {min(parts.values())}; move it into one"
        )
    return {number: _listing(path, otherwise) for number, path in sorted(parts.items())}


def _listing(folder: Path, otherwise: Encoding | None) -> Listing:
    return lambda: _files(folder, otherwise)


def _files(folder: Path, otherwise: Encoding | None) -> list[Path]:
    return sorted(
        path
        for path in folder.iterdir()
        if _visible(path.name) and encoding(path, otherwise) and path.is_file()
    )


def _of_glob(pattern: str, otherwise: Encoding | None) -> dict[int, Listing]:
    base = _fixed(pattern)
    rest = str(Path(pattern).relative_to(base)) if base != Path(pattern) else ""

    def files() -> list[Path]:
        matches = base.glob(rest) if rest else ([base] if base.exists() else [])
        inner = [
            path for path in matches if all(map(_visible, path.relative_to(base).parts)) and path.is_file()
        ]
        for path in inner:
            if encoding(path, otherwise) is None:
                raise ConfigError(
                    f'{path}: the name\'s ending says no format; give the kind one, like format = "csv", '
                    f"or name files by an ending that is known: {', '.join(ENCODINGS)}"
                )
        return sorted(inner, key=lambda path: path.parts)

    return {0: files}


def _visible(name: str) -> bool:
    return not name.startswith(".") and not name.endswith(".tmp")


def _fixed(pattern: str) -> Path:
    """Return the part of a pattern before its first wild card."""
    path = Path(pattern)
    if path.exists():
        return path if path.is_dir() else path.parent
    parts = path.parts
    end = len(parts) - 1 if encoding(path) else len(parts)
    return Path(*parts[: next((i for i, part in enumerate(parts) if _WILD.search(part)), end)])


def _nothing(pattern: str) -> str:
    nearest = Path(pattern).absolute()
    while not nearest.is_dir():
        nearest = nearest.parent
    return f"no file matches {pattern!r}; the nearest folder there is {nearest}"

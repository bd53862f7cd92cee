"""What a live learner did because of the clock: noted before it is done, so that whoever goes that way again does it too."""

import json
import os
from contextlib import suppress
from pathlib import Path
from typing import Any, BinaryIO, Literal, TypeAlias

from stream_mtl.durable import sync_folder
from stream_mtl.errors import Unavailable
from stream_mtl.failpoints import reach

Deed: TypeAlias = Literal["flush", "cut", "end"]
"""A minibatch was ended early; a snapshot was cut; one was cut because the log had come to its end."""


class Notes:
    """What was done after how many rows of the feed, in order: a line of JSON each."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._deeds: dict[int, list[Deed]] = {}
        lines = _read(path)
        self._size = path.stat().st_size if path.is_file() else 0  # of the whole lines
        for line in lines:
            self._deeds.setdefault(line["rows"], []).append(line["did"])
        self._size = path.stat().st_size if path.is_file() else 0  # of what is noted

    def after(self, rows: int) -> list[Deed]:
        """Return what was done after so many rows."""
        return self._deeds.get(rows, [])

    def between(self, low: int, high: int) -> int | None:
        """Return the first number of rows above `low` and below `high` after which something was done."""
        return min((rows for rows in self._deeds if low < rows < high), default=None)

    def note(self, rows: int, deed: Deed) -> None:
        """Make durable that this is done after so many rows. Raises Unavailable."""
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            with self._path.open("a+b") as file:
                self._append(file, json.dumps({"rows": rows, "did": deed}).encode() + b"\n")
            sync_folder(self._path.parent)
        except OSError as error:
            raise Unavailable(
                f"{self._path} cannot be written: {error}; free the disk, then start again"
            ) from error
        self._deeds.setdefault(rows, []).append(deed)

    def _append(self, file: BinaryIO, line: bytes) -> None:
        """Add a line behind the last whole one; if that fails, take back what there is of it."""
        file.truncate(self._size)
        file.write(line)
        try:
            reach("notes.unsynced")
            file.flush()
            os.fsync(file.fileno())
        except OSError:
            with suppress(OSError):
                os.truncate(self._path, self._size)
            raise
        self._size += len(line)


def _read(path: Path) -> list[dict[str, Any]]:
    """Return the lines. A last one that was cut short was not acted on; it is removed."""
    if not path.is_file():
        return []
    text = path.read_text()
    whole = text[: text.rfind("\n") + 1]
    if whole != text:
        os.truncate(path, len(whole.encode()))
    return [json.loads(line) for line in whole.splitlines()]

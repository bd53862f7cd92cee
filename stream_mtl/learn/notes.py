"""What a live learner did because of the clock: noted before it is done, so that whoever goes that way again does it too."""

import json
import os
from contextlib import suppress
from pathlib import Path
from typing import Any, Literal, TypeAlias

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

    def after(self, rows: int) -> list[Deed]:
        """Return what was done after so many rows."""
        return self._deeds.get(rows, [])

    def between(self, low: int, high: int) -> int | None:
        """Return the first number of rows above `low` and below `high` after which something was done."""
        return min((rows for rows in self._deeds if low < rows < high), default=None)

    def note(self, rows: int, deed: Deed) -> None:
        """Make durable that this is done after so many rows. Raises Unavailable: then nothing is noted."""
        line = json.dumps({"rows": rows, "did": deed}).encode() + b"\n"
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            with self._path.open("ab") as file:
                file.truncate(self._size)  # behind the last whole line
                file.write(line)
                reach("notes.unsynced")
                file.flush()
                os.fsync(file.fileno())
            sync_folder(self._path.parent)
        except OSError as error:
            with suppress(OSError):  # now that the file is closed: closing writes what was held
                os.truncate(self._path, self._size)
            raise Unavailable(
                f"{self._path} cannot be written: {error}; free the disk, then start again"
            ) from error
        self._deeds.setdefault(rows, []).append(deed)
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

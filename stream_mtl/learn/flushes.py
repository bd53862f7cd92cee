"""Where a live learner did not wait for its minibatch to fill: noted before it is done, so that a replay does it too."""

import json
import os
from pathlib import Path

from stream_mtl.durable import sync_folder
from stream_mtl.errors import Unavailable


class Flushes:
    """After how many rows of the feed a minibatch was ended early: a line of JSON each."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._rows = _read(path)

    def __contains__(self, rows: int) -> bool:
        return rows in self._rows

    def between(self, low: int, high: int) -> int | None:
        """Return the first noted number of rows that is above `low` and below `high`."""
        return min((rows for rows in self._rows if low < rows < high), default=None)

    def note(self, rows: int) -> None:
        """Make durable that the minibatch ends after so many rows. Raises Unavailable."""
        line = json.dumps({"rows": rows}) + "\n"
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            with self._path.open("a") as file:
                file.write(line)
                file.flush()
                os.fsync(file.fileno())
            sync_folder(self._path.parent)
        except OSError as error:
            raise Unavailable(
                f"{self._path} cannot be written: {error}; free the disk, then start again"
            ) from error
        self._rows.add(rows)


def _read(path: Path) -> set[int]:
    """Return the noted numbers. A last line that was cut short was not acted on; it is removed."""
    if not path.is_file():
        return set()
    text = path.read_text()
    whole = text[: text.rfind("\n") + 1]
    if whole != text:
        os.truncate(path, len(whole.encode()))
    return {int(json.loads(line)["rows"]) for line in whole.splitlines()}

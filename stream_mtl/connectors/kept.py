"""Lines that are kept for a while: a folder that drops its oldest files when it is full, or when they are old."""

from pathlib import Path
from typing import Final

import structlog

from stream_mtl.clock import DAY, Clock, Millis
from stream_mtl.connectors.append import JsonLinesSink
from stream_mtl.connectors.numbered import ROLL, hidden

_FILES: Final = 8
"""What is kept lies in about so many files, so that not much is dropped at once."""


class KeptLines:
    """A JsonLinesSink whose folder holds up to `max_bytes`, of lines up to `keep` old. The newest file always stays."""

    def __init__(self, folder: Path, max_bytes: int, keep: Millis, clock: Clock) -> None:
        """Raises Unavailable."""
        self._folder, self._max_bytes, self._keep, self._clock = folder, max_bytes, keep, clock
        self._sink = JsonLinesSink(folder, min(ROLL, max(max_bytes // _FILES, 1)))
        self._turn = clock() + self._span
        prune(folder, max_bytes, keep, clock())

    @property
    def _span(self) -> Millis:
        """How much time one file may cover."""
        return min(self._keep // _FILES, DAY)

    def add(self, value: bytes, key: bytes | None = None) -> None:
        """Take one JSON value."""
        self._sink.add(value, key)

    def flush(self) -> None:
        """Make what was added durable, and drop what is too much. Raises Unavailable."""
        self._sink.flush()
        now = self._clock()
        if now >= self._turn:
            self._turn = now + self._span
            self._sink.close()  # it goes on in another file
        prune(self._folder, self._max_bytes, self._keep, now)

    def close(self) -> None:
        """Flush, and give the file its name."""
        self._sink.close()


def prune(folder: Path, max_bytes: int, keep: Millis, now: Millis) -> int:
    """Delete the oldest files beyond `max_bytes`, and those last written longer than `keep` ago; return how many."""
    whole, open_ = sorted(folder.glob("[0-9]*.jsonl")), hidden(folder, ".jsonl")
    sizes = {path: path.stat() for path in [*whole, *open_]}
    total = sum(stat.st_size for stat in sizes.values())
    dropped = 0
    for path in whole if open_ else whole[:-1]:
        stat = sizes[path]
        if total <= max_bytes and now - stat.st_mtime * 1_000 <= keep:
            break
        path.unlink(missing_ok=True)
        total -= stat.st_size
        dropped += 1
        structlog.get_logger().warning("dead_letters_dropped", file=str(path), bytes=stat.st_size)
    return dropped

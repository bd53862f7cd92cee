"""Files as a source: the files of a folder, in name order, are one log whose positions are row numbers."""

from collections.abc import Mapping
from pathlib import Path
from typing import Protocol

import numpy as np

from stream_mtl.connectors.base import Positions, Records
from stream_mtl.connectors.blocks import BlockReader
from stream_mtl.connectors.folders import BY_NAME, FileFormat, Listing, encoding, listings
from stream_mtl.connectors.lines import CHUNK, LONGEST, Chunk, LineReader
from stream_mtl.errors import ConfigError, DataError, PositionOutOfRange


class FileSource:
    """Rows of Avro containers, lines of JSON or CSV, plain or gzip (`folders.ENCODINGS`).

    `pattern` is a glob (one partition, 0) or a folder (its folders 0, 1, ... or p0, p1, ... are partitions,
    fixed when the source is opened). With `follow` the log is live: new files may come, after the others in
    name order, and the last file may grow. A position counts the rows of all files before it, so files must
    stay. `format` says how files are read whose names do not say it, and whether CSV files have a header.

    `only` leaves out all partitions but one. Raises ConfigError when nothing matches; DataError, at the poll that
    reaches it, for a file that is not what its name says.
    """

    def __init__(
        self,
        name: str,
        pattern: str | Path,
        *,
        follow: bool = False,
        format: FileFormat = BY_NAME,
        chunk: int = CHUNK,
        longest: int = LONGEST,
        only: int | None = None,
    ) -> None:
        self.name = name
        self._follow = follow
        found = listings(str(pattern), follow, format.encoding)
        if only is not None and only not in found:
            raise ConfigError(f"{name}: has no partition {only}; it has {', '.join(map(str, found))}")
        self._logs = {
            number: _Log(name, number, listing, follow, format, chunk, longest)
            for number, listing in found.items()
            if only is None or number == only
        }
        self._turn = 0

    def partitions(self) -> tuple[int, ...]:
        """Return the partitions that were there when the source was opened."""
        return tuple(self._logs)

    def begin(self) -> Positions:
        """Return 0 for every partition: positions count rows from the first file on."""
        return dict.fromkeys(self._logs, 0)

    def seek(self, positions: Mapping[int, int]) -> None:
        """Continue each named partition at its position: rows are counted on the way, never decoded."""
        for partition, position in positions.items():
            if partition not in self._logs:
                raise PositionOutOfRange(
                    f"{self.name} has no partition {partition}; it has {', '.join(map(str, self._logs))}"
                )
            self._logs[partition].seek(position)

    def poll(self, limit: int, paused: frozenset[int] = frozenset()) -> list[Records]:
        """Return up to `limit` records, the partitions by turns: each poll begins with the next one."""
        numbers = [*self._logs][self._turn :] + [*self._logs][: self._turn]
        self._turn = (self._turn + 1) % len(self._logs)
        out: list[Records] = []
        for number in numbers:
            if number in paused:
                continue
            while limit > 0 and (records := self._take(number, limit, bool(out))) is not None:
                out.append(records)
                limit -= len(records)
        return out

    def ended(self) -> bool:
        """Return whether every partition was read to its end, and none is live."""
        return not self._follow and all(log.ended for log in self._logs.values())

    def progress(self) -> tuple[int, int]:
        """Return how many bytes of the files were read, and how many there are."""
        parts = [log.progress() for log in self._logs.values()]
        return sum(read for read, _ in parts), sum(size for _, size in parts)

    def close(self) -> None:
        """Close the files."""
        for log in self._logs.values():
            log.close()

    def _take(self, number: int, limit: int, something: bool) -> Records | None:
        try:
            return self._logs[number].take(limit)
        except DataError:
            if something:  # the log tells it again at the next poll; what was read before it must not be lost
                return None
            raise


class _Reader(Protocol):
    rows: int

    @property
    def offset(self) -> int: ...

    def read(self, final: bool) -> Chunk | None: ...

    def close(self) -> None: ...


class _Log:
    """One partition: its files, and where reading stands in them."""

    def __init__(
        self,
        source: str,
        partition: int,
        listing: Listing,
        follow: bool,
        format: FileFormat,
        chunk: int,
        longest: int,
    ) -> None:
        self.ended = False
        self._source, self._partition, self._listing, self._follow = source, partition, listing, follow
        self._format = format
        self._sizes = (chunk, longest)
        self._files = listing()
        self._reader: _Reader | None = None
        self._index = 0  # of the file
        self._base = 0  # rows of the files before it
        self._chunk: Chunk | None = None
        self._at = 0  # the first span of the chunk that was not taken
        self._skip = 0  # the rows of that span that were read before
        self._broken: DataError | None = None

    def take(self, limit: int) -> Records | None:
        """Return the next records of one file, or None when there are none now."""
        if not self._ready():
            return None
        chunk, begin = self._chunk, self._at
        assert chunk is not None
        end = self._end(chunk, begin, limit)
        self._at = end
        skip, self._skip = self._skip, 0
        return Records(
            self._source,
            self._partition,
            chunk.format,
            chunk.data,
            chunk.starts[begin:end],
            chunk.ends[begin:end],
            self._base + chunk.rows[begin:end],
            self._base + int(chunk.rows[end] if end < len(chunk.rows) else chunk.next),
            None if chunk.counts is None else chunk.counts[begin:end],
            skip=skip,
        )

    def seek(self, position: int) -> None:
        """Stand before the row of that number."""
        self._rewind()
        while position != 0 and self._ready():
            chunk = self._chunk
            assert chunk is not None
            if 0 <= position < self._base + chunk.next:
                return self._enter(chunk, position - self._base)
            self._at = len(chunk.rows)
        rows = self._base + (self._reader.rows if self._reader is not None else 0)
        if not 0 <= position <= rows:
            raise PositionOutOfRange(
                f"{self._source}, partition {self._partition}: holds positions 0 to {rows}, "
                f"asked for {position}; were files removed, or is this another folder than before?"
            )
        return None

    def progress(self) -> tuple[int, int]:
        """Return how many bytes were read, and how many there are."""
        sizes = [path.stat().st_size if path.exists() else 0 for path in self._files]
        read = sum(sizes[: self._index]) + (self._reader.offset if self._reader is not None else 0)
        return read, sum(sizes)

    def close(self) -> None:
        """Close the file that is open."""
        if self._reader is not None:
            self._reader.close()
        self._reader, self._chunk = None, None

    def _rewind(self) -> None:
        self.close()
        self.ended, self._broken = False, None
        self._index, self._base, self._at, self._skip = 0, 0, 0, 0

    @staticmethod
    def _end(chunk: Chunk, begin: int, limit: int) -> int:
        if chunk.counts is None:
            return min(begin + limit, len(chunk.starts))
        reach = np.cumsum(chunk.counts[begin:])
        return min(begin + int(np.searchsorted(reach, limit)) + 1, len(chunk.starts))

    def _enter(self, chunk: Chunk, row: int) -> None:
        if chunk.counts is None:
            self._at = int(np.searchsorted(chunk.rows, row))
            return
        self._at = int(np.searchsorted(chunk.rows, row, side="right")) - 1
        self._skip = row - int(chunk.rows[self._at])

    def _ready(self) -> bool:
        """Return whether the chunk has spans that were not taken, reading on if it has none."""
        if self._broken is not None:
            raise self._broken
        try:
            while self._chunk is None or self._at == len(self._chunk.starts):
                if not self._advance():
                    return False
        except DataError as error:
            self._broken = error
            self.close()
            raise
        return True

    def _advance(self) -> bool:
        if self._reader is None:
            if self._index == len(self._files) and not self._more():
                self.ended = not self._follow
                return False
            self._reader = self._open(self._files[self._index])
        # Whether a file is whole is asked before it is read to its end, for it may grow in between.
        final = not self._follow or self._index + 1 < len(self._files) or self._more()
        chunk = self._reader.read(final)
        if chunk is not None:
            self._chunk, self._at = chunk, 0
            return True
        if final:
            self._base += self._reader.rows
            self._index += 1
            self.close()
        return final

    def _open(self, path: Path) -> _Reader:
        kind = encoding(path, self._format.encoding)
        if kind == "json" or kind == "csv":
            return LineReader(path, kind, *self._sizes, self._format.header)
        return BlockReader(path, *self._sizes)

    def _more(self) -> bool:
        """Return whether files have come after the known ones. Raises DataError if they came elsewhere."""
        if not self._follow:
            return False
        files, known = self._listing(), len(self._files)
        if files[:known] != self._files:
            raise DataError(_moved(self._files, files))
        self._files = files
        return len(files) > known


def _moved(known: list[Path], found: list[Path]) -> str:
    gone = [path for path in known if path not in found]
    if gone:
        return f"{gone[0]}: has gone; positions count the rows of every file, so keep them"
    early = next(path for path in found if path not in known)
    return f"{early}: came after {known[-1]} but sorts before it; name new files so that they sort last"

"""Text files as a log: chunks of whole lines, and the row number of every line."""

import gzip
import io
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

import numpy as np
import numpy.typing as npt

from stream_mtl.connectors.base import Format
from stream_mtl.errors import DataError

Bytes = npt.NDArray[np.uint8]
Numbers = npt.NDArray[np.int64]

CHUNK: Final = 4 << 20  # bytes read at a time
LONGEST: Final = 64 << 20  # bytes of one line or one container block: more is no record but a mistake

_NEWLINE, _RETURN = 10, 13
_BOM = b"\xef\xbb\xbf"
_GZIP = b"\x1f\x8b"


@dataclass(frozen=True, slots=True)
class Chunk:
    """Spans of one file, numbered by its rows: `next` is the row after the last (gaps are legal)."""

    format: Format
    data: Bytes  # (bytes,)
    starts: Numbers  # (n,)
    ends: Numbers  # (n,)
    rows: Numbers  # (n,) the file's row number at which each span begins
    next: int
    counts: Numbers | None = None  # (n,) rows in each span, None: one each


class LineReader:
    """The lines of one text file, plain or gzip. A blank line is a row without a record: a gap.

    A CSV file's first line is its header; it goes into the format and is no row. Without `header`, all are rows.
    """

    def __init__(
        self,
        path: Path,
        encoding: Literal["json", "csv"],
        chunk: int = CHUNK,
        longest: int = LONGEST,
        header: bool = True,
    ) -> None:
        self.rows = 0  # read so far
        self._path, self._chunk, self._longest = path, chunk, longest
        self._format = Format(encoding)
        self._awaits_header = header and encoding == "csv"
        self._carry = np.empty(0, np.uint8)
        self._fresh = True
        self._raw, self._file = open_text(path)

    def read(self, final: bool) -> Chunk | None:
        """Return the next lines, or None when there are none now.

        A last line without its newline is a record only when the file is `final`. Raises DataError.
        """
        while True:
            data, more = self._fill()
            if not more and (not final or not len(data)):
                self._carry = data
                return None
            chunk = self._cut(data if more else np.append(data, np.uint8(_NEWLINE)))
            if chunk is not None and len(chunk.starts):
                return chunk

    @property
    def offset(self) -> int:
        """How many bytes of the file, packed as it may be, were read."""
        return self._raw.tell()

    def close(self) -> None:
        """Close the file."""
        self._file.close()
        self._raw.close()

    def _fill(self) -> tuple[Bytes, bool]:
        held = len(self._carry)
        data = np.empty(held + self._chunk, np.uint8)
        data[:held] = self._carry
        self._carry = data[:0]
        with readable(self._path):
            got = self._file.readinto(data.data[held:])
        data = data[: held + got]
        if self._fresh and len(data) >= len(_BOM):
            data = data[len(_BOM) :] if data[: len(_BOM)].tobytes() == _BOM else data
            self._fresh = False
        return data, got > 0

    def _cut(self, data: Bytes) -> Chunk | None:
        breaks = np.flatnonzero(data == _NEWLINE)
        whole = int(breaks[-1]) + 1 if len(breaks) else 0
        self._carry = data[whole:].copy()
        if len(self._carry) > self._longest:
            raise DataError(
                f"{self._path}: a line after row {self.rows} is longer than {self._longest} bytes"
            )
        if not whole:
            return None
        self._fresh = False
        starts = np.concatenate([[0], breaks[:-1] + 1])
        ends = breaks - (data[np.maximum(breaks - 1, 0)] == _RETURN)
        if self._awaits_header:
            self._format = Format("csv", self._header(data[starts[0] : ends[0]].tobytes()))
            self._awaits_header = False
            starts, ends = starts[1:], ends[1:]
        rows = self.rows + np.arange(len(starts))
        self.rows += len(starts)
        full = ends > starts
        return Chunk(self._format, data[:whole], starts[full], ends[full], rows[full], self.rows)

    def _header(self, line: bytes) -> bytes:
        if not line.strip():
            raise DataError(f"{self._path}: the first line is blank; a CSV file begins with its header")
        return line


def open_text(path: Path) -> tuple[io.FileIO, gzip.GzipFile | io.FileIO]:
    """Open a text file: its bytes, and the same unpacked if its name ends in .gz. Raises DataError."""
    with readable(path):
        raw = io.FileIO(path)
        if path.suffix != ".gz":
            return raw, raw
        if raw.read(2) != _GZIP:
            raw.close()
            raise DataError(f"{path}: is no gzip file, though its name says so")
        raw.seek(0)
        return raw, gzip.GzipFile(fileobj=raw)


@contextmanager
def readable(path: Path) -> Iterator[None]:
    """Turn what goes wrong with a file's bytes into a DataError that names the file."""
    try:
        yield
    except FileNotFoundError as error:
        raise DataError(f"{path}: has gone; positions count the rows of every file, so keep them") from error
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(f"{path}: cannot be read: {error}") from error

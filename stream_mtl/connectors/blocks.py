"""Container files as a log: chunks of whole blocks, never decoded, and the row number of each."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from stream_mtl.connectors.containers import DamageError, Header, parse_blocks, parse_header
from stream_mtl.connectors.lines import CHUNK, LONGEST, Chunk, readable
from stream_mtl.errors import DataError


class BlockReader:
    """The blocks of one container file: spans of compressed rows, with their counts."""

    def __init__(self, path: Path, chunk: int = CHUNK, longest: int = LONGEST) -> None:
        self.rows = 0  # in the blocks read so far
        self._path, self._chunk, self._longest = path, chunk, longest
        self._header: Header | None = None
        self._carry = np.empty(0, np.uint8)
        self._byte = 0  # of the file, at which the carry begins
        self._wanted = 0  # bytes that the block in the carry needs
        with readable(path):
            self._file = path.open("rb", buffering=0)

    def read(self, final: bool) -> Chunk | None:
        """Return the next whole blocks, or None when there are none now.

        Raises DataError for a file that is no container, is damaged, or (when `final`) ends inside a block.
        """
        while True:
            more = self._fill()
            if self._header is not None or self._open():
                chunk = self._blocks()
                if len(chunk.starts):
                    return chunk
            if not more:
                if final and (len(self._carry) or self._header is None):
                    raise self._short()
                return None

    @property
    def offset(self) -> int:
        """How many bytes of the file were read."""
        return self._file.tell()

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def _fill(self) -> bool:
        held = len(self._carry)
        data = np.empty(max(held + self._chunk, self._wanted), np.uint8)
        data[:held] = self._carry
        with readable(self._path):
            got = self._file.readinto(data.data[held:]) or 0
        self._carry = data[: held + got]
        return got > 0

    def _open(self) -> bool:
        with self._named():
            self._header = parse_header(self._carry.data)
            if self._header is None:
                if len(self._carry) > self._longest:
                    raise DamageError(f"has a header of more than {self._longest} bytes", 0)
                return False
        self._carry = self._carry[self._header.size :]
        self._byte = self._header.size
        return True

    def _blocks(self) -> Chunk:
        assert self._header is not None
        data = self._carry
        blocks = parse_blocks(data.data, self._header, self._longest)
        if blocks.damage is not None and not blocks.starts:
            with self._named():
                raise blocks.damage
        self._carry = data[blocks.size :].copy()
        self._byte += blocks.size
        self._wanted = blocks.wanted
        counts = np.array(blocks.counts, np.int64)
        rows = self.rows + np.cumsum(counts) - counts
        self.rows += int(counts.sum())
        starts, ends, full = np.array(blocks.starts, np.int64), np.array(blocks.ends, np.int64), counts > 0
        return Chunk(self._header.format, data, starts[full], ends[full], rows[full], self.rows, counts[full])

    @contextmanager
    def _named(self) -> Iterator[None]:
        try:
            yield
        except DamageError as damage:
            raise DataError(f"{self._path}: {damage} (byte {self._byte + damage.at})") from None

    def _short(self) -> DataError:
        if self._header is None:
            return DataError(f"{self._path}: ends inside its header: it is no whole Avro object container")
        return DataError(
            f"{self._path}: ends inside the block that begins at byte {self._byte}, after {self.rows} rows; "
            "copy the file again, or cut it there"
        )

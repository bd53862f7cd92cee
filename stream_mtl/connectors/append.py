"""Sinks that append to numbered files; a file gets its name when it is whole, so a follower sees no less."""

from contextlib import suppress
from pathlib import Path

from stream_mtl.connectors.containers import block, header, marker, parse_blocks, parse_header
from stream_mtl.connectors.lines import LONGEST
from stream_mtl.connectors.numbered import ROLL, NumberedFiles
from stream_mtl.errors import NotWritten

HOLD = 8 << 20  # bytes held back at most, unless the disk refuses them; then they are flushed


class JsonLinesSink:
    """One line a record, in `folder`/00000000.jsonl and so on; the key is not kept. One writer a folder."""

    def __init__(self, folder: Path, roll: int = ROLL) -> None:
        self._files = NumberedFiles(folder, ".jsonl", roll, b"", whole_lines)
        self._held: list[bytes] = []
        self._size = 0
        self._waits = False  # for a flush: the disk has refused what is held

    def add(self, value: bytes, key: bytes | None = None) -> None:
        """Take one JSON value; line breaks between its tokens become spaces."""
        self._held.append(value.replace(b"\n", b" ").replace(b"\r", b" ") + b"\n")
        self._size += len(value)
        if self._size >= HOLD and not self._waits:
            with suppress(NotWritten):  # `flush` will say so
                self.flush()

    def flush(self) -> None:
        """Make what was added durable. Raises NotWritten; it stays held then, so try again."""
        if self._held:
            self._waits = True
            self._files.append(b"".join(self._held))
            self._held, self._size = [], 0
        self._waits = False

    def close(self) -> None:
        """Flush, and give the file its name."""
        self.flush()
        self._files.close()


class AvroContainerSink:
    """Rows that are encoded already, as containers `folder`/00000000.avro and so on. One writer a folder.

    Blocks hold about `fill` bytes of rows, fewer before a flush. Raises ConfigError for a codec other than
    null and deflate.
    """

    def __init__(
        self, folder: Path, schema: bytes, codec: str = "null", roll: int = ROLL, fill: int = 64 << 10
    ) -> None:
        self._codec, self._sync, self._fill = codec, marker(schema), fill
        block([], codec, self._sync)
        begin = header(schema, codec, self._sync)
        self._files = NumberedFiles(folder, ".avro", roll, begin, whole_blocks)
        self._rows: list[bytes] = []  # of the block that is being filled
        self._size = 0  # of those rows
        self._blocks: list[bytes] = []
        self._waits = False  # for a flush: the disk has refused what is held

    def add(self, value: bytes, key: bytes | None = None) -> None:
        """Take one row, encoded by the sink's schema and nothing else; the key is not kept."""
        self._rows.append(value)
        self._size += len(value)
        if self._size >= self._fill:
            self._pack()
            if not self._waits and sum(map(len, self._blocks)) >= HOLD:
                with suppress(NotWritten):  # `flush` will say so
                    self.flush()

    def flush(self) -> None:
        """Make what was added durable. Raises NotWritten; it stays held then, so try again."""
        self._pack()
        if self._blocks:
            self._waits = True
            self._files.append(b"".join(self._blocks))
            self._blocks = []
        self._waits = False

    def close(self) -> None:
        """Flush, and give the file its name."""
        self.flush()
        self._files.close()

    def _pack(self) -> None:
        if self._rows:
            self._blocks.append(block(self._rows, self._codec, self._sync))
            self._rows, self._size = [], 0


def whole_lines(data: bytes) -> int:
    """Return how many bytes of `data` are whole lines."""
    return data.rfind(b"\n") + 1


def whole_blocks(data: bytes) -> int:
    """Return how many bytes of a container file are its header and whole blocks."""
    opening = parse_header(data)
    if opening is None:
        return 0
    return opening.size + parse_blocks(data[opening.size :], opening, LONGEST).size

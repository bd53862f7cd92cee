"""What was fetched of one partition and not read yet: chunks, in the order of their positions."""

from collections import deque
from typing import Final

from stream_mtl.connectors.recordbatch import Chunk

CAPACITY: Final = 8 << 20  # bytes from which on no more is fetched


class Backlog:
    """Chunks from `add`, records from `take`."""

    def __init__(self, position: int) -> None:
        """Begin at a position."""
        self.fetched = position  # the position after everything that was added
        self.size = 0  # bytes, about
        self._chunks: deque[Chunk] = deque()

    def __bool__(self) -> bool:
        return bool(self._chunks)

    @property
    def head(self) -> Chunk:
        """The next records, at least one, or what is unreadable in their place. Raises IndexError without any."""
        return self._chunks[0]

    @property
    def full(self) -> bool:
        """Whether enough is here."""
        return self.size >= CAPACITY

    def seek(self, position: int) -> None:
        """Forget everything and go on at a position."""
        self._chunks.clear()
        self.fetched, self.size = position, 0

    def skip(self, position: int) -> None:
        """Take note that there is nothing before that position: markers of transactions, what was compacted away."""
        self.fetched = max(self.fetched, position)

    def add(self, chunk: Chunk) -> None:
        """Add what follows, without what is before the position: a batch comes whole."""
        chunk = chunk.since(self.fetched)
        self.skip(chunk.next)
        if len(chunk) or chunk.unreadable is not None:
            self._chunks.append(chunk)
            self.size += chunk.size

    def take(self, limit: int) -> Chunk | None:
        """Return up to `limit` records that share a buffer, None without any."""
        if not self._chunks:
            return None
        chunk = self._chunks.popleft()
        self.size -= chunk.size
        if len(chunk) <= limit:
            return chunk
        rest = chunk.rows(limit, len(chunk))
        self._chunks.appendleft(rest)
        self.size += rest.size
        return chunk.rows(0, limit)

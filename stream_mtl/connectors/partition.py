"""One partition of a topic as an append-only log of records: what blocks, claims and announcements stand on."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, TypeAlias

from stream_mtl.connectors.headers import Headers
from stream_mtl.errors import PositionOutOfRange

Bytes: TypeAlias = bytes | memoryview


@dataclass(frozen=True, slots=True)
class Entry:
    """One record of a partition."""

    offset: int
    value: bytes
    key: bytes | None = None
    time: int = -1  # ms: when it was appended, where the log knows
    headers: Headers = ()


class PartitionLog(Protocol):
    """Records in the order in which they were appended, by any number of writers; offsets rise and may have gaps."""

    name: str

    def append(self, values: Sequence[Bytes], key: bytes | None = None) -> list[int]:
        """Append records, in this order, and return their offsets once they are durable.

        Others' records may come to lie between them. Raises Unavailable: then any of them may be there or not,
        and may still come.
        """
        ...

    def begin(self) -> int:
        """Return the offset of the oldest record that is kept (or that of the next one, where none is). Raises Unavailable."""
        ...

    def end(self) -> int:
        """Return the offset that the next record will have at least. Raises Unavailable."""
        ...

    def read(self, start: int, size: int = 8 << 20) -> list[Entry]:
        """Return records from offset `start` on, about `size` bytes of them; none when there is no more now.

        Never waits for records to come. Raises PositionOutOfRange where `start` is before the beginning or behind the
        end, Unavailable.
        """
        ...

    def close(self) -> None:
        """Let go of what is held. May be called twice."""
        ...


class MemoryPartitionLog:
    """A partition in a list: for tests."""

    def __init__(self, name: str = "memory/0") -> None:
        self.name = name
        self._entries: list[Entry] = []
        self._begin = 0

    def append(self, values: Sequence[Bytes], key: bytes | None = None) -> list[int]:
        """Append to the list."""
        offsets = list(range(self.end(), self.end() + len(values)))
        self._entries += [
            Entry(offset, bytes(value), key) for offset, value in zip(offsets, values, strict=True)
        ]
        return offsets

    def begin(self) -> int:
        """Return the first offset that was not forgotten."""
        return self._begin

    def end(self) -> int:
        """Return how many records were appended."""
        return self._begin + len(self._entries)

    def read(self, start: int, size: int = 8 << 20) -> list[Entry]:
        """Return records from `start` on, at least one if there is one."""
        if not self._begin <= start <= self.end():
            raise PositionOutOfRange(
                f"{self.name}: holds offsets {self._begin} to {self.end()}, asked for {start}"
            )
        found: list[Entry] = []
        for entry in self._entries[start - self._begin :]:
            found.append(entry)
            size -= len(entry.value)
            if size <= 0:
                break
        return found

    def forget(self, before: int) -> None:
        """Drop the records before that offset, as retention does."""
        before = min(max(before, self._begin), self.end())
        del self._entries[: before - self._begin]
        self._begin = before

    def close(self) -> None:
        """Do nothing: the list stays."""

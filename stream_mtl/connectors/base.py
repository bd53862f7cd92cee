"""The two ports to the outside world: raw records in, bytes out."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, Protocol, TypeAlias

import numpy as np
import numpy.typing as npt

Positions: TypeAlias = dict[int, int]
"""Partition -> position of the NEXT record to read."""

Encoding: TypeAlias = Literal["avro", "avro-container", "confluent-avro", "json", "csv"]
"""How a span of bytes is to be read; `avro-container` spans are whole container blocks of several rows."""


@dataclass(frozen=True, slots=True)
class Format:
    """What a source knows about the encoding of its bytes.

    `schema` is the Avro writer schema (JSON text), or a CSV header line, where the bytes came with one;
    `codec` is the compression of Avro container blocks ("null", "deflate", ...).
    """

    encoding: Encoding
    schema: bytes | None = None
    codec: str = "null"


@dataclass(frozen=True, slots=True)
class Unreadable:
    """Positions whose records a log has but cannot give: a checksum that fails, a codec that is not known."""

    begin: int
    end: int  # exclusive
    reason: str
    value: bytes = b""  # what the log has there, as it is, where it could be got


@dataclass(frozen=True, slots=True)
class Records:
    """Raw records of one partition of one source, in log order: spans in one buffer.

    A span is one record; with encoding `avro-container` a span is one container block that holds
    `counts[i]` rows, and `positions[i]` is the position of its first row.

    Records may also be none, with `unreadable`: that is to be counted and to become a dead letter, and `next`
    leads over it. An empty span is a record without a value (a tombstone of Kafka's).
    """

    source: str
    partition: int
    format: Format
    data: npt.NDArray[np.uint8]  # (bytes,)
    starts: npt.NDArray[np.int64]  # (n,) first byte of each span
    ends: npt.NDArray[np.int64]  # (n,) one past the last byte
    positions: npt.NDArray[np.int64]  # (n,) strictly increasing
    next: int  # the position after the last record of this batch (gaps are legal)
    counts: npt.NDArray[np.int64] | None = None  # (n,) rows in each span, None: one each
    times: npt.NDArray[np.int64] | None = (
        None  # (n,) the broker's own time of each record in ms, where it has one
    )
    skip: int = 0  # leading rows of the first container block that were read before
    unreadable: Unreadable | None = None  # in place of records (n = 0)

    def __len__(self) -> int:
        return int(self.counts.sum()) - self.skip if self.counts is not None else len(self.starts)


class Source(Protocol):
    """Where records come from. One thread owns it; it never decodes."""

    name: str

    def partitions(self) -> tuple[int, ...]:
        """Return the partitions that can be read."""
        ...

    def begin(self) -> Positions:
        """Return the position of the oldest record of each partition."""
        ...

    def seek(self, positions: Mapping[int, int]) -> None:
        """Continue each named partition at its position. Raises PositionOutOfRange if the log does not hold it."""
        ...

    def poll(self, limit: int, paused: frozenset[int] = frozenset()) -> list[Records]:
        """Return up to about `limit` records of the partitions that are not paused; [] when there is nothing now.

        May exceed `limit` by a part of one container block, never by more.
        """
        ...

    def ended(self) -> bool:
        """Return whether no more records will ever come (a replay of files at their end)."""
        ...

    def close(self) -> None:
        """Let go of what is held. May be called twice."""
        ...


class Sink(Protocol):
    """Where bytes go."""

    def add(self, value: bytes, key: bytes | None = None) -> None:
        """Take one record. It may be held back until `flush`."""
        ...

    def flush(self) -> None:
        """Return when everything added is durable. Raises Unavailable if it cannot be."""
        ...

    def close(self) -> None:
        """Flush and let go. May be called twice."""
        ...


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """A record that could not be used, with all that is needed to look at it and to send it again."""

    source: str
    partition: int
    position: int
    reason: str
    value: bytes
    detail: str = ""
    schema_id: int | None = None
    time: int | None = None  # broker time, ms
    whole: int | None = (
        None  # bytes of the record, where `value` is only its beginning: it was too large to be kept
    )

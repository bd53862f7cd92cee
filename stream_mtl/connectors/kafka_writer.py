"""What is written to Kafka, and known to be there: a topic as a sink, one partition as a log."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from stream_mtl.connectors.headers import parse_headers
from stream_mtl.connectors.kafka_reader import Intake, Place
from stream_mtl.connectors.partition import Bytes, Entry
from stream_mtl.connectors.recordbatch import Chunk
from stream_mtl.errors import BlockCorrupt, DataError, PositionOutOfRange, Unavailable
from stream_mtl.failpoints import reach


class Sent(Protocol):
    """A record that is on its way."""

    def succeeded(self) -> bool:
        """Return whether it is durable."""
        ...


class Outbox(Protocol):
    """A producer of one topic."""

    def send(self, value: Bytes, key: bytes | None, partition: int | None = None) -> Any:
        """Send a record and return what will say whether it is there (`Sent`), None where it could not even be sent.

        Raises DataError for a record that is too large, Unavailable where no broker can be reached.
        """
        ...

    def settle(self) -> None:
        """Return when everything sent is durable or has failed."""
        ...

    def refusal(self) -> Exception:
        """Give up on everything that is on its way; return what to raise about it."""
        ...

    def close(self) -> None:
        """Let go. May be called twice."""
        ...


@dataclass(slots=True)
class _Letter:
    value: bytes
    key: bytes | None
    sent: Any = None  # Sent


class KafkaSink:
    """A topic; the key of a record decides its partition, as it does for Java's clients.

    What could not be made durable is held and sent again at the next `flush`. It may then be there twice: a record
    of which no answer came may have arrived.
    """

    def __init__(self, outbox: Outbox) -> None:
        self._outbox = outbox
        self._held: list[_Letter] = []
        self._waits = False  # for a flush: what was sent last has failed

    def add(self, value: bytes, key: bytes | None = None) -> None:
        """Send one record without waiting for it. Raises DataError if it is too large ever to be sent."""
        self._held.append(_Letter(value, key))
        if not self._waits:
            try:
                self._send(self._held[-1])
            except DataError:
                self._held.pop()
                raise
            except Unavailable:
                self._waits = True

    def flush(self) -> None:
        """Return when everything added is durable. Raises Unavailable, and holds what is not."""
        for letter in self._held:
            if letter.sent is None:
                self._send(letter)
        if self._held:
            self._outbox.settle()
        self._held = [letter for letter in self._held if letter.sent is None or not letter.sent.succeeded()]
        self._waits = bool(self._held)
        if self._held:
            for letter in self._held:
                letter.sent = None
            raise self._outbox.refusal()

    def close(self) -> None:
        """Flush and let go. May be called twice."""
        try:
            self.flush()
        finally:
            self._outbox.close()

    def _send(self, letter: _Letter) -> None:
        letter.sent = self._outbox.send(letter.value, letter.key)


class KafkaPartitionLog:
    """One partition. Nothing connects before it is used: a writer that does not read needs no consumer."""

    def __init__(
        self, topic: str, partition: int, outbox: Outbox, intake: "Connecting", patience: int
    ) -> None:
        """Write by an outbox, read by what `intake` connects, and wait `patience` ms for what is there."""
        self.name = f"{topic}/{partition}"
        self._place: Place = topic, partition
        self._outbox, self._connect, self._patience = outbox, intake, patience
        self._intake: Intake | None = None
        self._here = range(0)  # reading that begins at one of these offsets goes on where it stopped

    def append(self, values: Sequence[Bytes], key: bytes | None = None) -> list[int]:
        """Append records, in this order, and return their offsets once all replicas have them."""
        sent: list[Any] = []
        for value in values:
            if sent:
                reach("log.between_parts")
            sent.append(self._outbox.send(value, key, self._place[1]))
        if sent:
            self._outbox.settle()
        if any(one is None or not one.succeeded() for one in sent):
            raise self._outbox.refusal()
        return [one.value.offset for one in sent]

    def begin(self) -> int:
        """Return the offset of the oldest record that the broker keeps."""
        return self._reading().begin([self._place])[self._place]

    def end(self) -> int:
        """Return where the partition ends, or where the first transaction begins that is open."""
        return self._reading().end([self._place])[self._place]

    def read(self, start: int, size: int = 8 << 20) -> list[Entry]:
        """Return records from `start` on, at least one if there is one. Markers of transactions are gaps.

        Raises BlockCorrupt for what the broker has and cannot give.
        """
        if start not in self._here:
            self._seek(start)
        backlog = self._reading().backlogs[self._place]
        found: list[Entry] = []
        while size > 0 and (backlog or (not found and self._await())):
            chunk = backlog.take(_fitting(backlog.head, size))
            assert chunk is not None
            if chunk.unreadable is not None:
                gap = chunk.unreadable
                raise BlockCorrupt(
                    f"{self.name}: offsets {gap.begin} to {gap.end} are not readable: {gap.reason}"
                )
            size -= int((chunk.ends - chunk.starts).sum())
            found += entries_of(chunk)
            self._here = range(found[-1].offset + 1, chunk.next + 1)
        return found

    def close(self) -> None:
        """Let go of producer and consumer. May be called twice."""
        self._outbox.close()
        if self._intake is not None:
            self._intake.close()
        self._intake = None
        self._here = range(0)

    def _reading(self) -> Intake:
        if self._intake is None:
            self._intake = self._connect([self._place])
        return self._intake

    def _seek(self, start: int) -> None:
        begin, end = self.begin(), self.end()
        if not begin <= start <= end:
            raise PositionOutOfRange(f"{self.name}: holds offsets {begin} to {end}, asked for {start}")
        self._reading().seek(self._place, start)
        self._here = range(start, start + 1)

    def _await(self) -> bool:
        """Fetch what is there. Return whether something is; never wait for what is to come."""
        intake, end = self._reading(), self.end()
        backlog = intake.backlogs[self._place]
        if self._here.start > end:
            raise PositionOutOfRange(
                f"{self.name}: ends at offset {end}, though {self._here.start} was reached"
            )
        until = time.monotonic() + self._patience / 1_000
        while not backlog and backlog.fetched < end:
            intake.fetch(_FETCH, frozenset())
            if time.monotonic() > until:
                raise Unavailable(
                    f"{self.name}: offset {backlog.fetched} did not come in {self._patience} ms"
                )
        return bool(backlog)


class Connecting(Protocol):
    """What connects a consumer."""

    def __call__(self, places: Sequence[Place]) -> Intake:
        """Return one that is assigned to places. Raises Unavailable."""
        ...


_FETCH = 100  # ms


def _fitting(chunk: Chunk, size: int) -> int:
    """Return how many records of a chunk are about so many bytes: at least one, and no more than are needed."""
    return int(np.searchsorted(np.cumsum(chunk.ends - chunk.starts), size)) + 1


def entries_of(chunk: Chunk) -> list[Entry]:
    """Return the records of a chunk one by one."""
    data = chunk.data.data
    columns = (
        *(chunk.positions, chunk.starts, chunk.ends, chunk.keys, chunk.key_ends, chunk.times),
        *(chunk.headers, chunk.header_ends),
    )
    return [
        Entry(
            offset,
            bytes(data[start:end]),
            None if key < 0 else bytes(data[key:key_end]),
            moment,
            parse_headers(data, header, header_end),
        )
        for offset, start, end, key, key_end, moment, header, header_end in zip(
            *(c.tolist() for c in columns), strict=True
        )
    ]

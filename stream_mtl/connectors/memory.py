"""A log in memory: what is appended to it can be read from it, in this process only."""

from bisect import bisect_left
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

import numpy as np

from stream_mtl.connectors.base import Format, Positions, Records
from stream_mtl.errors import ConfigError, PositionOutOfRange


@dataclass(slots=True)
class _Partition:
    values: list[bytes] = field(default_factory=list)
    positions: list[int] = field(default_factory=list)
    times: list[int] = field(default_factory=list)  # -1 where the record has none
    begin: int = 0  # the first position that is still held
    end: int = 0  # the position of the next record to be appended
    cursor: int = 0


class MemorySource:
    """Records appended by hand, one span each.

    `append` may leave gaps in the positions, as a compacted topic has them; `forget` drops the oldest
    records, as retention does; `end` says that nothing more will come. Raises ConfigError for containers,
    whose spans are not single records.
    """

    def __init__(self, name: str, format: Format | None = None, partitions: int = 1) -> None:
        self.name = name
        self._format = format or Format("json")
        if self._format.encoding == "avro-container":
            raise ConfigError(f"{name}: a log in memory holds single records, not container blocks")
        self._logs = {number: _Partition() for number in range(partitions)}
        self._turn = 0
        self._ending = False

    def append(
        self, values: Iterable[bytes], partition: int = 0, *, at: int | None = None, time: int | None = None
    ) -> None:
        """Append records, from position `at` on (not before the end), with one broker time for all, in ms."""
        log = self._logs[partition]
        if at is not None and at < log.end:
            raise ValueError(f"position {at} is before the end of the log, {log.end}")
        log.end = log.end if at is None else at
        for value in values:
            log.values.append(value)
            log.positions.append(log.end)
            log.times.append(-1 if time is None else time)
            log.end += 1

    def forget(self, before: int, partition: int = 0) -> None:
        """Drop the records before that position."""
        log = self._logs[partition]
        keep = bisect_left(log.positions, before)
        del log.values[:keep], log.positions[:keep], log.times[:keep]
        log.begin = max(log.begin, min(before, log.end))
        log.cursor = max(log.cursor, log.begin)

    def end(self) -> None:
        """Say that no more records will be appended."""
        self._ending = True

    def partitions(self) -> tuple[int, ...]:
        """Return 0 to the number of partitions, exclusive."""
        return tuple(self._logs)

    def begin(self) -> Positions:
        """Return where each partition begins: after what was forgotten."""
        return {number: log.begin for number, log in self._logs.items()}

    def seek(self, positions: Mapping[int, int]) -> None:
        """Continue each named partition at its position."""
        for partition, position in positions.items():
            log = self._logs.get(partition)
            if log is None or not log.begin <= position <= log.end:
                held = f"holds positions {log.begin} to {log.end}" if log else "does not exist"
                raise PositionOutOfRange(f"{self.name}, partition {partition}: {held}, asked for {position}")
            log.cursor = position

    def poll(self, limit: int, paused: frozenset[int] = frozenset()) -> list[Records]:
        """Return up to `limit` records, the partitions by turns: each poll begins with the next one."""
        numbers = [*self._logs][self._turn :] + [*self._logs][: self._turn]
        self._turn = (self._turn + 1) % len(self._logs)
        out: list[Records] = []
        for number in numbers:
            if limit > 0 and number not in paused and (records := self._take(number, limit)) is not None:
                out.append(records)
                limit -= len(records)
        return out

    def ended(self) -> bool:
        """Return whether `end` was called and everything was read."""
        return self._ending and all(log.cursor == log.end for log in self._logs.values())

    def close(self) -> None:
        """Do nothing: the log stays."""

    def _take(self, number: int, limit: int) -> Records | None:
        log = self._logs[number]
        first = bisect_left(log.positions, log.cursor)
        last = min(first + limit, len(log.values))
        if first == last:
            return None
        values = log.values[first:last]
        lengths = np.array([len(value) for value in values], np.int64)
        ends = np.cumsum(lengths)
        times = np.array(log.times[first:last], np.int64)
        log.cursor = log.positions[last] if last < len(log.positions) else log.end
        return Records(
            self.name,
            number,
            self._format,
            np.frombuffer(b"".join(values), np.uint8),
            ends - lengths,
            ends,
            np.array(log.positions[first:last], np.int64),
            log.cursor,
            times=times if (times >= 0).any() else None,
        )


class MemorySink:
    """Keeps what was flushed, as (key, value) in order, and appends it to a log in memory if given one."""

    def __init__(self, into: MemorySource | None = None, partition: int = 0) -> None:
        self.records: list[tuple[bytes | None, bytes]] = []
        self._into, self._partition = into, partition
        self._held: list[tuple[bytes | None, bytes]] = []

    def add(self, value: bytes, key: bytes | None = None) -> None:
        """Hold one record back until `flush`."""
        self._held.append((key, value))

    def flush(self) -> None:
        """Keep what was held back."""
        held, self._held = self._held, []
        self.records.extend(held)
        if self._into is not None:
            self._into.append((value for _, value in held), self._partition)

    def close(self) -> None:
        """Flush."""
        self.flush()

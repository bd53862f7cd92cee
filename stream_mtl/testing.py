"""Doubles for tests of what stands on a source, a sink or a clock: time, delay, failure and crash by hand."""

from collections.abc import Mapping, Sequence
from typing import Final, TypeAlias

from stream_mtl.clock import Millis
from stream_mtl.connectors.base import Format, Positions, Records, Sink, Source
from stream_mtl.connectors.memory import MemorySource
from stream_mtl.errors import Unavailable


class Crash(BaseException):
    """The process dies here. Not an Exception, so that no handler of errors survives it."""


class Mark:
    """A sign between the records of a script."""

    def __init__(self, name: str) -> None:
        self._name = name

    def __repr__(self) -> str:
        return self._name


END: Final = Mark("END")
"""No record comes after this; a script without it is a live log that is quiet now."""
CRASH: Final = Mark("CRASH")
"""The poll that reaches this raises Crash, once: read again, the script goes on."""
PAUSE: Final = Mark("PAUSE")
"""The poll that reaches this ends here, and if it has nothing, gives nothing."""

Script: TypeAlias = Sequence[bytes | Mark]


class ScriptedSource:
    """A source made of lists: one script per partition, of values and marks: [click, CRASH, conversion, END].

    Marks take no position. Partitions are polled by turns: each poll begins with the next one.
    """

    def __init__(self, name: str, scripts: Script | Sequence[Script], format: Format | None = None) -> None:
        parts: list[Script] = [scripts] if _single(scripts) else list(scripts)  # type: ignore[arg-type,list-item]
        self.name = name
        self._log = MemorySource(name, format, len(parts))
        self._marks: list[list[tuple[int, Mark]]] = []  # per partition: the position before which each stands
        for number, script in enumerate(parts):
            values = [item for item in script if isinstance(item, bytes)]
            self._log.append(values, number)
            self._marks.append(_marks(script))
        self._turn = 0
        self._position = dict.fromkeys(range(len(parts)), 0)
        self._lengths = [sum(isinstance(item, bytes) for item in script) for script in parts]
        if all(any(mark is END for _, mark in marks) for marks in self._marks):
            self._log.end()

    def partitions(self) -> tuple[int, ...]:
        """Return a number for every script."""
        return self._log.partitions()

    def begin(self) -> Positions:
        """Return 0 for every script."""
        return self._log.begin()

    def seek(self, positions: Mapping[int, int]) -> None:
        """Continue each named partition at its position. Marks that were met do not come back."""
        self._log.seek(positions)
        self._position.update(positions)

    def poll(self, limit: int, paused: frozenset[int] = frozenset()) -> list[Records]:
        """Return up to `limit` records, of each partition at most up to its next mark."""
        numbers = self.partitions()[self._turn :] + self.partitions()[: self._turn]
        self._turn = (self._turn + 1) % len(numbers)
        out: list[Records] = []
        for number in numbers:
            if limit > 0 and number not in paused:
                records = self._poll(number, limit)
                limit -= sum(map(len, records))
                out.extend(records)
        return out

    def ended(self) -> bool:
        """Return whether every script has an END and was read."""
        return self._log.ended()

    def close(self) -> None:
        """Do nothing."""

    def _poll(self, number: int, limit: int) -> list[Records]:
        at, marks = self._position[number], self._marks[number]
        if marks and marks[0][0] <= at and marks[0][1] is not END:
            if marks.pop(0)[1] is CRASH:
                raise Crash(f"{self.name}, partition {number}, position {at}")
            return []
        room = min(limit, (marks[0][0] if marks else self._lengths[number]) - at)
        others = frozenset(self.partitions()) - {number}
        records = self._log.poll(room, others) if room > 0 else []
        self._position[number] = records[-1].next if records else at
        return records


class FaultySource:
    """A source that does as another does, except that some polls (counted from 0) raise instead."""

    def __init__(self, source: Source, faults: Mapping[int, BaseException]) -> None:
        self.name = source.name
        self.polls = 0
        self._source, self._faults = source, dict(faults)

    def partitions(self) -> tuple[int, ...]:
        """Return the source's partitions."""
        return self._source.partitions()

    def begin(self) -> Positions:
        """Return where the source begins."""
        return self._source.begin()

    def seek(self, positions: Mapping[int, int]) -> None:
        """Seek in the source."""
        self._source.seek(positions)

    def poll(self, limit: int, paused: frozenset[int] = frozenset()) -> list[Records]:
        """Raise this poll's fault, or else poll the source."""
        self.polls += 1
        if (fault := self._faults.pop(self.polls - 1, None)) is not None:
            raise fault
        return self._source.poll(limit, paused)

    def ended(self) -> bool:
        """Return whether the source has ended."""
        return self._source.ended()

    def close(self) -> None:
        """Close the source."""
        self._source.close()


class FaultySink:
    """A sink that does as another does, except that some flushes (counted from 0) raise Unavailable first."""

    def __init__(self, sink: Sink, faults: frozenset[int]) -> None:
        self.flushes = 0
        self._sink, self._faults = sink, faults

    def add(self, value: bytes, key: bytes | None = None) -> None:
        """Add to the sink."""
        self._sink.add(value, key)

    def flush(self) -> None:
        """Fail, or else flush the sink."""
        self.flushes += 1
        if self.flushes - 1 in self._faults:
            raise Unavailable(f"flush {self.flushes - 1} fails by order of the test")
        self._sink.flush()

    def close(self) -> None:
        """Close the sink."""
        self._sink.close()


class ManualClock:
    """Wall time that moves when it is told to."""

    def __init__(self, now: Millis = 0) -> None:
        self.now = now

    def __call__(self) -> Millis:
        """Return the time it stands at."""
        return self.now

    def advance(self, by: Millis) -> None:
        """Let time pass."""
        self.now += by


def drain(source: Source, limit: int = 1_000) -> list[Records]:
    """Poll until the source has nothing now, or has ended."""
    out: list[Records] = []
    while records := source.poll(limit):
        out.extend(records)
    return out


def values(records: Sequence[Records]) -> list[bytes]:
    """Return the spans of all records as bytes, in order."""
    return [
        batch.data[start:end].tobytes()
        for batch in records
        for start, end in zip(batch.starts.tolist(), batch.ends.tolist(), strict=True)
    ]


def _single(scripts: Script | Sequence[Script]) -> bool:
    return all(isinstance(item, bytes | Mark) for item in scripts)


def _marks(script: Script) -> list[tuple[int, Mark]]:
    marks: list[tuple[int, Mark]] = []
    position = 0
    for item in script:
        if isinstance(item, Mark):
            marks.append((position, item))
        else:
            position += 1
    return marks

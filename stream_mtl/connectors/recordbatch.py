"""Kafka's record batches (format v2) as columns: where keys and values lie, without an object for every record."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import accumulate
from typing import Final

import numpy as np
import numpy.typing as npt

from stream_mtl.connectors.base import Unreadable
from stream_mtl.connectors.headers import pack_headers
from stream_mtl.varint import INT, LONG, Bytes, Ints, Varints, View, read

_PAD: Final = bytes(32)  # what the reading of numbers may look at behind the last record
_LONGEST = 5  # bytes of a record's length


@dataclass(frozen=True, slots=True)
class Batch:
    """One record batch as the broker keeps it, checked and unpacked, its records still in one piece."""

    data: bytes | bytearray | memoryview  # the records
    count: int
    base: int  # the position that the records' deltas are added to
    next: int  # the position after the last record it once had, compacted or not
    time: int  # ms: what the records' deltas are added to, or
    appended: bool = False  # the time of all of them, where the broker sets it


@dataclass(frozen=True, slots=True)
class Chunk:
    """Records of one partition as spans in one buffer; or none, and what could not be read instead of them.

    A null has the start and the end of an empty span, and -1 for its key.
    """

    data: Bytes  # (bytes,)
    starts: Ints  # (n,) of the values
    ends: Ints  # (n,)
    keys: Ints  # (n,) where the keys start, -1 for none
    key_ends: Ints  # (n,)
    headers: Ints  # (n,) where the headers start, with their number
    header_ends: Ints  # (n,)
    positions: Ints  # (n,) strictly increasing
    times: Ints  # (n,) ms, -1 for none
    next: int  # the position after this chunk
    unreadable: Unreadable | None = None

    def __len__(self) -> int:
        return len(self.positions)

    @property
    def size(self) -> int:
        """About how many bytes it holds."""
        return int(self.ends[-1] - self.starts[0]) + 64 * len(self) if len(self) else 64

    def rows(self, begin: int, end: int) -> "Chunk":
        """Return the records `begin` to `end`, which share the buffer."""
        part = slice(begin, end)
        after = int(self.positions[end]) if end < len(self) else self.next
        return Chunk(
            self.data,
            self.starts[part],
            self.ends[part],
            self.keys[part],
            self.key_ends[part],
            self.headers[part],
            self.header_ends[part],
            self.positions[part],
            self.times[part],
            after,
        )

    def since(self, position: int) -> "Chunk":
        """Return what is at that position or behind it."""
        if self.unreadable is not None and self.unreadable.begin < position:
            return replace(
                self, unreadable=replace(self.unreadable, begin=min(position, self.unreadable.end))
            )
        if not len(self) or self.positions[0] >= position:
            return self
        return self.rows(int(np.searchsorted(self.positions, position)), len(self))


def parse(batches: Sequence[Batch | Unreadable]) -> list[Chunk]:
    """Return what batches hold that follow each other: one chunk as far as they can be read.

    A batch that is not what it should be becomes a chunk with `unreadable`, the others stay.
    """
    chunks: list[Chunk] = []
    run: list[Batch] = []
    for batch in batches:
        if isinstance(batch, Batch):
            run.append(batch)
        else:
            chunks += [*_run(run), nothing(batch)]
            run = []
    return chunks + _run(run)


def nothing(unreadable: Unreadable) -> Chunk:
    """Return the chunk that says what could not be read."""
    none = np.empty(0, np.int64)
    return Chunk(
        np.empty(0, np.uint8), none, none, none, none, none, none, none, none, unreadable.end, unreadable
    )


def chunk(
    values: Sequence[bytes | None],
    keys: Sequence[bytes | None],
    positions: Sequence[int],
    times: Sequence[int],
    headers: Sequence[Sequence[tuple[str, bytes | None]]] | None = None,
) -> Chunk:
    """Return a chunk of single records: what is read without knowing of batches."""
    packed = map(pack_headers, headers or [()] * len(values))
    spans = [part or b"" for three in zip(keys, values, packed, strict=True) for part in three]
    ends = np.fromiter(accumulate(map(len, spans)), np.int64, len(spans))
    starts = ends - np.fromiter(map(len, spans), np.int64, len(spans))
    absent = np.fromiter((key is None for key in keys), np.bool_, len(keys))
    return Chunk(
        np.frombuffer(b"".join(spans), np.uint8),
        starts[1::3],
        ends[1::3],
        np.where(absent, -1, starts[::3]),
        np.where(absent, -1, ends[::3]),
        starts[2::3],
        ends[2::3],
        np.array(positions, np.int64),
        np.array(times, np.int64),
        positions[-1] + 1,
    )


def _run(batches: Sequence[Batch]) -> list[Chunk]:
    if not batches:
        return []
    try:
        return [_columns(batches)]
    except _Corrupt as error:
        if len(batches) > 1:  # find the one that is
            return [chunk for batch in batches for chunk in _run([batch])]
        batch = batches[0]
        return [nothing(Unreadable(batch.base, batch.next, str(error), bytes(batch.data)))]


def _columns(batches: Sequence[Batch]) -> Chunk:
    raw = b"".join([*(batch.data for batch in batches), _PAD])
    begins, ends = _extents(raw, batches)
    view = View(np.frombuffer(raw, np.uint8))
    length = read(view, begins, 0, INT)
    at = begins + _size(length) + 1  # one byte of attributes
    time = read(view, at, 0, LONG)
    at += _size(time)
    delta = read(view, at, 0, INT)
    at += _size(delta)
    keys, key_ends, at = _bytes(view, at, ends)
    absent = keys == key_ends
    if absent.any():
        absent[absent] = view.raw[keys[absent] - 1] == _NULL
        keys, key_ends = np.where(absent, -1, keys), np.where(absent, -1, key_ends)
    starts, stops, at = _bytes(view, at, ends)
    if (at >= ends).any():  # the number of headers must follow
        raise _Corrupt("a record is longer than it says")
    counts = [batch.count for batch in batches]
    base, after, time_base, appended = (
        np.repeat(np.array(column, np.int64), counts)
        for column in zip(*((b.base, b.next, b.time, b.appended) for b in batches), strict=True)
    )
    positions = base + delta.values()
    if ((positions < base) | (positions >= after)).any() or (np.diff(positions) <= 0).any():
        raise _Corrupt("the positions of records are not in order")
    times = time_base + np.where(appended, 0, time.values())
    return Chunk(view.raw, starts, stops, keys, key_ends, at, ends, positions, times, batches[-1].next)


_NULL = 1  # the length -1, zigzag


class _Corrupt(Exception):
    """The records of a batch are not what they should be."""


def _size(numbers: Varints) -> "npt.NDArray[np.unsignedinteger] | int":
    if numbers.bad is not None:
        raise _Corrupt("a number is too long")
    return numbers.size


def _bytes(view: View, at: Ints, limits: Ints) -> tuple[Ints, Ints, Ints]:
    """Return where bytes start and end whose lengths stand at the cursors, and the cursors behind them."""
    length = read(view, at, 0, INT)
    starts = at + _size(length)
    ends = starts + np.maximum(length.values(), 0)
    if (ends > limits).any():
        raise _Corrupt("a key or a value is longer than its record")
    return starts, ends, ends


def _extents(raw: bytes, batches: Sequence[Batch]) -> tuple[Ints, Ints]:
    """Return where every record begins, its length included, and where it ends."""
    begins: list[int] = []
    ends: list[int] = []
    at = 0
    for batch in batches:
        borders = _borders(raw, at, batch.count)
        at += len(batch.data)
        if borders[-1] != at:
            raise _Corrupt("the records are not as many bytes as the batch says")
        begins += borders[:-1]
        ends += borders[1:]
    return np.array(begins, np.int64), np.array(ends, np.int64)


def _borders(raw: bytes, at: int, count: int) -> list[int]:
    """Return where records begin that follow each other, and where the last one ends."""
    borders = [at]
    add = borders.append
    try:
        for _ in range(count):
            low, high = raw[at], raw[at + 1]
            if low & 1:
                raise _Corrupt("a record has a negative length")
            if low < 128:
                at += 1 + (low >> 1)
            elif high < 128:
                at += 2 + (low >> 1 & 63 | high << 6)
            else:
                at += _long(raw, at)
            add(at)
    except IndexError:
        raise _Corrupt("a record is longer than its batch") from None
    return borders


def _long(raw: bytes, at: int) -> int:
    """Return the size of a record with its length, which takes three bytes or more."""
    number = 0
    for size in range(_LONGEST):
        byte = raw[at + size]
        number |= (byte & 127) << 7 * size
        if byte < 128:
            return size + 1 + (number >> 1)
    raise _Corrupt("the length of a record is too long")

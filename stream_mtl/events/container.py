"""The rows of Avro container blocks: where each begins and ends, found in many blocks side by side."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, NamedTuple

import numpy as np

from stream_mtl.events.avro import buffer
from stream_mtl.events.schema import Plan
from stream_mtl.events.strict import BadError
from stream_mtl.events.unpack import Unpack, unpacker
from stream_mtl.events.varint import Bytes, Ints
from stream_mtl.events.walk import Walk

LARGEST_BLOCK: Final = 64 << 20  # bytes of a block once unpacked
LARGEST_WHOLE: Final = 512 << 20  # bytes of all blocks of one call

_FEW: Final = 28  # blocks that are walked one by one: numpy's calls would cost more
_GROUP: Final = 16 << 20  # bytes of the blocks that are walked side by side


class Broken(NamedTuple):
    """A block whose rows cannot be found from `row` on: it and those behind it are lost."""

    block: int
    row: int
    reason: str  # one of strict.REASONS


@dataclass(frozen=True, slots=True)
class RowSpans:
    """Rows (n,) of blocks, in order of blocks and rows, as spans of `data`."""

    data: Bytes  # the blocks, unpacked
    starts: Ints
    ends: Ints
    block: Ints  # which block a row is of
    row: Ints  # its number there
    bad: list[Broken]  # at most one a block, in order of blocks


def row_spans(plan: Plan, data: Bytes, starts: Ints, ends: Ints, counts: Ints, codec: str) -> RowSpans:
    """Return where the rows of the blocks data[starts[i]:ends[i]] are, of which block i says to have counts[i].

    Only what is needed for that is looked at; `decode` says which rows are good. Bytes behind a block's last row
    are given to that row, which makes it bad. Raises SchemaError for a codec that is not read here.
    """
    unpack = unpacker(codec)
    data, starts, ends = (
        np.ascontiguousarray(data, np.uint8),
        np.asarray(starts, np.int64),
        np.asarray(ends, np.int64),
    )
    broken: dict[int, Broken] = {}
    if unpack is not None:
        data, starts, ends = _unpacked(unpack, data, starts, ends, broken)
    search = _Search(plan, data, starts, ends, np.asarray(counts, np.int64), broken)
    for group in _groups(search.hopeful(), ends - starts):
        search.go(group)
    return search.spans()


def _unpacked(
    unpack: Unpack, data: Bytes, starts: Ints, ends: Ints, broken: dict[int, Broken]
) -> tuple[Bytes, Ints, Ints]:
    raws, room = [], LARGEST_WHOLE
    for block, (start, end) in enumerate(zip(starts.tolist(), ends.tolist(), strict=True)):
        raw = b""
        try:
            raw = unpack(data[start:end].tobytes(), min(room, LARGEST_BLOCK))
        except BadError as bad:
            broken[block] = Broken(block, 0, bad.reason)
        raws.append(raw)
        room -= len(raw)
    sizes = np.array([len(raw) for raw in raws], np.int64)
    stops = np.cumsum(sizes)
    return np.frombuffer(b"".join(raws), np.uint8), stops - sizes, stops


def _groups(blocks: Ints, sizes: Ints) -> Iterator[Ints]:
    """Cut blocks into groups that are not too many bytes."""
    group = np.cumsum(sizes[blocks]) // _GROUP
    yield from np.split(blocks, np.flatnonzero(np.diff(group)) + 1)


class _Search:
    """Where blocks have rows: `at` is where the next one of each begins, `row` its number."""

    def __init__(
        self, plan: Plan, data: Bytes, starts: Ints, ends: Ints, counts: Ints, broken: dict[int, Broken]
    ) -> None:
        self.plan, self.data, self.starts, self.ends, self.counts = plan, data, starts, ends, counts
        self.at, self.row = starts.copy(), np.zeros(len(starts), np.int64)
        self.broken = broken
        self._found: list[tuple[Ints, Ints, Ints, Ints]] = []  # block, row, start, end

    def hopeful(self) -> Ints:
        """Return the blocks that may have rows; one with a number of rows that cannot be is broken."""
        empty = self.ends <= self.starts
        for which, reason in (
            (self.counts < 0, "bad_length"),
            ((self.counts == 0) & ~empty, "trailing_bytes"),
            ((self.counts > 0) & empty, "truncated"),
        ):
            for block in np.flatnonzero(which).tolist():
                self.broken.setdefault(block, Broken(block, 0, reason))
        hopeful = self.counts > 0
        hopeful[list(self.broken)] = False
        return np.flatnonzero(hopeful)

    def go(self, blocks: Ints) -> None:
        """Find all rows of these blocks."""
        if self.plan.extents is not None and len(blocks) > _FEW:
            blocks = self._side_by_side(blocks)
        for block in blocks.tolist():
            self._alone(block)

    def spans(self) -> RowSpans:
        """Return what was found."""
        parts = zip(*self._found, strict=True) if self._found else [[np.zeros(0, np.int64)]] * 4
        block, row, starts, ends = (np.concatenate(list(part)) for part in parts)
        order = np.lexsort((row, block))
        block, row, starts, ends = block[order], row[order], starts[order], ends[order]
        last = row == self.counts[block] - 1
        ends[last] = self.ends[block[last]]
        return RowSpans(
            self.data, starts, ends, block, row, [self.broken[one] for one in sorted(self.broken)]
        )

    def _side_by_side(self, blocks: Ints) -> Ints:
        """Go over a row of each block at a time, until few of them have more; return these."""
        assert self.plan.extents is not None
        view, at, ends, sink = buffer(self.plan, self.data, self.starts[blocks], self.ends[blocks])
        shift = self.starts[blocks] - at
        while len(blocks) > _FEW:
            walk = Walk(view, sink, at, ends, None)
            walk.run(self.plan.extents)
            alive = walk.finish(exactly=False)
            stops = walk.at + walk.offset
            if walk.failures:
                self._break(blocks, walk)
                blocks, shift, ends, at, stops = (part[alive] for part in (blocks, shift, ends, at, stops))
            self._found.append((blocks, self.row[blocks], at + shift, stops + shift))
            self.at[blocks] = stops + shift
            self.row[blocks] += 1
            more = self.row[blocks] < self.counts[blocks]
            blocks, shift, ends, at = blocks[more], shift[more], ends[more], stops[more]
        return blocks

    def _break(self, blocks: Ints, walk: Walk) -> None:
        for rows, reason, _ in walk.failures:
            for block in blocks[rows].tolist():
                self.broken[block] = Broken(block, int(self.row[block]), reason)

    def _alone(self, block: int) -> None:
        """Go over the rows that are left of one block."""
        begin, row, count = int(self.at[block]), int(self.row[block]), int(self.counts[block])
        raw = self.data[begin : int(self.ends[block])].tobytes()
        skip, borders = self.plan.skip, [0]
        try:
            while row + len(borders) <= count:
                borders.append(skip(raw, borders[-1], len(raw)))
        except BadError as bad:
            self.broken[block] = Broken(block, row + len(borders) - 1, bad.reason)
        stops = begin + np.array(borders)
        some = len(borders) - 1
        self._found.append((np.full(some, block), row + np.arange(some), stops[:-1], stops[1:]))

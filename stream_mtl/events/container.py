"""The rows of Avro container blocks: where each begins and ends, and damage stays in its block."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, NamedTuple

import numpy as np

from stream_mtl.events.schema import Plan
from stream_mtl.events.strict import BadError
from stream_mtl.events.unpack import Unpack, unpacker
from stream_mtl.varint import Bytes, Ints, spread

LARGEST_BLOCK: Final = 64 << 20  # bytes of a block once unpacked
LARGEST_WHOLE: Final = 512 << 20  # bytes of all blocks of one call

_AT_ONCE: Final = 1 << 16  # borders that are numbers of Python's


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
    data = np.ascontiguousarray(data, np.uint8)
    starts, ends, counts = (np.asarray(part, np.int64) for part in (starts, ends, counts))
    broken: dict[int, Broken] = {}
    if unpack is not None:
        data, starts, ends = _unpacked(unpack, data, starts, ends, broken)
    blocks = _hopeful(starts, ends, counts, broken)
    found = list(_find(plan, data, starts, ends, counts, blocks, broken))
    return _spans(data, starts, ends, counts, blocks, found, broken)


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


def _hopeful(starts: Ints, ends: Ints, counts: Ints, broken: dict[int, Broken]) -> Ints:
    """Return the blocks that may have rows; one with a number of rows that cannot be is broken."""
    empty = ends <= starts
    for which, reason in (
        (counts < 0, "bad_length"),
        ((counts == 0) & ~empty, "trailing_bytes"),
        ((counts > 0) & empty, "truncated"),
    ):
        for block in np.flatnonzero(which).tolist():
            broken.setdefault(block, Broken(block, 0, reason))
    hopeful = counts > 0
    hopeful[list(broken)] = False
    return np.flatnonzero(hopeful)


def _find(
    plan: Plan, data: Bytes, starts: Ints, ends: Ints, counts: Ints, blocks: Ints, broken: dict[int, Broken]
) -> Iterator[tuple[Ints, Ints]]:
    """Yield the borders of the rows of blocks, from 0 at the begin of each, and how many borders each block has."""
    borders: list[int] = []
    some: list[int] = []
    parts = (part[blocks].tolist() for part in (starts, ends, counts))
    for block, start, end, count in zip(blocks.tolist(), *parts, strict=True):
        found, reason = plan.skip.borders(data[start:end].tobytes(), count)
        if reason is not None:
            broken[block] = Broken(block, len(found) - 1, reason)
        borders += found
        some.append(len(found))
        if len(borders) >= _AT_ONCE:
            yield np.array(borders), np.array(some)
            borders, some = [], []
    if some:
        yield np.array(borders), np.array(some)


def _spans(
    data: Bytes,
    starts: Ints,
    ends: Ints,
    counts: Ints,
    blocks: Ints,
    found: list[tuple[Ints, Ints]],
    broken: dict[int, Broken],
) -> RowSpans:
    """Return what was found in blocks (n,)."""
    none = np.zeros(0, np.int64)
    borders, some = (np.concatenate([none, *parts]) for parts in zip((none, none), *found, strict=True))
    borders += np.repeat(starts[blocks], some)
    owner, row = spread(some - 1)
    block, behind = blocks[owner], np.cumsum(some)
    stops = np.delete(borders, behind - some)
    last = row == counts[block] - 1
    stops[last] = ends[block[last]]
    bad = [broken[one] for one in sorted(broken)]
    return RowSpans(data, np.delete(borders, behind - 1), stops, block, row, bad)

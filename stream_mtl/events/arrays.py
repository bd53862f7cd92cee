"""The arrays of many rows at once: block by block, and item by item only where an item's length is written in it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np

from stream_mtl.events import strict
from stream_mtl.events.schema import Step
from stream_mtl.events.strict import BadError, Raw
from stream_mtl.varint import INT, LONG, Ints, Mask, read, spread

if TYPE_CHECKING:
    from stream_mtl.events.walk import Walk

FEW: Final = 32
"""So many rows or fewer go one by one: one row of many blocks or texts would cost all of numpy's calls for each."""

_NO_NUMBERS: Ints = np.zeros(0, np.int64)


@dataclass(frozen=True, slots=True)
class Items:
    """The items of all rows, row by row."""

    counts: Ints  # (n,)
    starts: Ints  # (items,)
    lengths: Ints  # (items,), 0 for items of fixed width and numbers


@dataclass(slots=True)
class _Heads:
    """Blocks (k,) of items that begin at `at`."""

    rows: Ints
    at: Ints
    count: Ints
    until: Ints  # where the block says that it ends, -1 where it does not

    def only(self, which: Mask) -> _Heads:
        return _Heads(self.rows[which], self.at[which], self.count[which], self.until[which])


class _Run(NamedTuple):
    """Items that were found in rows (k,), one row's behind the other's."""

    rows: Ints
    first: Ints  # (k,) how many items the row had before
    counts: Ints  # (k,)
    starts: Ints  # (items,)
    lengths: Ints  # (items,)


def walk_array(walk: Walk, step: Step) -> tuple[Ints, Items]:
    """Return where the array of every row ends, and its items. Rows that fail are told to `walk`."""
    arrays = _Arrays(walk, step)
    arrays.run()
    return arrays.at, arrays.items()


class _Arrays:
    def __init__(self, walk: Walk, step: Step) -> None:
        assert step.node.items is not None
        self.walk, self.name, self.node = walk, step.name, step.node.items
        self.at = walk.at + walk.offset
        self._seen = np.zeros(len(self.at), np.int64)
        self._found: list[_Run] = []
        self._wanted = step.cell is not None
        self._place = _placed(strict.reader(self.node, walk.most))

    def run(self) -> None:
        rows = np.arange(len(self.at))
        while len(rows) > FEW:
            rows = self._round(rows)
        for row in rows.tolist():
            self._alone(row)

    def items(self) -> Items:
        """Return the wanted items in order of rows; what a dead row had is among them."""
        if not self._found:
            return Items(self._seen * 0, _NO_NUMBERS, _NO_NUMBERS)
        counts = np.zeros(len(self.at), np.int64)
        if len(self._found) == 1:
            (run,) = self._found
            counts[run.rows] = run.counts
            return Items(counts, run.starts, run.lengths)
        run = _Run(*(np.concatenate(part) for part in zip(*self._found, strict=True)))
        np.add.at(counts, run.rows, run.counts)
        owners, numbers = spread(run.counts)
        before = np.cumsum(counts) - counts
        places = (before[run.rows] + run.first)[owners] + numbers
        ordered = np.empty((2, len(places)), np.int64)
        ordered[:, places] = run.starts, run.lengths
        return Items(counts, ordered[0], ordered[1])

    def _round(self, rows: Ints) -> Ints:
        """Walk over one block of each of these rows; return those that have another."""
        heads = self._heads(rows)
        if not len(heads.rows):
            return heads.rows
        heads = _ITEMS[self.node.kind](self, heads)
        heads = self._drop(heads, (heads.until >= 0) & (heads.until != heads.at), 0, "bad_block")
        self.at[heads.rows] = heads.at
        self._seen[heads.rows] += heads.count
        return heads.rows

    def _heads(self, rows: Ints) -> _Heads:
        """Read the heads of the next blocks; rows whose arrays are over are not among them."""
        at = self.at[rows]
        counts = read(self.walk.view, at, 0, LONG)
        heads = _Heads(rows, at + counts.size, counts.values(), np.full(len(rows), -1))
        if counts.bad is not None:
            heads.at[counts.bad] += LONG - 1  # the bytes that were looked at
            heads = self._drop(heads, counts.bad, 0, "bad_varint")
        if len(heads.count) and heads.count.min() < 0:
            heads = self._sized(heads)
        left = (self.walk.most - self._seen[heads.rows]).view(np.uint64)
        heads = self._drop(heads, heads.count.view(np.uint64) > left, 0, "too_many_items")
        room = np.maximum(self.walk.ends[heads.rows] - heads.at, 0) // self.node.least
        heads = self._drop(heads, heads.count.view(np.uint64) > room.view(np.uint64), _BEYOND, "truncated")
        over = heads.count == 0
        self.at[heads.rows[over]] = heads.at[over]
        return heads.only(~over)

    def _sized(self, heads: _Heads) -> _Heads:
        """Read the sizes that follow negative counts."""
        sized = heads.count < 0
        sizes = read(self.walk.view, np.where(sized, heads.at, self.walk.sink), 0, LONG)
        if sizes.bad is not None:
            heads.at[sizes.bad] += LONG
            heads = self._drop(heads, sizes.bad, 0, "bad_varint")
            return self._sized(heads)
        size = sizes.values()
        at = heads.at + np.where(sized, sizes.size, 0)
        wrong = sized & ((size < 0) | (size > self.walk.ends[heads.rows] - at))
        until = np.where(sized & ~wrong, at + np.where(wrong, 0, size), -1)
        return self._drop(_Heads(heads.rows, at, np.abs(heads.count), until), wrong, 0, "bad_block")

    def _drop(self, heads: _Heads, bad: Mask, ahead: int, reason: str) -> _Heads:
        """Let bad rows (k,) die, having looked at what is before `at` + ahead; return the others."""
        if not bad.any():
            return heads
        rows = heads.rows[bad]
        self.walk.fail(rows, heads.at[bad] + ahead, reason, self.name)
        self.at[rows] = self.walk.sink
        return heads.only(~bad)

    def _keep(self, rows: Ints, first: int, count: Ints, starts: Ints, lengths: Ints | int) -> None:
        """Remember items of rows (k,), the first of each after `first` others of its block."""
        if self._wanted:
            lengths = np.full(len(starts), lengths) if isinstance(lengths, int) else lengths
            self._found.append(_Run(rows, self._seen[rows] + first, count, starts, lengths))

    def _of_width(self, heads: _Heads) -> _Heads:
        """Go over items of one width, all at once."""
        width = self.node.least
        at, heads.at = heads.at, heads.at + heads.count * width
        judged = self.node.kind == "boolean"
        if not self._wanted and not judged:
            return heads
        begins = np.cumsum(heads.count) - heads.count
        starts = np.repeat(at - begins * width, heads.count)
        starts += np.arange(0, len(starts) * width, width)
        if judged:
            return self._booleans(heads, starts)
        self._keep(heads.rows, 0, heads.count, starts, width if self.node.kind == "fixed" else 0)
        return heads

    def _booleans(self, heads: _Heads, starts: Ints) -> _Heads:
        """Let the rows die that have a boolean which is none. No column of them is wanted."""
        owners, _ = spread(heads.count)
        bad = np.zeros(len(heads.rows), bool)
        bad[owners[self.walk.view.raw[starts] > 1]] = True
        return self._drop(heads, bad, 0, "bad_boolean")

    def _numbers(self, heads: _Heads) -> _Heads:
        """Go over numbers: the k-th ends with the k-th byte from the block's begin on that can be a last one."""
        stops = self.walk.view.stops
        first = np.searchsorted(stops, heads.at, side="right")
        there = np.minimum(heads.count, len(stops) - first)  # of more, some are beyond their row
        last = np.cumsum(there)
        ends = np.repeat(first - last + there, there)
        ends += np.arange(len(ends))
        ends = stops[ends]
        starts = np.empty_like(ends)
        starts[1:] = ends[:-1]
        starts[last - there] = heads.at
        heads.at = ends[last - 1]
        longest = INT if self.node.kind in ("int", "enum") else LONG
        fine = self.node.kind != "enum" and int((ends - starts).max(initial=0)) < longest
        if fine and bool((heads.at <= self.walk.ends[heads.rows]).all()):
            self._keep(heads.rows, 0, there, starts, 0)
            return heads
        owners, _ = spread(there)
        bad = self._wrong(heads, owners, starts, ends, longest)
        self._keep(heads.rows[~bad], 0, there[~bad], starts[~bad[owners]], 0)
        return heads.only(~bad)

    def _wrong(self, heads: _Heads, owners: Ints, starts: Ints, ends: Ints, longest: int) -> Mask:
        """Let the rows die that have a number which may not be, or is not all theirs; return them (k,)."""
        limits = self.walk.ends[heads.rows][owners]
        over = ends > limits
        symbols = len(self.node.symbols)
        look = np.flatnonzero((starts < limits) & ((ends - starts >= longest) | (symbols > 0)))
        found = read(self.walk.view, starts[look], 0, longest)
        if found.bad is not None:
            over[look[found.bad]] = True
        bad = over
        if symbols:
            bad = over.copy()
            bad[look[found.values().view(np.uint64) >= symbols]] = True
        return self._first(heads, owners, bad, over, starts + np.minimum(ends - starts, longest))

    def _first(self, heads: _Heads, owners: Ints, bad: Mask, over: Mask, looked: Ints) -> Mask:
        """Let the rows of bad items die for the first of them; return these rows (k,)."""
        items = np.flatnonzero(bad)
        which, first = np.unique(owners[items], return_index=True)
        item = items[first]
        for some, reason in ((over[item], "bad_varint"), (~over[item], "bad_enum")):
            self._die(heads.rows[which[some]], looked[item[some]], reason)
        wrong = np.zeros(len(heads.rows), bool)
        wrong[which] = True
        return wrong

    def _texts(self, heads: _Heads) -> _Heads:
        """Go over texts: the first of every block, then the second of those that have one, and so on."""
        left = np.arange(len(heads.rows))
        alive = np.ones(len(left), bool)
        number = 0
        while len(left) > FEW:
            left = left[self._text(heads, left, number, alive)]
            number += 1
            left = left[heads.count[left] > number]
        for one in left.tolist():
            alive[one] = self._texts_alone(heads, one, number)
        return heads if alive.all() else heads.only(alive)

    def _text(self, heads: _Heads, left: Ints, number: int, alive: Mask) -> Mask:
        """Go over one text of each of these blocks; return which of them are still alive."""
        at, rows = heads.at[left], heads.rows[left]
        sizes = read(self.walk.view, at, 0, LONG)
        length = sizes.values()
        begins = at + sizes.size
        long = sizes.bad if sizes.bad is not None else np.zeros(len(left), bool)
        negative = length < 0
        over = length > self.walk.ends[rows] - begins
        self._die(rows[long], at[long] + LONG, "bad_varint")
        self._die(rows[negative], begins[negative], "bad_length")
        over &= ~long
        self._die(rows[over], begins[over] + _BEYOND, "truncated")
        good: Mask = ~(long | negative | over)
        alive[left[~good]] = False
        starts, lengths = begins[good], length[good]
        heads.at[left[good]] = starts + lengths
        self._keep(rows[good], number, np.ones(len(starts), np.int64), starts, lengths)
        return good

    def _texts_alone(self, heads: _Heads, one: int, number: int) -> bool:
        """Go over the texts of one block from the given one on; return whether it is alive."""
        row, begin, count = int(heads.rows[one]), int(heads.at[one]), int(heads.count[one]) - number
        raw = self._rest(row, begin)
        places, at = [], 0
        try:
            for _ in range(count):
                place, at = self._place(raw, at, len(raw))
                places.append(place)
        except BadError as bad:
            self._refuse(row, bad)
            return False
        self._keep_places(row, begin, number, places)
        heads.at[one] = begin + at
        return True

    def _alone(self, row: int) -> None:
        """Go over the blocks that are left of one row."""
        begin, seen = int(self.at[row]), int(self._seen[row])
        raw = self._rest(row, begin)
        places: list[tuple[int, int]] = []
        try:
            read = strict.repeated(self._place, self.node.least, self.walk.most, seen)
            places, at = read(raw, 0, len(raw))
        except BadError as bad:
            self._refuse(row, bad)
            return
        self._keep_places(row, begin, 0, places)
        self.at[row] = begin + at

    def _rest(self, row: int, begin: int) -> memoryview:
        """Return what is left of a row; of one without an end, the zeros at the sink."""
        return self.walk.view.raw.data[begin : int(self.walk.ends[row])]

    def _keep_places(self, row: int, begin: int, number: int, places: list[tuple[int, int]]) -> None:
        starts, lengths = np.array(places, np.int64).reshape(-1, 2).T
        self._keep(np.array([row]), number, np.array([len(starts)]), begin + starts, lengths)

    def _refuse(self, row: int, bad: BadError) -> None:
        beyond = _BEYOND if bad.reason == "truncated" else 0
        self._die(np.array([row]), np.array([beyond]), bad.reason)

    def _die(self, rows: Ints, stops: Ints, reason: str) -> None:
        if len(rows):
            self.walk.fail(rows, stops, reason, self.name)
            self.at[rows] = self.walk.sink


def _placed(item: strict.Read) -> strict.Read:
    """Return what reads where an item is, and how long if it is a text, and not the item itself."""

    def place(raw: Raw, at: int, end: int) -> tuple[tuple[int, int], int]:
        value, stop = item(raw, at, end)
        size = len(value) if isinstance(value, memoryview) else 0
        return (stop - size if size else at, size), stop

    return place


_BEYOND: Final = 1 << 61
_ITEMS: Final[Mapping[str, Callable[[_Arrays, _Heads], _Heads]]] = {
    "boolean": _Arrays._of_width,
    "float": _Arrays._of_width,
    "double": _Arrays._of_width,
    "fixed": _Arrays._of_width,
    "int": _Arrays._numbers,
    "long": _Arrays._numbers,
    "enum": _Arrays._numbers,
    "bytes": _Arrays._texts,
    "string": _Arrays._texts,
}

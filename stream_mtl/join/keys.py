"""From a key to the latest row that holds it: a table of buckets in which entries die by row number."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from stream_mtl.hashing import Hashes, hash_columns, mix
from stream_mtl.join.rows import Pile, Ring, Rows
from stream_mtl.join.search import ranks, runs, sort_hashes

_SLOTS = 8
_FULL = 0.5  # beyond this share of slots in use the table is laid anew, twice as large as it must be
_EMPTY = 0.08  # the same below this share
_LEAST = 64  # buckets
_HALF = np.uint64(32)
_SPAN = 2**32 - 1  # rows that a table can tell apart
_WORN = 0.15  # beyond this share of buckets that ever overflowed it is laid anew

Bools = npt.NDArray[np.bool_]

HASH_ROWS: Callable[[Sequence[pa.Array]], Hashes] = hash_columns
"""How keys are hashed; tests put a weak hash here."""


class KeyIndex:
    """Maps a 64-bit hash to the latest row of a ring that has it in its column `name`.

    A bucket has eight slots of a 16-bit fingerprint and a row, counted from a base in 32 bits, taken in turn. Nothing is
    deleted: a slot whose row the ring has dropped is free. A full bucket is marked and its entry goes to the next one.
    Buckets lie in the order of the upper ends of their hashes, so that work in order of hashes walks through the table once.
    """

    def __init__(self, ring: Ring, name: str = "hash") -> None:
        self._ring = ring
        self._name = name
        self._lay(_LEAST)

    def lookup(self, hashes: Hashes) -> Rows:
        """Return the latest live row of each hash, or -1."""
        rows, _, _ = self._find(hashes)
        return rows

    def insert(self, hashes: Hashes, rows: Rows, known: Bools | None = None) -> None:
        """Let rows that the ring holds be found; hashes ascend, and of equal ones the last row wins.

        Rows that the ring has dropped are passed over. `known` says which hashes may be in the table already (None: any).
        """
        live = rows >= self._ring.first
        if not live.all():
            hashes, rows, known = hashes[live], rows[live], None if known is None else known[live]
        hashes, rows, known = _last_of_each(hashes, rows, known)
        if not self._fits():
            self._lay_anew()
        self._place(hashes, rows, known)

    def _fits(self) -> bool:
        """Return whether the table is neither too full nor far too empty, and can tell all rows apart."""
        slots, live = self._buckets * _SLOTS, len(self._ring)
        roomy = self._buckets == _LEAST or live > _EMPTY * slots
        spans = self._ring.next - self._base <= _SPAN
        return live <= _FULL * slots and roomy and spans and self._worn <= _WORN * self._buckets

    def _lay(self, buckets: int) -> None:
        self._buckets = buckets
        self._base = self._ring.first - 1  # of which 0, an empty slot, is a row that is gone
        self._prints = np.zeros((buckets, _SLOTS), np.uint16)
        self._rows = np.zeros((buckets, _SLOTS), np.uint32)
        self._heads = np.zeros(buckets, np.uint8)  # the slot to be taken next, its oldest
        self._overflowed = np.zeros(buckets, np.bool_)
        self._worn = 0

    @property
    def nbytes(self) -> int:
        """Bytes that the table takes."""
        return sum(part.nbytes for part in (self._prints, self._rows, self._heads, self._overflowed))

    def rebuild(self) -> None:
        """Lay the table anew from the ring's live rows."""
        hashes = self._ring.range(self._name, self._ring.first, self._ring.next)
        order = sort_hashes(hashes)
        hashes, rows, _ = _last_of_each(hashes[order], order + self._ring.first, None)
        self._lay(self._wanted())
        self._place(hashes, rows, np.zeros(len(rows), np.bool_))

    def _lay_anew(self) -> None:
        """Lay the table anew from itself: its entries lie nearly in order of their hashes already."""
        rows = self._rows[self._rows >= self._oldest()] + np.int64(self._base)
        hashes = self._ring.get(self._name, rows)
        order = sort_hashes(hashes)
        self._lay(self._wanted())
        self._place(hashes[order], rows[order], np.zeros(len(rows), np.bool_))

    def _wanted(self) -> int:
        return max(int(2 * len(self._ring) / (_FULL * _SLOTS)), _LEAST)

    def _oldest(self) -> np.uint32:
        """Return what slots say of the oldest row that is alive; what is less is free."""
        return np.uint32(min(self._ring.first - self._base, _SPAN))

    def _home(self, hashes: Hashes) -> npt.NDArray[np.int64]:
        """Return the bucket of each hash, as far up among all as the hash is among all hashes."""
        return (((hashes >> _HALF) * np.uint64(self._buckets)) >> _HALF).view(np.int64)

    def _find(self, hashes: Hashes) -> tuple[Rows, Rows, Rows]:
        """Return (row or -1, bucket, slot) of each hash."""
        found = np.full(len(hashes), -1)
        buckets = self._home(hashes)
        slots = np.zeros(len(hashes), np.int64)
        prints = hashes.astype(np.uint16)
        open_ = np.arange(len(hashes))
        while len(open_):
            alike = self._prints.take(buckets[open_], axis=0) == prints[open_, None]
            near = np.flatnonzero(alike.view(np.uint64))  # eight answers at once
            if len(near):
                self._confirm(open_[near], alike[near], hashes, buckets, slots, found)
            open_ = open_[(found[open_] < 0) & self._overflowed[buckets[open_]]]
            buckets[open_] = (buckets[open_] + 1) % self._buckets
        return found, buckets, slots

    def _confirm(
        self, near: Rows, alike: Bools, hashes: Hashes, buckets: Rows, slots: Rows, found: Rows
    ) -> None:
        slots_of = self._rows[buckets[near]]
        alike = alike & (slots_of >= self._oldest())
        rows = slots_of + np.int64(self._base)
        safe = np.where(alike, rows, self._ring.first)
        alike &= self._ring.get(self._name, safe) == hashes[near, None]
        hit = alike.any(axis=1)
        slot = alike.argmax(axis=1)
        slots[near[hit]] = slot[hit]
        found[near[hit]] = rows[hit, slot[hit]]

    def _place(self, hashes: Hashes, rows: Rows, known: Bools | None) -> None:
        fresh = np.ones(len(rows), np.bool_)
        maybe = np.arange(len(rows)) if known is None else np.flatnonzero(known)
        if len(maybe):
            found, buckets, slots = self._find(hashes[maybe])
            there = found >= 0
            self._rows[buckets[there], slots[there]] = rows[maybe[there]] - self._base
            fresh[maybe[there]] = False
        hashes, rows = hashes[fresh], rows[fresh]
        buckets = self._home(hashes)
        while len(rows):
            taken = self._fill(hashes, rows, buckets)
            full = buckets[~taken]
            hashes, rows, buckets = hashes[~taken], rows[~taken], (full + 1) % self._buckets
            self._overflowed[full] = True
            if len(full):
                self._worn = int(self._overflowed.sum())
                order = np.argsort(buckets, kind="stable")
                hashes, rows, buckets = hashes[order], rows[order], buckets[order]

    def _fill(self, hashes: Hashes, rows: Rows, buckets: Rows) -> Bools:
        """Put each entry into the next slot of its bucket (buckets ascend), if that is free; return which were."""
        begins = runs(buckets)
        heads = self._heads[buckets]
        slot = heads if begins.all() else heads + ranks(begins)
        place = buckets * _SLOTS + (slot & (_SLOTS - 1))
        fits = (self._rows.ravel()[place] < self._oldest()) & (slot - heads < _SLOTS)
        if not fits.all():
            buckets, slot, place, rows, hashes = (
                buckets[fits],
                slot[fits],
                place[fits],
                rows[fits],
                hashes[fits],
            )
        self._rows.ravel()[place] = (rows - self._base).astype(np.uint32)
        self._prints.ravel()[place] = hashes.astype(np.uint16)
        self._heads[buckets] = (slot + 1) & (_SLOTS - 1)  # of one bucket's entries the last one stands
        return fits


@dataclass(frozen=True, slots=True)
class Claims:
    """What is known of keys about to be inserted."""

    hashes: Hashes  # (n,)
    order: Rows  # (n,) sorts the hashes, stably
    prior: Rows  # (n,) the latest live row of each key, or -1


class Keys:
    """Hashes of keys in which equal hashes mean equal keys, among all rows that are alive.

    64-bit hashes collide, rarely by chance. A key that is found to share its hash with another one is given a
    hash of its own, remembered by its value.
    """

    def __init__(
        self,
        index: KeyIndex,
        pile: Pile,
        names: Sequence[str],
    ) -> None:
        self.index = index
        self._pile = pile
        self._names = list(names)
        self.aliases: dict[tuple[object, ...], int] = {}
        self._shared: set[int] = set()

    def hashes(self, keys: Sequence[pa.Array]) -> Hashes:
        """Hash rows of key columns (in the order of the names)."""
        hashes = HASH_ROWS(keys)
        if self._shared:
            for place in np.flatnonzero(np.isin(hashes, np.array(list(self._shared), np.uint64))):
                hashes[place] = self.aliases.get(_value(keys, int(place)), int(hashes[place]))
        return hashes

    def _tell_apart(self, keys: Sequence[pa.Array], hashes: Hashes, order: Rows) -> bool:
        """Give aliases to rows that share a hash with another key; `order` sorts `hashes`. True if any got one."""
        begins = runs(hashes[order])
        if begins.all():
            return False
        heads = order[np.maximum.accumulate(np.where(begins, np.arange(len(order)), 0))]
        same = np.flatnonzero(~begins)
        differ = ~equal_rows(take_columns(keys, heads[same]), take_columns(keys, order[same]))
        return self._alias(keys, hashes, order[same[differ]])

    def match(self, keys: Sequence[pa.Array], hashes: Hashes) -> Rows:
        """Return the latest live row of each key, or -1."""
        return self._verified(keys, hashes)[0]

    def claim(self, keys: Sequence[pa.Array]) -> "Claims":
        """Look keys up that will be inserted; ones that share a hash with another key get an alias.

        A key that the index holds keeps its hash, so what is held goes before what is new.
        """
        hashes = self.hashes(keys)
        order = sort_hashes(hashes)
        rows, differ = self._verified(keys, hashes, order)
        changed = self._alias(keys, hashes, differ)
        while changed or self._tell_apart(keys, hashes, order):
            order = sort_hashes(hashes)
            changed = False
        return Claims(hashes, order, rows)

    def _verified(
        self, keys: Sequence[pa.Array], hashes: Hashes, order: Rows | None = None
    ) -> tuple[Rows, Rows]:
        if order is None:
            rows = self.index.lookup(hashes)
        else:
            rows = np.empty(len(hashes), np.int64)
            rows[order] = self.index.lookup(hashes[order])
        hits = np.flatnonzero(rows >= 0)
        if len(hits) == 0:
            return rows, hits
        held = self._pile.take(rows[hits], self._names)
        differ = hits[~equal_rows(take_columns(keys, hits), held.columns)]
        rows[differ] = -1
        return rows, differ

    def restore(self, aliases: dict[tuple[object, ...], int], shared: Sequence[int]) -> None:
        """Take back what `aliases` and `shared` were."""
        self.aliases = dict(aliases)
        self._shared = set(shared)

    @property
    def shared(self) -> list[int]:
        """Hashes that several keys have had."""
        return sorted(self._shared)

    def _alias(self, keys: Sequence[pa.Array], hashes: Hashes, places: Rows) -> bool:
        for place in places:
            value = _value(keys, int(place))
            self._shared.add(int(hashes[place]))
            salt = np.array([int(hashes[place]) + len(self.aliases) + 1], np.uint64)
            hashes[place] = self.aliases.setdefault(value, int(mix(mix(salt))[0]))
        return len(places) > 0


def equal_rows(left: Sequence[pa.Array], right: Sequence[pa.Array]) -> Bools:
    """Return which rows are equal in every column; a null equals a null. (n,)"""
    if left and all(a.equals(b) for a, b in zip(left, right, strict=True)):
        return np.ones(len(left[0]), np.bool_)
    same = np.ones(len(left[0]) if left else 0, np.bool_)
    for a, b in zip(left, right, strict=True):
        if pa.types.is_list(a.type):
            same &= np.fromiter(
                (x == y for x, y in zip(a.to_pylist(), b.to_pylist(), strict=True)), np.bool_, len(a)
            )
            continue
        equal = pc.equal(a, b)
        if a.null_count or b.null_count:
            equal = pc.or_kleene(equal.fill_null(False), pc.and_(a.is_null(), b.is_null()))
        same &= equal.to_numpy(zero_copy_only=False)
    return same


def take_columns(columns: Sequence[pa.Array], rows: Rows) -> list[pa.Array]:
    """Gather rows of every column."""
    indices = pa.array(rows)
    return [column.take(indices) for column in columns]


def _value(keys: Sequence[pa.Array], place: int) -> tuple[object, ...]:
    return tuple(column[place].as_py() for column in keys)


def _last_of_each(hashes: Hashes, rows: Rows, known: Bools | None) -> tuple[Hashes, Rows, Bools | None]:
    last = np.ones(len(hashes), np.bool_)
    last[:-1] = hashes[1:] != hashes[:-1]
    if last.all():
        return hashes, rows, known
    return hashes[last], rows[last], None if known is None else known[last]

"""Which exposure and which parent a child belongs to, and what becomes of it (decision 1, section 5)."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from stream_mtl.clock import END, Millis
from stream_mtl.hashing import Hashes
from stream_mtl.join.children import JOINED, ORPHAN, OUTSIDE, WAITING, Children, Ids, Waiters
from stream_mtl.join.exposures import Exposures, Touched
from stream_mtl.join.keys import equal_rows, take_columns
from stream_mtl.join.rows import Rows
from stream_mtl.join.search import Ints, first_after, last_at_or_before
from stream_mtl.join.shape import Shape
from stream_mtl.join.spec import KindSpec

Bools = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Opened:
    """The exposures that a slice opened, sorted by (hash of the key, time), then the same by id.

    `known`: whether an older exposure of the key may be in the index.
    """

    hashes: Hashes
    time: Ints
    number: Ints
    known: Bools
    id_hashes: Hashes
    id_time: Ints
    id_number: Ints
    id_known: Bools


_NONE = (np.zeros(0, np.uint64), np.zeros(0, np.int64), np.zeros(0, np.int64), np.zeros(0, np.bool_))
NOTHING_OPENED = Opened(*_NONE, *_NONE)


@dataclass(slots=True)
class Fates:
    """What is found out about some children: `exposure` and `touched` say where they belong (-1: not known)."""

    state: npt.NDArray[np.int8]  # (n,) WAITING to ORPHAN
    exposure: Ints
    touched: Rows
    parent_time: Ints  # END: no parent found
    time: Ints  # when the event counts: never before its parent
    event: Rows | None = None  # of a retracting kind: the event's row in `Standing`, -1 where it names none

    @classmethod
    def open(cls, waiters: Waiters) -> "Fates":
        """Return the fates of records of which nothing is known but the exposure that some wait in."""
        n = len(waiters)
        state = np.full(n, WAITING, np.int8)
        exposure, touched = waiters.exposure.copy(), waiters.touched.copy()
        return cls(state, exposure, touched, np.full(n, END), waiters.facts.time.copy())


class Belonging:
    """Finds exposures and parents, in one slice of time, for children of every kind."""

    def __init__(
        self, shape: Shape, exposures: Exposures, touched: Touched, ids: dict[str, Ids | None]
    ) -> None:
        self._shape = shape
        self._exposures = exposures
        self._touched = touched
        self._ids = ids

    def fates(self, children: Children, waiters: Waiters, opened: Opened, before: Millis) -> Fates:
        """Judge standing children of one kind, in the slice that ends before `before`."""
        kind = children.kind
        fates = Fates.open(waiters)
        if kind.retracts:
            fates.event = np.full(len(waiters), -1)
        named = np.zeros(len(waiters), np.bool_)
        if kind.parent is not None:
            named = waiters.facts.column(kind.parent).is_valid().to_numpy(zero_copy_only=False)
            self._by_parent(kind, waiters, np.flatnonzero(named), opened, fates, before)
        rest = np.flatnonzero(~named)
        if len(rest):
            self._by_key(kind, waiters, rest, opened, fates)
            self._conclude(kind, waiters.facts.time, rest, fates, before)
        return fates

    def _by_key(self, kind: KindSpec, waiters: Waiters, rows: Rows, opened: Opened, fates: Fates) -> None:
        time = waiters.facts.time
        homeless = rows[fates.exposure[rows] < 0]
        if len(homeless):
            keys = [waiters.facts.take(homeless).column(name) for name in self._shape.chain.key]
            self._find_exposure(kind, keys, homeless, time[homeless], opened, fates)
        at_home = rows[fates.exposure[rows] >= 0]
        in_log = at_home[fates.exposure[at_home] >= self._exposures.ring.first]
        fates.touched[in_log] = self._exposures.ring.get("touched", fates.exposure[in_log])
        fates.touched[at_home] = self._touched.alive(fates.touched[at_home])
        self._find_parent(kind, at_home, time[at_home], fates)

    def _find_exposure(
        self, kind: KindSpec, keys: list[pa.Array], rows: Rows, at: Ints, opened: Opened, fates: Fates
    ) -> None:
        """Set the exposure: the latest of the key at or before `at` that is known, else the first within the skew."""
        hashes = self._exposures.keys.hashes(keys)
        place = last_at_or_before(opened.hashes, opened.time, hashes, at)
        number = np.where(place >= 0, opened.number[place] if len(opened.number) else -1, -1)
        number = self._same_key(keys, number)
        number = np.where(number >= 0, number, self._exposures.keys.match(keys, hashes))
        number = np.where(self._known(number, at), number, -1)
        lost = np.flatnonzero(number < 0)
        if len(lost):
            touched = self._touched.latest(take_columns(keys, lost), hashes[lost], at[lost])
            found = touched >= 0
            number[lost[found]] = self._touched.ring.get("exposure", touched[found])
            fates.touched[rows[lost[found]]] = touched[found]
        if kind.skew:
            lost = np.flatnonzero(number < 0)
            place = first_after(opened.hashes, opened.time, hashes[lost], at[lost])
            ahead = np.where(place >= 0, opened.number[place] if len(opened.number) else -1, -1)
            ahead = self._same_key(take_columns(keys, lost), ahead)
            near = ahead >= 0
            near[near] = self._exposures.ring.get("time", ahead[near]) <= at[lost[near]] + kind.skew
            number[lost[near]] = ahead[near]
        no_key = np.logical_or.reduce([key.is_null().to_numpy(zero_copy_only=False) for key in keys])
        fates.exposure[rows] = np.where(no_key, -1, number)

    def _same_key(self, keys: list[pa.Array], number: Ints) -> Ints:
        """Return the numbers of exposures, -1 where the key is another one with the same hash."""
        hits = np.flatnonzero(number >= 0)
        if len(hits):
            held = self._exposures.pile.take(number[hits], self._shape.chain.key)
            number[hits[~equal_rows(take_columns(keys, hits), held.columns)]] = -1
        return number

    def _known(self, number: Ints, at: Ints) -> Bools:
        """Return which exposures of the log are still known at `at`."""
        ring, remember = self._exposures.ring, self._shape.chain.remember
        safe = np.maximum(number, ring.first)
        end = ring.get("time", safe) + self._shape.life
        touched = ring.get("touched", safe)
        alive = np.flatnonzero((number >= 0) & (touched >= self._touched.ring.first))
        end[alive] = np.maximum(end[alive], self._touched.ring.get("end", touched[alive]))
        return (number >= 0) & (at <= end + remember)

    def _find_parent(self, kind: KindSpec, rows: Rows, at: Ints, fates: Fates) -> None:
        """Set the parent's time: the first kind of `after` that had happened, else the earliest within the skew."""
        best = np.full(len(rows), END)
        soon = np.full(len(rows), END)
        for parent in kind.after:
            if parent == self._shape.chain.root.name:
                happened = self._began(rows, fates)
            else:
                happened = self._touched.first(parent, fates.touched[rows])
            best = np.where((best == END) & (happened <= at), happened, best)
            soon = np.minimum(soon, np.where((happened > at) & (happened <= at + kind.skew), happened, END))
        fates.parent_time[rows] = np.where(best < END, best, soon)

    def _began(self, rows: Rows, fates: Fates) -> Ints:
        began = np.full(len(rows), END)
        touched = fates.touched[rows]
        known = touched >= 0
        began[known] = self._touched.ring.get("time", touched[known])
        in_log = ~known & (fates.exposure[rows] >= self._exposures.ring.first)
        began[in_log] = self._exposures.ring.get("time", fates.exposure[rows[in_log]])
        return began

    def _conclude(self, kind: KindSpec, at: Ints, rows: Rows, fates: Fates, before: Millis) -> None:
        assert kind.within is not None
        parent = fates.parent_time[rows]
        found = parent < END
        delay = np.maximum(at[rows] - np.where(found, parent, 0), 0)
        gone = at[rows] + kind.skew < before
        fates.state[rows] = np.where(
            found, np.where(delay <= kind.within, JOINED, OUTSIDE), np.where(gone, ORPHAN, WAITING)
        )
        fates.time[rows] = np.where(found, np.maximum(at[rows], parent), at[rows])

    def _by_parent(
        self, kind: KindSpec, waiters: Waiters, rows: Rows, opened: Opened, fates: Fates, before: Millis
    ) -> None:
        """Judge the children that name their parent: it must stand, and must itself have joined.

        A record that stood at or before the child is preferred, in the order of `after`; else the earliest.
        """
        at = waiters.facts.time[rows]
        wanted = [waiters.facts.take(rows).column(str(kind.parent))]
        best = _Named.none(len(rows))
        for parent in kind.after:
            if parent == self._shape.chain.root.name:
                found = self._root_named(kind, wanted, at, opened)
            else:
                found = self._child_named(kind, parent, wanted, at)
            better = (best.stood > at) & (found.stood < best.stood)
            best = best.replaced(better, found)
        joined = best.state == JOINED
        fates.exposure[rows[joined]] = best.exposure[joined]
        fates.touched[rows[joined]] = best.touched[joined]
        fates.parent_time[rows[joined]] = best.time[joined]
        if fates.event is not None:
            ids = self._ids[kind.after[0]]
            assert ids is not None
            fates.event[rows[joined]] = ids.ring.get("event", best.row[joined])
        self._conclude(kind, waiters.facts.time, rows, fates, before)
        fates.state[rows[(best.stood < END) & (best.state == WAITING)]] = WAITING

    def _root_named(self, kind: KindSpec, wanted: list[pa.Array], at: Ints, opened: Opened) -> "_Named":
        exposures = self._exposures
        hashes = exposures.ids.hashes(wanted)
        place = last_at_or_before(opened.id_hashes, opened.id_time, hashes, at + kind.skew)
        number = np.where(place >= 0, opened.id_number[place] if len(opened.id_number) else -1, -1)
        hits = np.flatnonzero(number >= 0)
        if len(hits):
            held = exposures.pile.take(number[hits], [str(self._shape.chain.root.id)])
            number[hits[~equal_rows(take_columns(wanted, hits), held.columns)]] = -1
        number = np.where(number >= 0, number, exposures.ids.match(wanted, hashes))
        safe = np.maximum(number, exposures.ring.first)
        began = exposures.ring.get("time", safe)
        touched = self._touched.alive(exposures.ring.get("touched", safe))
        stood = np.where(self._eligible(kind, number, began, at), began, END)
        return _Named(stood, np.full(len(at), JOINED, np.int8), number, touched, began, number)

    def _child_named(self, kind: KindSpec, parent: str, wanted: list[pa.Array], at: Ints) -> "_Named":
        ids = self._ids[parent]
        assert ids is not None
        row = ids.keys.match(wanted, ids.keys.hashes(wanted))
        safe = np.maximum(row, ids.ring.first)
        early = (row >= 0) & (ids.ring.get("time", safe) > at + kind.skew)
        row = np.where(early, ids.ring.get("prev", safe), row)
        row = np.where(row >= ids.ring.first, row, -1)
        safe = np.maximum(row, ids.ring.first)
        began = ids.ring.get("time", safe)
        touched = self._touched.alive(ids.ring.get("touched", safe))
        stood = np.where(self._eligible(kind, row, began, at), began, END)
        exposure = np.where(
            touched >= 0,
            self._touched.ring.get("exposure", np.maximum(touched, self._touched.ring.first)),
            -1,
        )
        joined = ids.ring.get("joined", safe)
        return _Named(stood, ids.ring.get("state", safe), exposure, touched, joined, safe)

    def _eligible(self, kind: KindSpec, row: Rows, stood: Ints, at: Ints) -> Bools:
        assert kind.within is not None
        reach = kind.within + self._shape.chain.remember
        return (row >= 0) & (stood <= at + kind.skew) & (at - stood <= reach)


@dataclass(frozen=True, slots=True)
class _Named:
    """The record that each child names: when it stood (END: there is none), what became of it, where it belongs."""

    stood: Ints
    state: npt.NDArray[np.int8]
    exposure: Ints
    touched: Rows
    time: Ints
    row: Rows  # of the record, where ids are remembered

    @classmethod
    def none(cls, n: int) -> "_Named":
        nowhere, never = np.full(n, -1), np.full(n, END)
        return cls(never, np.full(n, ORPHAN, np.int8), nowhere, nowhere, never, nowhere)

    def replaced(self, where: Bools, other: "_Named") -> "_Named":
        return _Named(
            *(np.where(where, getattr(other, name), getattr(self, name)) for name in _Named.__slots__)
        )

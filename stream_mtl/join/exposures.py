"""The log of exposures in event time, and the small second generation of those to which something has happened."""

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from stream_mtl.clock import END, Millis
from stream_mtl.hashing import Hashes
from stream_mtl.join.keys import KeyIndex, Keys, equal_rows, take_columns
from stream_mtl.join.rows import Pile, Ring, Rows
from stream_mtl.join.search import Ints
from stream_mtl.join.shape import Shape

RUN_COLUMNS = {"standing": 0, "came": END, "until": END, "gone": END, "event": -1}
"""What is held of a kind that may be taken back, and what it begins with: how many events stand, since when some do or
last did, when that ended (END: they stand), when it first ended; and the row in `Standing` of the first event."""

_WALK = 4_096  # touched exposures of one key that are looked at, latest first


class Exposures:
    """Every exposure that can still be asked about, one row each; row number = exposure number.

    Columns: time (ms, never falls), hash (of the key), id_hash (where the id is not the key), touched (row in
    `Touched`, or -1). The fields lie in a pile under the same numbers.
    """

    def __init__(self, shape: Shape, schema: pa.Schema) -> None:
        root = shape.chain.root
        self.id_is_key = root.id is not None and shape.chain.key == (root.id,)
        self.has_id_index = root.id is not None and not self.id_is_key
        columns = {"time": np.int64, "hash": np.uint64, "touched": np.int64}
        if self.has_id_index:
            columns["id_hash"] = np.uint64
        self.ring = Ring(**columns)
        self.pile = Pile(schema)
        self.keys = Keys(KeyIndex(self.ring), self.pile, shape.chain.key)
        self.ids = self.keys
        if self.has_id_index:
            assert root.id is not None
            self.ids = Keys(KeyIndex(self.ring, "id_hash"), self.pile, [root.id])
        self.untold = dict.fromkeys(shape.root_offsets, 0)  # next exposure due at time + offset
        self._retain = max(shape.life + shape.chain.remember, shape.memory(root), *shape.root_offsets)

    def append(self, time: Ints, hashes: Hashes, id_hashes: Hashes | None, fields: pa.RecordBatch) -> Rows:
        """Open exposures, given in the order of their numbers."""
        values = {"time": time, "hash": hashes, "touched": -1}
        if id_hashes is not None:
            values["id_hash"] = id_hashes
        self.pile.append(fields)
        return self.ring.append(len(time), values)

    def due(self, offset: Millis, before: Millis) -> tuple[int, int]:
        """Return the numbers [start, stop) whose time + offset has come before `before`, once."""
        start = max(self.untold[offset], self.ring.first)
        stop = self.ring.bisect("time", before - offset, start)
        self.untold[offset] = stop
        return start, stop

    def forget(self, before: Millis) -> None:
        """Drop exposures that nothing at or after `before` can ask for."""
        self.ring.drop_before(self.ring.bisect("time", before - self._retain, self.ring.first))
        self.pile.drop_before(self.ring.first)


class Touched:
    """Exposures to which something has happened; they outlive their row in the log.

    Columns: exposure (number), time, hash, prev (the touched row of the same key before this one, or -1), end (when
    the last window closes), per kind of event: first (END: not yet), last where children name it as their parent, count
    where values are asked for, and per value task its value so far (nan: none). Per kind that may be taken back, besides,
    the columns of `RUN_COLUMNS`.
    """

    def __init__(self, shape: Shape, schema: pa.Schema) -> None:
        self._shape = shape
        columns: dict[str, npt.DTypeLike] = {
            "exposure": np.int64,
            "time": np.int64,
            "hash": np.uint64,
            "prev": np.int64,
            "end": np.int64,
        }
        self._defaults: dict[str, float] = {"prev": -1, "end": -END}
        for kind in shape.children:
            columns[f"first.{kind.name}"], self._defaults[f"first.{kind.name}"] = np.int64, END
        for name in sorted(shape.named):
            columns[f"last.{name}"], self._defaults[f"last.{name}"] = np.int64, -END
        for name, tasks in shape.sums.items():
            if tasks:
                columns[f"count.{name}"], self._defaults[f"count.{name}"] = np.int64, 0
            for task in tasks:
                columns[f"value.{task.name}"] = np.float64
                self._defaults[f"value.{task.name}"] = np.nan
        for name in sorted(shape.retracted):
            for column, default in RUN_COLUMNS.items():
                columns[f"{column}.{name}"], self._defaults[f"{column}.{name}"] = np.int64, default
        self.ring = Ring(**columns)
        self.pile = Pile(schema)
        self.index = KeyIndex(self.ring)

    def touch(self, exposures: Exposures, numbers: Rows) -> Rows:
        """Return the touched rows of these exposures, which lie in the log, making the ones that are missing."""
        held = exposures.ring.get("touched", numbers)
        missing = np.unique(numbers[held < 0])
        if len(missing):
            self.pile.append(exposures.pile.take(missing))
            values = dict(self._defaults) | {
                "exposure": missing,
                "time": exposures.ring.get("time", missing),
                "hash": exposures.ring.get("hash", missing),
            }
            rows = self.ring.append(len(missing), values)
            exposures.ring.put("touched", missing, rows)
            held = exposures.ring.get("touched", numbers)
        return held

    def link(self, rows: Rows) -> None:
        """Let new rows be found by key."""
        if len(rows) == 0:
            return
        hashes = self.ring.get("hash", rows)
        order = np.argsort(hashes, kind="stable")
        hashes, rows = hashes[order], rows[order]
        before = self.index.lookup(hashes)
        follows = np.flatnonzero(hashes[1:] == hashes[:-1]) + 1
        before[follows] = rows[follows - 1]
        self.ring.put("prev", rows, before)
        self.index.insert(hashes, rows)

    def latest(self, keys: Sequence[pa.Array], hashes: Hashes, at: Ints) -> Rows:
        """Return the touched exposure of each key that began last at or before `at` and is known then, or -1."""
        remember = self._shape.chain.remember
        best = np.full(len(hashes), -1)
        best_number = np.full(len(hashes), -1)
        rows = self.index.lookup(hashes)
        for _ in range(_WALK):
            open_ = np.flatnonzero(rows >= self.ring.first)
            if len(open_) == 0:
                break
            here = rows[open_]
            number = self.ring.get("exposure", here)
            known = (self.ring.get("time", here) <= at[open_]) & (
                self.ring.get("end", here) + remember >= at[open_]
            )
            better = open_[known & (number > best_number[open_])]
            if len(better):
                held = self.pile.take(rows[better], self._shape.chain.key)
                better = better[equal_rows(take_columns(keys, better), held.columns)]
            best[better], best_number[better] = rows[better], self.ring.get("exposure", rows[better])
            rows = np.full(len(hashes), -1)
            rows[open_] = self.ring.get("prev", here)
        return best

    def alive(self, rows: Rows) -> Rows:
        """Return these rows, -1 where they are gone."""
        return np.where(rows >= self.ring.first, rows, -1)

    def first(self, kind: str, rows: Rows) -> Ints:
        """Return when the kind first happened to these rows (END: not yet; row -1: END)."""
        return np.where(rows >= 0, self.ring.get(f"first.{kind}", np.maximum(rows, self.ring.first)), END)

    def ends(self, rows: Rows, firsts: Mapping[str, Ints]) -> dict[str, Ints]:
        """Return the end of every kind's window, knowing these first events."""
        lasts = {name: self.ring.get(f"last.{name}", rows) for name in self._shape.named}
        return self._shape.ends(self.ring.get("time", rows), firsts, lasts)

    def firsts(self, rows: Rows, at: Ints | None = None) -> dict[str, Ints]:
        """Return the first time of every kind, END where it has not happened by `at`."""
        firsts = {kind.name: self.ring.get(f"first.{kind.name}", rows) for kind in self._shape.children}
        if at is None:
            return firsts
        return {name: np.where(first <= at, first, END) for name, first in firsts.items()}

    def settle(self, rows: Rows) -> None:
        """Work out anew when the last window of these rows closes."""
        if len(rows):
            self.ring.put("end", rows, np.maximum.reduce(list(self.ends(rows, self.firsts(rows)).values())))

    def forget(self, before: Millis) -> None:
        """Drop the oldest rows that nothing at or after `before` can ask for."""
        remember = max(self._shape.chain.remember, self._shape.patience)
        while len(self.ring):
            stop = min(self.ring.first + 4_096, self.ring.next)
            alive = self.ring.range("end", self.ring.first, stop) + remember >= before
            gone = int(alive.argmax()) if alive.any() else stop - self.ring.first
            self.ring.drop_before(self.ring.first + gone)
            if alive.any():
                break
        self.pile.drop_before(self.ring.first)

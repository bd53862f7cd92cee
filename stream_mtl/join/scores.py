"""Served scores, which come before the exposure they were made for, and are told beside it (decision 1, section 8)."""

from collections.abc import Sequence

import numpy as np
import pyarrow as pa

from stream_mtl.clock import Millis
from stream_mtl.join.children import Identity
from stream_mtl.join.hold import Facts, Hold
from stream_mtl.join.keys import KeyIndex, Keys, equal_rows, take_columns
from stream_mtl.join.rows import Pile, Ring, Rows
from stream_mtl.join.search import Ints, last_at_or_before
from stream_mtl.join.spec import ChainSpec, KindSpec

PREFIX = "scored."


class Scores:
    """The standing scores that an exposure may still take.

    Columns: time (ms), hash (of the key), taken (0 or 1).
    """

    def __init__(self, kind: KindSpec, chain: ChainSpec, schema: pa.Schema) -> None:
        assert kind.within is not None
        self.kind = kind
        self.hold = Hold(schema)
        self.ring = Ring(time=np.int64, hash=np.uint64, taken=np.int8)
        self.pile = Pile(schema)
        self.keys = Keys(KeyIndex(self.ring), self.pile, chain.key)
        self.identity = Identity(kind, chain.key, schema, kind.within + chain.remember)
        self._key = chain.key
        self._within = kind.within
        self._fields = [name for name in schema.names if name not in chain.key]
        self.told = pa.schema([schema.field(name).with_name(PREFIX + name) for name in self._fields])
        self._fresh = _Fresh.none()

    def add(self, facts: Facts, account: dict[str, int]) -> None:
        """Take the scores of a slice; the exposures of the same slice may ask for them before `settle`."""
        facts, _ = self.identity.sift(facts, account)
        if len(facts) == 0:
            self._fresh = _Fresh.none()
            return
        claims = self.keys.claim([facts.column(name) for name in self._key])
        self.pile.append(facts.fields)
        rows = self.ring.append(len(facts), {"time": facts.time, "hash": claims.hashes, "taken": 0})
        order = claims.order
        self._fresh = _Fresh(claims.hashes[order], facts.time[order], rows[order])

    def take(self, keys: Sequence[pa.Array], time: Ints, account: dict[str, int]) -> pa.RecordBatch:
        """Return the scores of new exposures (n rows of nulls where there is none), and count those taken first."""
        rows = self._find(keys, time)
        found = np.flatnonzero(rows >= 0)
        if len(found) == 0:
            nulls = [pa.nulls(len(time), field.type) for field in self.told]
            return pa.RecordBatch.from_arrays(nulls, schema=self.told)
        once = np.unique(rows[found])
        account["joined"] += int((self.ring.get("taken", once) == 0).sum())
        self.ring.put("taken", once, 1)
        held = self.pile.take(rows[found], self._fields)
        place = np.zeros(len(time), np.int64)
        place[found] = np.arange(len(found))
        columns = held.take(pa.array(place, mask=rows < 0)).columns
        return pa.RecordBatch.from_arrays(columns, schema=self.told)

    def settle(self, before: Millis, account: dict[str, int]) -> None:
        """Let the slice's scores be found later, and give up those that no exposure at or after `before` can take."""
        self.keys.index.insert(self._fresh.hashes, self._fresh.rows)
        self._fresh = _Fresh.none()
        stop = self.ring.bisect("time", before - self._within, self.ring.first)
        account["orphan"] += int((self.ring.range("taken", self.ring.first, stop) == 0).sum())
        self.ring.drop_before(stop)
        self.pile.drop_before(self.ring.first)
        self.identity.forget(before)

    def waiting(self) -> int:
        """Return how many scores have no fate yet."""
        return len(self.hold) + int((self.ring.range("taken", self.ring.first, self.ring.next) == 0).sum())

    def _find(self, keys: Sequence[pa.Array], time: Ints) -> Rows:
        """Return the row of each exposure's score, or -1."""
        hashes = self.keys.hashes(keys)
        fresh = self._fresh
        place = last_at_or_before(fresh.hashes, fresh.time, hashes, time)
        rows = np.where(place >= 0, fresh.rows[place] if len(fresh.rows) else -1, -1)
        hits = np.flatnonzero(rows >= 0)
        if len(hits):
            held = self.pile.take(rows[hits], self._key)
            rows[hits[~equal_rows(take_columns(keys, hits), held.columns)]] = -1
        rows = np.where(rows >= 0, rows, self.keys.match(keys, hashes))
        old = time - self.ring.get("time", np.maximum(rows, self.ring.first)) > self._within
        return np.where(old, -1, rows)


class _Fresh:
    """The scores of the current slice, sorted by (hash, time)."""

    def __init__(self, hashes: np.ndarray, time: Ints, rows: Rows) -> None:
        self.hashes, self.time, self.rows = hashes, time, rows

    @classmethod
    def none(cls) -> "_Fresh":
        return cls(np.zeros(0, np.uint64), np.zeros(0, np.int64), np.zeros(0, np.int64))


def beside(fields: pa.RecordBatch, scored: pa.RecordBatch) -> pa.RecordBatch:
    """Return the exposures' fields with their scores'."""
    schema = pa.schema([*fields.schema, *scored.schema])
    return pa.RecordBatch.from_arrays([*fields.columns, *scored.columns], schema=schema)

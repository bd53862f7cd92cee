"""One kind of child event: what is held back, which ids are remembered, and which records wait for their parent."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from stream_mtl.clock import END, Millis
from stream_mtl.hashing import Hashes, hash_columns
from stream_mtl.join.hold import Facts, Hold, nothing
from stream_mtl.join.identity import exact_copies, judge
from stream_mtl.join.keys import KeyIndex, Keys
from stream_mtl.join.rows import Pile, Ring, Rows
from stream_mtl.join.search import Ints
from stream_mtl.join.shape import Shape
from stream_mtl.join.spec import KindSpec

WAITING, JOINED, OUTSIDE, ORPHAN = 0, 1, 2, 3
"""What has become of a standing child."""


@dataclass(frozen=True, slots=True)
class Waiters:
    """Standing records whose fate is open: the exposure they belong to (number and touched row, or -1), their row in `Ids`."""

    facts: Facts
    exposure: Ints
    touched: Rows
    id_row: Rows

    def __len__(self) -> int:
        return len(self.facts)

    @classmethod
    def new(cls, facts: Facts, id_row: Rows) -> "Waiters":
        """Return records of which nothing is known."""
        none = np.full(len(facts), -1)
        return cls(facts, none, none, id_row)

    def take(self, rows: Rows) -> "Waiters":
        """Return some of them."""
        return Waiters(self.facts.take(rows), self.exposure[rows], self.touched[rows], self.id_row[rows])


class Ids:
    """Standing records of a kind that has an id, by that id, for as long as a repeat or a child may come.

    Columns: hash (of the id), time (ms), and where children name it as their parent: state (WAITING to ORPHAN), joined (its
    time in the chain), touched (the row of its exposure in `Touched`, or -1), prev (the record that stood before it
    under the same id, or -1); and where they may take it back, event (its row in `Standing`, or -1).
    """

    def __init__(
        self, name: str, schema: pa.Schema, memory: Millis, named: bool, retracted: bool = False
    ) -> None:
        columns: dict[str, npt.DTypeLike] = {"hash": np.uint64, "time": np.int64}
        if named and retracted:
            columns["event"] = np.int64
        if named:
            columns |= {"state": np.int8, "joined": np.int64, "touched": np.int64, "prev": np.int64}
        self.ring = Ring(**columns)
        self.pile = Pile(schema)
        self.keys = Keys(KeyIndex(self.ring), self.pile, [name])
        self.memory = memory
        self.named = named

    def append(self, hashes: Hashes, prior: Rows, facts: Facts) -> Rows:
        """Remember standing records; `prior` are the rows that stood before them under the same id, or -1."""
        self.pile.append(facts.fields)
        values = {
            "hash": hashes,
            "time": facts.time,
            "state": WAITING,
            "joined": END,
            "touched": -1,
            "prev": prior,
            "event": -1,
        }
        rows = self.ring.append(len(facts), values)
        order = np.argsort(hashes, kind="stable")
        self.keys.index.insert(hashes[order], rows[order], prior[order] >= 0)
        return rows

    def note(self, rows: Rows, state: npt.NDArray[np.int8], joined: Ints, touched: Rows) -> None:
        """Note what has become of these rows."""
        for name, values in (("state", state), ("joined", joined), ("touched", touched)):
            self.ring.put(name, rows, values)

    def forget(self, before: Millis) -> None:
        """Drop what can no longer be repeated or named at or after `before`."""
        self.ring.drop_before(self.ring.bisect("time", before - self.memory, self.ring.first))
        self.pile.drop_before(self.ring.first)


class Identity:
    """Tells which records of one kind are events of their own, and keeps the others' accounts."""

    def __init__(
        self,
        kind: KindSpec,
        key: tuple[str, ...],
        schema: pa.Schema,
        memory: Millis,
        named: bool = False,
        retracted: bool = False,
    ) -> None:
        self.ids = Ids(kind.id, schema, memory, named, retracted) if kind.id is not None else None
        self.conflicts: list[Facts] = []  # since they were last taken
        self._id = kind.id
        self._key = key

    def sift(self, facts: Facts, account: dict[str, int]) -> tuple[Facts, Rows]:
        """Return the records that stand, and their rows in `ids` (-1 without ids)."""
        if len(facts) == 0:
            return facts, np.zeros(0, np.int64)
        if self.ids is None:
            stands = ~exact_copies(hash_columns([facts.column(name) for name in self._key]), facts)
            account["duplicate"] += int((~stands).sum())
            facts = facts.take(np.flatnonzero(stands))
            return facts, np.full(len(facts), -1)
        claims = self.ids.keys.claim([facts.column(str(self._id))])
        stands, clash = judge(claims, self.ids.ring, self.ids.pile, facts, self.ids.memory)
        if clash.any():
            account["conflict"] += int(clash.sum())
            self.conflicts.append(facts.take(np.flatnonzero(clash)))
        account["duplicate"] += len(facts) - int(stands.sum()) - int(clash.sum())
        facts = facts.take(np.flatnonzero(stands))
        return facts, self.ids.append(claims.hashes[stands], claims.prior[stands], facts)

    def forget(self, before: Millis) -> None:
        """Drop ids that can no longer be repeated or named at or after `before`."""
        if self.ids is not None:
            self.ids.forget(before)


class Children:
    """The state of one child kind."""

    def __init__(self, kind: KindSpec, shape: Shape, schema: pa.Schema) -> None:
        self.kind = kind
        self.schema = schema
        self.hold = Hold(schema)
        named = kind.name in shape.named
        retracted = kind.name in shape.retracted
        self.identity = Identity(kind, shape.chain.key, schema, shape.memory(kind), named, retracted)
        self.none_waiting = Waiters.new(nothing(schema), np.zeros(0, np.int64))
        self.waiters = self.none_waiting

    @property
    def ids(self) -> Ids | None:
        """The remembered ids, where the kind has one."""
        return self.identity.ids

    def standing(self, facts: Facts, account: dict[str, int]) -> Waiters:
        """Take out duplicates and conflicts, remember the rest, and return it beside the older waiters."""
        new = Waiters.new(*self.identity.sift(facts, account))
        return _both(self.waiters, new) if len(self.waiters) else new

    def waiting(self) -> int:
        """Return how many records have no fate yet."""
        return len(self.hold) + len(self.waiters)


def _both(old: Waiters, new: Waiters) -> Waiters:
    join = np.concatenate
    facts = Facts(
        join([old.facts.time, new.facts.time]),
        join([old.facts.partition, new.facts.partition]),
        join([old.facts.position, new.facts.position]),
        pa.concat_batches([old.facts.fields, new.facts.fields]),
        np.arange(len(old) + len(new)),
    )
    return Waiters(
        facts,
        join([old.exposure, new.exposure]),
        join([old.touched, new.touched]),
        join([old.id_row, new.id_row]),
    )

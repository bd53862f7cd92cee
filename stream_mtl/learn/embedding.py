"""Embedding rows for any id that arrives: found by hash, admitted by count, evicted by age, updated in place.

One table holds the rows of all features of one width. Row k, for k below the number of owners, is shared by the
ids of owner k that have no row of their own: it is what an unknown id is taken for, in learning and in serving. An id
gets its row after the minibatch in which it has been seen often enough; the row starts as a function of
(seed, owner, value) alone, with an empty optimiser state.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from stream_mtl.clock import Millis
from stream_mtl.hashing import mix
from stream_mtl.learn.admission import Waiting, patience
from stream_mtl.learn.arrays import Arrays, put_under, under
from stream_mtl.learn.encoded import Ids
from stream_mtl.learn.features import TableSpec
from stream_mtl.learn.ids import IdMap, Numbers

DEVIATION = 0.05
"""Of the numbers a row starts with."""
EPSILON = 1e-10

_ROOM = 1 << 10
_LOW = np.uint64(0x0000FFFF0000FFFF)


@dataclass(frozen=True, slots=True)
class Distinct:
    """The rows that a batch reads, each once."""

    rows: Numbers  # (u,)
    inverse: npt.NDArray[np.int32]  # (m,) place in `rows` of every id read


class Table:
    """A growing table of rows of one width, with row-wise Adagrad."""

    def __init__(self, spec: TableSpec, seed: int, rate: float) -> None:
        self.spec = spec
        self._seed, self._rate = seed, rate
        self._shared = len(spec.owners)
        self._patience = patience(spec.owners)
        self._map = IdMap()
        self._waiting = Waiting(spec.owners)
        self._free = np.zeros(0, np.int64)  # rows that were evicted, descending: the lowest leaves first
        self.used = 0  # rows from here on were never used
        self._id, self._owner = np.zeros(_ROOM, np.int64), np.zeros(_ROOM, np.int16)
        self._seen, self._changed = np.zeros(_ROOM, np.int64), np.zeros(_ROOM, np.int64)
        self._scratch = np.zeros(_ROOM, np.int32)
        self.weight = torch.zeros(_ROOM, spec.dim)  # (room, dim)
        self._squares = torch.zeros(_ROOM)  # (room,) Adagrad's sum of mean squared gradients
        self._open(np.zeros(self._shared, np.int64), np.arange(self._shared), 0)

    def __len__(self) -> int:
        """Return the number of ids that have a row of their own."""
        return len(self._map)

    def find(self, ids: Ids) -> tuple[Numbers, Numbers]:
        """Return the row of every id, and the places of those that have none; there the row is -1."""
        rows = self._map.find(ids)
        return rows, np.flatnonzero(rows < 0)

    def distinct(self, rows: Numbers) -> Distinct:
        """Return each row once."""
        order = np.arange(len(rows), dtype=np.int32)
        self._scratch[rows] = order
        once = rows[self._scratch[rows] == order]
        self._scratch[once] = np.arange(len(once), dtype=np.int32)
        return Distinct(once, self._scratch[rows])

    def learn(self, rows: Numbers, gradient: Tensor, now: Millis, step: int) -> None:
        """Move distinct rows against their gradient (u, dim): by rate / root of the sum of mean squares."""
        index = torch.from_numpy(rows)
        squares = self._squares.index_select(0, index).add_(gradient.square().mean(1))
        self._squares.index_copy_(0, index, squares)
        factor = squares.sqrt_().add_(EPSILON).reciprocal_().mul_(-self._rate)
        self.weight.index_add_(0, index, gradient * factor.unsqueeze(1))
        self._seen[rows] = now
        self._changed[rows] = step

    def admit(self, ids: Ids, owners: Numbers, now: Millis, step: int) -> int:
        """Count ids without a row (repeats included), give one to those seen often enough, return their number."""
        if len(ids) == 0:
            return 0
        ids, owners = self._waiting.count(ids, owners, now)
        rows = self._open(ids, owners, now)
        self._map.add(ids, rows)
        self._changed[rows] = step
        return len(ids)

    def evict(self, now: Millis) -> int:
        """Take the row from every id that was not seen for as long as its owner allows; return their number."""
        self._waiting.forget(now)
        owner = self._owner[: self.used]
        stale = (self._id[: self.used] != 0) & (self._seen[: self.used] < now - self._patience[owner])
        rows = np.flatnonzero(stale)
        if len(rows):
            self._map.remove(self._id[rows])
            self._id[rows] = 0
            self._free = np.sort(np.concatenate([self._free, rows]))[::-1].copy()
        return len(rows)

    def weights(self, since: int = -1) -> Arrays:
        """Return a copy of what predicting needs: the row of every id, and of every owner (there the id is 0).

        Only those that were changed after step `since`.
        """
        held = self._id[: self.used] != 0
        held[: self._shared] = True
        rows = np.flatnonzero(held & (self._changed[: self.used] > since))
        return {"id": self._id[rows], "owner": self._owner[rows], "weight": self.weight.numpy()[rows]}

    def load(self, arrays: Mapping[str, npt.NDArray[Any]]) -> None:
        """Take back what `weights` gave, in any order of rows, in place of everything."""
        ids, owners = arrays["id"], arrays["owner"].astype(np.int64)
        own = np.flatnonzero(ids)
        rows = np.concatenate([np.zeros(0, np.int64), owners.copy()])
        rows[own] = self._shared + np.arange(len(own))
        self.used = self._shared + len(own)
        self._reserve(self.used)
        self._id[rows], self._owner[rows] = ids, owners
        self.weight[torch.from_numpy(rows)] = torch.from_numpy(np.ascontiguousarray(arrays["weight"]))
        self._map = IdMap()
        self._map.add(ids[own], rows[own])

    def arrays(self) -> Arrays:
        """Return the state by name, to be saved."""
        kept = {name: column[: self.used].copy() for name, column in self._columns().items()}
        return kept | put_under(waiting=self._waiting.arrays())

    def restore(self, arrays: Mapping[str, npt.NDArray[Any]]) -> None:
        """Take back what `arrays` gave."""
        used = len(arrays["id"])
        self._reserve(used)
        for name, column in self._columns().items():
            column[:used] = arrays[name]
        self.used = used
        held = np.flatnonzero(self._id[:used])
        self._map = IdMap()
        self._map.add(self._id[held], held)
        self._free = np.flatnonzero(self._id[:used] == 0)[self._shared :][::-1].copy()
        self._waiting.restore(under(arrays, "waiting"))

    def _columns(self) -> Arrays:
        return {
            "id": self._id,
            "owner": self._owner,
            "seen": self._seen,
            "changed": self._changed,
            "weight": self.weight.numpy(),
            "squares": self._squares.numpy(),
        }

    def _open(self, ids: Ids, owners: Numbers, now: Millis) -> Numbers:
        """Make a row for every id and return their numbers; free ones first, the lowest before the others."""
        reused = min(len(ids), len(self._free))
        fresh = np.arange(self.used, self.used + len(ids) - reused)
        rows = np.concatenate([self._free[len(self._free) - reused :][::-1], fresh])
        self._free = self._free[: len(self._free) - reused]
        self.used += len(fresh)
        self._reserve(self.used)
        self._id[rows], self._owner[rows], self._seen[rows] = ids, owners, now
        keys = np.where(ids == 0, owners + 1, ids)  # the shared rows start differently too
        index = torch.from_numpy(rows)
        self.weight[index] = torch.from_numpy(start(keys, self.spec.dim, self._seed))
        self._squares[index] = 0
        return rows

    def _reserve(self, rows: int) -> None:
        room = len(self._id)
        while room < rows:
            room *= 2
        if room == len(self._id):
            return
        more = room - len(self._id)
        self._id, self._owner, self._seen, self._changed = (
            np.concatenate([column, np.zeros(more, column.dtype)])
            for column in (self._id, self._owner, self._seen, self._changed)
        )
        self._scratch = np.zeros(room, np.int32)
        self.weight = torch.cat([self.weight, torch.zeros(more, self.spec.dim)])
        self._squares = torch.cat([self._squares, torch.zeros(more)])


def start(ids: Ids, dim: int, seed: int) -> npt.NDArray[np.float32]:
    """Return what the rows of these ids start with, (n, dim): bell-shaped, mean 0, deviation `DEVIATION`.

    Each number is the sum of four 16-bit numbers cut from a hash of (id, seed, place): exact on every machine.
    """
    places = mix(np.arange(dim, dtype=np.uint64) + np.uint64(seed * 0x9E3779B97F4A7C15 % 2**64))
    words = mix(ids.view(np.uint64)[:, None] ^ places[None, :])
    pairs = (words & _LOW) + (words >> np.uint64(16) & _LOW)  # two sums of two, 32 bits apart
    sums = (pairs + (pairs >> np.uint64(32))) & np.uint64(0xFFFFFFFF)
    mean, deviation = 2 * 65535, np.sqrt(4 * (65536.0**2 - 1) / 12)
    numbers: npt.NDArray[np.float32] = ((sums.astype(np.float64) - mean) * (DEVIATION / deviation)).astype(
        np.float32
    )
    return numbers

"""Ids that wait to be seen often enough for an embedding row of their own."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from stream_mtl.clock import BEGINNING, Millis
from stream_mtl.learn.encoded import Ids
from stream_mtl.learn.features import Owner
from stream_mtl.learn.ids import IdMap, Numbers


class Waiting:
    """How often each id without a row has been seen, and when last."""

    def __init__(self, owners: Sequence[Owner]) -> None:
        self._needed = np.array([owner.admit for owner in owners] or [1])
        self._patience = patience(owners)
        self._map = IdMap()
        self._admitted = 0  # entries that are only still here because leaving costs a pass over all
        self._columns = _columns(np.zeros(0, np.int64), np.zeros(0, np.int64), 0)

    def count(self, ids: Ids, owners: Numbers, now: Millis) -> tuple[Ids, Numbers]:
        """Count ids (repeats included) and return those that have been seen often enough, with their owners."""
        ids, first, times = np.unique(ids, return_index=True, return_counts=True)
        owners = owners[first]
        if (self._needed == 1).all():
            return ids, owners
        places = self._places(ids, owners, now)
        self._columns["count"][places] += times
        self._columns["seen"][places] = now
        enough = self._columns["count"][places] >= self._needed[owners]
        self._admitted += int(enough.sum())
        if 2 * self._admitted > len(self._map):
            self._keep(self._columns["count"] < self._needed[self._columns["owner"]])
        return ids[enough], owners[enough]

    def forget(self, now: Millis) -> None:
        """Drop the ids that were not seen for as long as their owner allows, and those that have a row."""
        stale = self._columns["seen"] < now - self._patience[self._columns["owner"]]
        self._keep(~stale & (self._columns["count"] < self._needed[self._columns["owner"]]))

    def arrays(self) -> dict[str, npt.NDArray[Any]]:
        """Return the state by name, to be saved."""
        return {**self._columns, "admitted": np.array(self._admitted)}

    def restore(self, arrays: Mapping[str, npt.NDArray[Any]]) -> None:
        """Take back what `arrays` gave."""
        self._columns = {name: arrays[name].copy() for name in self._columns}
        self._admitted = int(arrays["admitted"])
        self._map = IdMap()
        self._map.add(self._columns["id"], np.arange(len(self._columns["id"])))

    def _places(self, ids: Ids, owners: Numbers, now: Millis) -> Numbers:
        places = self._map.find(ids)
        new = np.flatnonzero(places < 0)
        places[new] = len(self._map) + np.arange(len(new))
        self._map.add(ids[new], places[new])
        added = _columns(ids[new], owners[new], now)
        self._columns = {name: np.concatenate([held, added[name]]) for name, held in self._columns.items()}
        return places

    def _keep(self, rows: npt.NDArray[np.bool_]) -> None:
        self.restore({**{name: held[rows] for name, held in self._columns.items()}, "admitted": np.array(0)})


def patience(owners: Sequence[Owner]) -> npt.NDArray[np.int64]:
    """Return for how long each owner's ids are kept unseen, in ms."""
    return np.array([-BEGINNING if o.evict_after is None else o.evict_after for o in owners] or [0])


def _columns(ids: Ids, owners: Numbers, now: Millis) -> dict[str, npt.NDArray[Any]]:
    return {
        "id": ids,
        "owner": owners,
        "count": np.zeros(len(ids), np.int64),
        "seen": np.full(len(ids), now, np.int64),
    }

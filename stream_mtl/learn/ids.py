"""A map from 64-bit ids to small numbers, for whole columns at a time: open addressing in numpy."""

import numpy as np
import numpy.typing as npt

from stream_mtl.learn.encoded import Ids

Numbers = npt.NDArray[np.int64]  # (n,)

_SMALLEST = 1 << 10
_NONE = 0  # the key of an empty place


class IdMap:
    """Ids, which are not 0 and already well mixed, to numbers of at least 0. At most half full, linear probing."""

    def __init__(self) -> None:
        self._count = 0
        self._keys = np.zeros(_SMALLEST, np.int64)
        self._values = np.zeros(_SMALLEST, np.int32)

    def __len__(self) -> int:
        return self._count

    def find(self, ids: Ids) -> Numbers:
        """Return the number of every id, -1 where there is none."""
        mask = len(self._keys) - 1
        place = ids & mask
        key = self._keys[place]
        found: Numbers = self._values[place].astype(np.int64)
        left = np.flatnonzero(key != ids)
        found[left] = -1
        left = left[key[left] != _NONE]
        place, wanted = place[left], ids[left]
        while len(left):
            place = (place + 1) & mask
            key = self._keys[place]
            hit = key == wanted
            found[left[hit]] = self._values[place[hit]]
            on = ~hit & (key != _NONE)
            left, place, wanted = left[on], place[on], wanted[on]
        return found

    def add(self, ids: Ids, numbers: Numbers) -> None:
        """Add ids that are distinct and not in the map."""
        if 2 * (self._count + len(ids)) > len(self._keys):
            self._grow(self._count + len(ids))
        self._count += len(ids)
        mask = len(self._keys) - 1
        place, left = ids & mask, np.arange(len(ids))
        while len(left):
            free = self._keys[place[left]] == _NONE
            tried = left[free]
            self._keys[place[tried]] = ids[tried]
            won = tried[self._keys[place[tried]] == ids[tried]]
            self._values[place[won]] = numbers[won]
            left = left[self._keys[place[left]] != ids[left]]
            place[left] = (place[left] + 1) & mask

    def remove(self, ids: Ids) -> None:
        """Remove ids that are in the map. It costs a pass over the whole map."""
        keep = (self._keys != _NONE) & ~np.isin(self._keys, ids)
        self._rebuild(self._keys[keep], self._values[keep].astype(np.int64), len(self._keys))

    def _grow(self, count: int) -> None:
        size = len(self._keys)
        while 4 * count > size:
            size *= 2
        held = self._keys != _NONE
        self._rebuild(self._keys[held], self._values[held].astype(np.int64), size)

    def _rebuild(self, ids: Ids, numbers: Numbers, size: int) -> None:
        self._keys = np.zeros(size, np.int64)
        self._values = np.zeros(size, np.int32)
        self._count = 0
        self.add(ids, numbers)

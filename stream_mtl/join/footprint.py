"""How much memory a joiner's state takes, and how many chains wait in it."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from stream_mtl.join.joiner import Joiner
from stream_mtl.join.keys import KeyIndex
from stream_mtl.join.rows import Pile, Ring


@dataclass(frozen=True, slots=True)
class Footprint:
    """Bytes as they are allocated, room to grow and what is only remembered included."""

    chains: int  # exposures of which a final telling is still to come
    payload: int  # bytes of their fields, and of the ids and children that are kept
    beside: int  # bytes of all numbers and tables about them

    @property
    def beside_each(self) -> float:
        """Bytes of a waiting chain beside its payload."""
        return self.beside / max(self.chains, 1)


def footprint(joiner: Joiner) -> Footprint:
    """Measure the state of a joiner between two tellings. Records that are held back are no part of it."""
    rings, piles, indexes = zip(*_tables(joiner), strict=True)
    beside = sum(ring.nbytes for ring in rings) + sum(index.nbytes for index in indexes)
    if joiner.exposures.has_id_index:
        beside += joiner.exposures.ids.index.nbytes
    beside += sum(standing.ring.nbytes for standing in joiner.standing.values())
    beside += sum(at.nbytes + rows.nbytes for at, rows in joiner.ripener.live().values())
    return Footprint(_waiting(joiner), sum(pile.nbytes for pile in piles), beside)


def _tables(joiner: Joiner) -> Iterator[tuple[Ring, Pile, KeyIndex]]:
    exposures, touched = joiner.exposures, joiner.touched
    yield exposures.ring, exposures.pile, exposures.keys.index
    yield touched.ring, touched.pile, touched.index
    for identity in joiner.identities().values():
        if identity.ids is not None:
            yield identity.ids.ring, identity.ids.pile, identity.ids.keys.index
    if joiner.scores is not None:
        yield joiner.scores.ring, joiner.scores.pile, joiner.scores.keys.index


def _waiting(joiner: Joiner) -> int:
    """Count the exposures whose windows are open untouched, and those that something has kept open since."""
    ring, touched, now = joiner.exposures.ring, joiner.touched.ring, joiner.told_before
    life, patience = joiner.shape.life + joiner.shape.patience, joiner.shape.patience
    young = ring.next - ring.bisect("time", now - life, ring.first)
    time = touched.range("time", touched.first, touched.next)
    end = touched.range("end", touched.first, touched.next)
    return young + int(np.count_nonzero((time < now - life) & (end + patience >= now)))

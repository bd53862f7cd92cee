"""What readers of the log are fed: the rows of all joiner partitions in one order, whatever blocks they came in.

The order is (time told, joiner partition, place in its log). A row is given once every partition has told all before
its time, so the order does not depend on which block was there first; it is that of one joiner, where there is but one.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from stream_mtl.clock import BEGINNING, Millis
from stream_mtl.errors import PositionOutOfRange
from stream_mtl.join.block import Header, merged
from stream_mtl.join.log import Bookmark, TransitionLog
from stream_mtl.join.transitions import Transitions, part

Ints = npt.NDArray[np.int64]

Place = tuple[int, int]
"""(block, row) of one joiner partition: the NEXT row."""


@dataclass(frozen=True, slots=True)
class Portion:
    """Rows in the order of the feed. `partition` (n,) is each row's; `places` are those in front of the first row.

    `lengths` are the rows of the blocks that the places are in.
    """

    transitions: Transitions
    partition: Ints
    places: Mapping[int, Place]
    lengths: Mapping[int, int]
    told_before: Millis  # every telling before this is in this portion or earlier
    fingerprint: str  # of the chain

    def __len__(self) -> int:
        return len(self.transitions)

    def before(self, row: int) -> dict[int, Place]:
        """Return the places in front of a row of this portion."""
        return {
            number: _place(block, at, self.lengths.get(number))
            for number, (block, at) in self._behind(row).items()
        }

    def _behind(self, row: int) -> dict[int, Place]:
        taken = np.bincount(self.partition[:row], minlength=max(self.places) + 1)
        return {number: (block, at + int(taken[number])) for number, (block, at) in self.places.items()}

    def cut(self, row: int) -> tuple["Portion", "Portion"]:
        """Return the rows before a row, and the others. Where an instant is cut in two, some of it is left to be told."""
        head, tail = part(self.transitions, 0, row), part(self.transitions, row, len(self))
        first = int(tail.rows.column("told")[0].as_py())
        return (
            Portion(head, self.partition[:row], self.places, self.lengths, first, self.fingerprint),
            Portion(
                tail,
                self.partition[row:],
                self._behind(row),
                self.lengths,
                self.told_before,
                self.fingerprint,
            ),
        )


class _Lane:
    """One joiner partition: the block that is being given, and how far its log has told."""

    def __init__(self, log: TransitionLog) -> None:
        self.log = log
        self.block = self.row = 0  # the next row
        self.told_before: Millis = BEGINNING  # by the blocks taken from the log
        self.fingerprint = ""
        self._held: Transitions | None = None  # the block of the next row, once it is taken
        self._blocks: Iterator[tuple[Header, Transitions]] = iter(())

    @property
    def length(self) -> int | None:
        """The rows of the block that is held; None where none is."""
        return None if self._held is None else len(self._held)

    def pull(self) -> bool:
        """Take the next block from the log, where none is held; return whether there was one."""
        if self._held is not None:
            return False
        taken = next(self._blocks, None)
        if taken is None:
            self._blocks = self.log.read(self.block)
            taken = next(self._blocks, None)
        if taken is None:
            return False
        header, self._held = taken
        self.told_before, self.fingerprint = header.told_before, header.fingerprint
        return True

    def give(self, before: Millis) -> Transitions | None:
        """Return the held rows that were told before a time; none at all if only time has passed, None if nothing has."""
        if self._held is None:
            return None
        told = self._held.rows.column("told").to_numpy()
        start, stop = self.row, int(np.searchsorted(told, before))
        done = self.told_before <= before
        if stop <= start and not done:
            return None
        given = self._held if (start, stop) == (0, len(told)) else part(self._held, start, stop)
        self.row = stop
        if done:
            self._held, self.block, self.row = None, self.block + 1, 0
        return given


class Feed:
    """Reads the logs of all joiner partitions as one."""

    def __init__(self, logs: Mapping[int, TransitionLog]) -> None:
        """`logs` by the numbers of the joiner partitions."""
        self._lanes = {number: _Lane(log) for number, log in sorted(logs.items())}

    @property
    def places(self) -> dict[int, Place]:
        """The next row of each partition."""
        return {number: _place(lane.block, lane.row, lane.length) for number, lane in self._lanes.items()}

    def take(self) -> Portion | None:
        """Return the next rows (none at all, where time alone has passed), or None when there is nothing new.

        Raises BlockCorrupt, PositionOutOfRange, Unavailable.
        """
        lanes = self._lanes.values()
        while True:
            taken = [lane.pull() for lane in lanes]
            portion = self._portion(min(lane.told_before for lane in lanes))
            if portion is not None or not any(taken):
                return portion

    def start(self) -> None:
        """Stand before the oldest rows that are kept."""
        for lane in self._lanes.values():
            lane.block = lane.log.first()

    def state(self) -> dict[str, Any]:
        """Return where the feed stands, fit for JSON."""
        return {
            str(number): {
                "block": lane.block,
                "row": lane.row,
                "told_before": lane.told_before,
                "bookmark": dict(lane.log.bookmark(lane.block)),
            }
            for number, lane in self._lanes.items()
        }

    def resume(self, state: Mapping[str, Any], who: str) -> None:
        """Stand where a feed of the same logs stood. Raises PositionOutOfRange, naming `who`, if they do not hold that."""
        if set(state) != {str(number) for number in self._lanes}:
            raise PositionOutOfRange(
                f"{who} has read joiner partitions {', '.join(sorted(state))}, but there are "
                f"{', '.join(map(str, self._lanes))}: put [join] partitions back, or begin anew"
            )
        for number, lane in self._lanes.items():
            held = state[str(number)]
            bookmark: Bookmark = held["bookmark"]
            lane.block, lane.row, lane.told_before = held["block"], held["row"], held["told_before"]
            lane.log.resume(bookmark)
            first, end = (lane.block, lane.log.next()) if bookmark else (lane.log.first(), lane.log.next())
            if not first <= lane.block <= end:
                raise PositionOutOfRange(
                    f"{who} goes on at block {lane.block}, but the log of joiner partition {number} holds blocks {first} "
                    f"to {end - 1}: restore the log, or begin anew in another folder"
                )

    def close(self) -> None:
        """Close the logs."""
        for lane in self._lanes.values():
            lane.log.close()

    def _portion(self, before: Millis) -> Portion | None:
        places = {number: (lane.block, lane.row) for number, lane in self._lanes.items()}
        lengths = {number: lane.length for number, lane in self._lanes.items() if lane.length is not None}
        fingerprints = {lane.fingerprint for lane in self._lanes.values() if lane.length is not None}
        given = {number: lane.give(before) for number, lane in self._lanes.items()}
        parts = {number: transitions for number, transitions in given.items() if transitions is not None}
        if not parts:
            return None
        parts = {number: one for number, one in parts.items() if len(one)} or dict([parts.popitem()])
        partition = np.repeat(np.array(list(parts)), [len(one) for one in parts.values()])
        if len(parts) == 1:
            (transitions,) = parts.values()
        else:
            transitions = merged(list(parts.values()))
            order = np.argsort(transitions.rows.column("told").to_numpy(), kind="stable")
            transitions = Transitions(transitions.rows.take(order), transitions.keys, transitions.fields)
            partition = partition[order]
        return Portion(transitions, partition, places, lengths, before, _only(fingerprints))


def _place(block: int, row: int, length: int | None) -> Place:
    """Return a place; behind the last row of a block is in front of the next block."""
    return (block + 1, 0) if row == length else (block, row)


def _only(fingerprints: set[str]) -> str:
    if len(fingerprints) > 1:
        raise PositionOutOfRange(
            f"the joiner partitions were written under different chains ({', '.join(sorted(fingerprints))}): "
            "begin with empty logs and states"
        )
    return next(iter(fingerprints), "")

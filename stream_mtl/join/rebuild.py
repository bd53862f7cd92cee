"""A joiner's lost state, made anew from a part of its input, under the eyes of the log.

What can still bear on a telling lies at most `Shape.reach` back. So a new joiner begins at the end of an old block all
of whose records are older than that, passes over what is not younger than they are, and goes on from there with the
output off. The log says which exposures were opened since, and their numbers; and for the second half of the way what
was told. If that is not what the new joiner tells, it begins further back: for an id that comes again and again while it
is remembered, which repeat stood may have been decided any time before.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from stream_mtl.clock import Millis
from stream_mtl.errors import PositionOutOfRange, StateError
from stream_mtl.events.types import Events
from stream_mtl.events.watermark import Watermarks
from stream_mtl.hashing import Hashes, hash_columns
from stream_mtl.join.block import Header
from stream_mtl.join.digest import TransitionDigest
from stream_mtl.join.joiner import FATES, Joiner
from stream_mtl.join.log import TransitionLog
from stream_mtl.join.transitions import Telling, Transitions

Flags = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Way:
    """A way to the last block: from the end of `start` (None: from the beginning), agreeing from `middle` on."""

    start: Header | None
    middle: Header
    last: Header
    number: int  # of the first exposure behind `start`
    opened: Hashes  # of the exposures that were opened behind `start`, ascending
    told: str  # digest of what was told behind `middle`, or from the beginning

    def begin(self, joiner: Joiner, first: Header) -> None:
        """Put a new joiner where the way begins; `first` is the log's first header."""
        if self.start is None:
            joiner.positions = {(p.source, p.partition): p.first for p in first.progress}
            return
        after = _greatest(self.start)
        joiner.positions = {(p.source, p.partition): p.next for p in self.start.progress}
        joiner.watermarks = Watermarks.from_dict(_marks(self.start, joiner.chain.lateness))
        joiner.told_before = after + 1
        joiner.sieve = lambda events: self._passed_over(joiner, events, after)
        exposures = joiner.exposures
        exposures.ring.restore(self.number, {})
        exposures.pile.restore(self.number, [])
        exposures.untold = dict.fromkeys(exposures.untold, self.number)

    def agrees(self, joiner: Joiner, told: TransitionDigest) -> bool:
        """Return whether a joiner that came this way has told and counted what the log says."""
        if joiner.exposures.ring.next != self.last.exposures or _counts(joiner) != _counts_of(self.last):
            return False
        return told.value() == self.told

    def _passed_over(self, joiner: Joiner, events: Events, after: Millis) -> Flags:
        old: Flags = events.time <= after
        root = joiner.chain.root
        if events.kind == root.name:
            names = [*joiner.chain.key, *([root.id] if root.id is not None else [])]
            known = np.isin(_hashes(events.time, [events.fields.column(name) for name in names]), self.opened)
            old |= (events.time < self.middle.told_before) & ~known
        return old


def ways(joiner: Joiner, log: TransitionLog, last: Header) -> Iterator[Way]:
    """Yield the ways to the last block, the shortest first. Raises PositionOutOfRange when there is no further one."""
    headers = list(log.headers(log.first()))
    reach = joiner.shape.reach
    before = None
    while (start := _latest(headers, last.told_before - reach)) is not None:
        if start.block != before:
            yield _from(joiner, log, headers, start, last)
        before, reach = start.block, 2 * reach
    if not headers or headers[0].block > 0:
        raise PositionOutOfRange(
            "no checkpoint of the joiner's state verifies, and the log does not reach back far enough to make it anew: "
            f"that takes {joiner.shape.reach} ms or more before {last.told_before}. Restore the state folder, or start "
            "with an empty log and state"
        )
    told = TransitionDigest(joiner.chain.features_on_final)
    for _, transitions in log.read(headers[0].block):
        told.update(transitions)
    yield Way(None, last, last, 0, np.zeros(0, np.uint64), told.value())


def adopt(joiner: Joiner, header: Header) -> None:
    """Let a joiner that has come to the end of a block count from that block's counts on."""
    joiner.counts = _counts_of(header)
    joiner.ignored = header.ignored


def not_to_be_made(last: Header) -> StateError:
    """Return what to raise when even the way from the beginning does not lead to the last block."""
    return StateError(
        f"the joiner's state cannot be made anew: from its sources comes something else than the log holds up to block "
        f"{last.block}; restore them as they were, or start with an empty log and state"
    )


def _from(joiner: Joiner, log: TransitionLog, headers: list[Header], start: Header, last: Header) -> Way:
    after = _greatest(start)
    middle = next(h for h in headers if h.told_before > after + joiner.shape.reach // 2 or h is headers[-1])
    root = joiner.chain.root
    number: int | None = None
    opened: list[Hashes] = []
    told = TransitionDigest(joiner.chain.features_on_final)
    for header, transitions in log.read(start.block + 1):
        rows = transitions.rows
        time, kind = rows.column("time").to_numpy(), rows.column("kind").to_numpy()
        young = np.flatnonzero((kind == Telling.EXPOSED) & (time > after))
        if len(young):
            opened.append(_exposed(transitions, young, time[young], joiner.chain.key, root.id))
            number = int(rows.column("exposure")[int(young[0])].as_py()) if number is None else number
        if header.block > middle.block:
            told.update(transitions)
    hashes = np.sort(np.concatenate([np.zeros(0, np.uint64), *opened]))
    return Way(start, middle, last, last.exposures if number is None else number, hashes, told.value())


def _exposed(
    transitions: Transitions,
    rows: npt.NDArray[np.int64],
    time: npt.NDArray[np.int64],
    key: tuple[str, ...],
    id: str | None,
) -> Hashes:
    place = pa.array(transitions.rows.column("row").to_numpy()[rows])
    columns = [transitions.keys.column(name).combine_chunks().take(place) for name in key]
    if id is not None:
        columns.append(transitions.fields.column(id).combine_chunks().take(place))
    return _hashes(time, columns)


def _hashes(time: npt.NDArray[np.int64], columns: list[pa.Array]) -> Hashes:
    return hash_columns([pa.array(time), *columns])


def _latest(headers: list[Header], before: Millis) -> Header | None:
    """Return the last header all of whose records, and those before it, are older than that."""
    found = None
    for header in headers:
        if _greatest(header) < before:
            found = header
    return found


def _greatest(header: Header) -> Millis:
    """Return the latest event time of all records up to a block's end."""
    return max((p.greatest for p in header.progress if p.greatest is not None), default=header.told_before)


def _marks(start: Header, lateness: Millis) -> dict[str, dict[str, dict[str, int | None]]]:
    marks: dict[str, dict[str, dict[str, int | None]]] = {}
    for p in start.progress:
        mark = {"lateness": lateness, "greatest": p.greatest, "floor": p.watermark}
        marks.setdefault(p.source, {})[str(p.partition)] = mark
    return marks


def _counts(joiner: Joiner) -> dict[str, dict[str, int]]:
    return {kind: dict(counts) for kind, counts in joiner.counts.items()}


def _counts_of(header: Header) -> dict[str, dict[str, int]]:
    return {kind: {fate: counts[fate] for fate in FATES} for kind, counts in header.accounts.items()}

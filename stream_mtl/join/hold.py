"""Hold back, then sort: records wait here until the watermark has passed them, and leave in order of facts."""

from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from stream_mtl.clock import END, Millis
from stream_mtl.events.types import Events
from stream_mtl.join.rows import empty
from stream_mtl.join.search import Ints, order_by


@dataclass(frozen=True, slots=True)
class Facts:
    """Records of one kind in order of facts: (time, partition, position).

    The fields lie in `source`, at `rows`; they are gathered when asked for, so that what does not stand is
    never copied.
    """

    time: Ints  # (n,) ms
    partition: Ints  # (n,)
    position: Ints  # (n,)
    source: pa.RecordBatch
    rows: Ints  # (n,)

    def __len__(self) -> int:
        return len(self.time)

    def column(self, name: str) -> pa.Array:
        """Return one field of every record. (n,)"""
        return self.source.column(name).take(pa.array(self.rows))

    @property
    def fields(self) -> pa.RecordBatch:
        """All fields of every record. (n rows)"""
        return self.source.take(pa.array(self.rows))

    def take(self, rows: Ints) -> "Facts":
        """Return some of the records."""
        return Facts(self.time[rows], self.partition[rows], self.position[rows], self.source, self.rows[rows])

    def slice(self, start: int, stop: int) -> "Facts":
        """Return records [start, stop)."""
        part = slice(start, stop)
        return Facts(self.time[part], self.partition[part], self.position[part], self.source, self.rows[part])


class Hold:
    """What has arrived of one kind and was not passed yet. A batch is kept until its last row has left."""

    def __init__(self, schema: pa.Schema) -> None:
        self.schema = schema
        self._batches: dict[int, pa.RecordBatch] = {}
        self._serial = 0
        none = np.zeros(0, np.int64)
        self._columns = (none, none, none, none, none)  # time, partition, position, batch, row

    def __len__(self) -> int:
        return len(self._columns[0])

    def add(self, events: Events, partition: int) -> None:
        """Take records of one partition, in log order."""
        n = len(events)
        if n == 0:
            return
        self._batches[self._serial] = events.fields
        new = (
            events.time,
            np.full(n, partition),
            events.position,
            np.full(n, self._serial),
            np.arange(n),
        )
        self._columns = tuple(np.concatenate(pair) for pair in zip(self._columns, new, strict=True))  # type: ignore[assignment]
        self._serial += 1

    def release(self, watermark: Millis) -> Facts:
        """Give up every record older than the watermark, in order of facts."""
        if len(self) == 0:
            return nothing(self.schema)
        leaving = self._columns[0] < watermark
        if leaving.all():
            chosen, rest = self._columns, tuple(column[:0] for column in self._columns)
        else:
            chosen = tuple(column[leaving] for column in self._columns)  # type: ignore[assignment]
            rest = tuple(column[~leaving] for column in self._columns)
        self._columns = rest  # type: ignore[assignment]
        facts = self._gather(chosen)
        kept = set(self._columns[3].tolist()) if len(self) < 64 else set(np.unique(self._columns[3]).tolist())
        self._batches = {serial: batch for serial, batch in self._batches.items() if serial in kept}
        return facts

    def _gather(self, chosen: tuple[Ints, ...]) -> Facts:
        time, partition, position, batch, row = chosen
        order = order_by(time, partition, position)
        if len(order) == 0:
            return nothing(self.schema)
        if bool((batch == batch[0]).all()):
            source = self._batches[int(batch[0])]
            return Facts(time[order], partition[order], position[order], source, row[order])
        serials = np.unique(batch)
        by_batch = np.argsort(batch, kind="stable")
        cuts = np.searchsorted(batch[by_batch], serials[1:])
        parts = [
            self._part(int(serial), row[rows])
            for serial, rows in zip(serials, np.split(by_batch, cuts), strict=True)
        ]
        back = np.empty(len(order), np.int64)
        back[by_batch] = np.arange(len(order))
        return Facts(time[order], partition[order], position[order], pa.concat_batches(parts), back[order])

    def _part(self, serial: int, rows: Ints) -> pa.RecordBatch:
        """Return rows of one batch; a run of them, as most are, without a gather."""
        first, last = int(rows[0]), int(rows[-1])
        if last - first + 1 == len(rows):
            return self._batches[serial].slice(first, len(rows))
        return self._batches[serial].take(pa.array(rows))

    def oldest(self) -> Millis:
        """Return the least time held, or END."""
        return int(self._columns[0].min(initial=END))

    def contents(self) -> Facts:
        """Return all that is held, in order of facts, leaving it here."""
        return self._gather(self._columns)

    def restore(self, facts: Facts) -> None:
        """Hold just these records."""
        self.__init__(self.schema)  # type: ignore[misc]
        if len(facts):
            self._batches[0] = facts.fields
            n = len(facts)
            self._columns = (facts.time, facts.partition, facts.position, np.zeros(n, np.int64), np.arange(n))
            self._serial = 1


def nothing(schema: pa.Schema) -> Facts:
    """Return no facts."""
    none = np.zeros(0, np.int64)
    return Facts(none, none, none, empty(schema), none)

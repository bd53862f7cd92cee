"""Hold back, then sort: records wait here until the watermark has passed them, and leave in order of facts."""

from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from stream_mtl.clock import Millis
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


_ROW_BITS = 32


class Hold:
    """What has arrived of one kind and was not passed yet. A batch is kept until its last row has left.

    Of each record it has the time and where it lies: (number of its batch, row).
    """

    def __init__(self, schema: pa.Schema) -> None:
        self.schema = schema
        self._batches: dict[
            int, tuple[pa.RecordBatch, Ints, Ints]
        ] = {}  # with partition and position of each row
        self._serial = 0
        self._time = self._place = np.zeros(0, np.int64)

    def __len__(self) -> int:
        return len(self._time)

    def add(self, events: Events, partition: int) -> None:
        """Take records of one partition, in log order."""
        self._add(
            events.time, np.broadcast_to(np.int64(partition), len(events)), events.position, events.fields
        )

    def _add(self, time: Ints, partition: Ints, position: Ints, fields: pa.RecordBatch) -> None:
        if len(time) == 0:
            return
        place = np.arange(len(time)) + (self._serial << _ROW_BITS)
        self._batches[self._serial] = fields, partition, position
        self._time, self._place = np.concatenate([self._time, time]), np.concatenate([self._place, place])
        self._serial += 1

    def release(self, watermark: Millis) -> Facts:
        """Give up every record older than the watermark, in order of facts."""
        leaving = self._time < watermark
        if leaving.all():
            facts = self._gather(self._time, self._place)
            self._batches.clear()
            self._time = self._place = self._time[:0]
            return facts
        facts = self._gather(self._time[leaving], self._place[leaving])
        self._time, self._place = self._time[~leaving], self._place[~leaving]
        kept = set((self._place >> _ROW_BITS).tolist())
        self._batches = {serial: batch for serial, batch in self._batches.items() if serial in kept}
        return facts

    def _gather(self, time: Ints, place: Ints) -> Facts:
        if len(time) == 0:
            return nothing(self.schema)
        serial, row = place >> _ROW_BITS, place & ((1 << _ROW_BITS) - 1)
        heads = np.flatnonzero(np.diff(serial, prepend=-1))  # batches lie in the order of their arrival
        parts = [
            self._part(int(serial[head]), rows)
            for head, rows in zip(heads, np.split(row, heads[1:]), strict=True)
        ]
        partition = np.concatenate([part[1] for part in parts])
        position = np.concatenate([part[2] for part in parts])
        order = order_by(time, partition.take, position.take)
        source = pa.concat_batches([part[0] for part in parts]) if len(parts) > 1 else parts[0][0]
        return Facts(time[order], partition[order], position[order], source, order)

    def _part(self, serial: int, rows: Ints) -> tuple[pa.RecordBatch, Ints, Ints]:
        """Return rows of one batch; a run of them, as most are, without a gather."""
        fields, partition, position = self._batches[serial]
        first, last = int(rows[0]), int(rows[-1])
        if last - first + 1 == len(rows):
            return fields.slice(first, len(rows)), partition[first : last + 1], position[first : last + 1]
        return fields.take(pa.array(rows)), partition[rows], position[rows]

    def contents(self) -> Facts:
        """Return all that is held, in order of facts, leaving it here."""
        return self._gather(self._time, self._place)

    def restore(self, facts: Facts) -> None:
        """Hold just these records."""
        self._batches, self._time, self._place = {}, facts.time[:0], facts.time[:0]
        self._add(facts.time, facts.partition, facts.position, facts.fields)


def nothing(schema: pa.Schema) -> Facts:
    """Return no facts."""
    none = np.zeros(0, np.int64)
    return Facts(none, none, none, empty(schema), none)

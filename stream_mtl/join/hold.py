"""Hold back, then sort: records wait here until the watermark has passed them, and leave in order of facts."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
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


@dataclass(frozen=True, slots=True)
class _Held:
    """What is left of one arrival, in order of positions; its fields are those at `rows`, None: all of them."""

    time: Ints
    partition: Ints
    position: Ints
    fields: pa.RecordBatch
    rows: Ints | None
    first: Millis  # the least time
    last: Millis  # the greatest

    @classmethod
    def of(
        cls, time: Ints, partition: Ints, position: Ints, fields: pa.RecordBatch, rows: Ints | None = None
    ) -> "_Held":
        return cls(time, partition, position, fields, rows, int(time.min()), int(time.max()))

    def only(self, chosen: npt.NDArray[np.bool_]) -> "_Held":
        """Return some of it, which must not be none."""
        rows = np.flatnonzero(chosen) if self.rows is None else self.rows[chosen]
        return _Held.of(self.time[chosen], self.partition[chosen], self.position[chosen], self.fields, rows)

    def gathered(self) -> pa.RecordBatch:
        """Return the fields of what is left; a run of rows, as most are, is not copied."""
        if self.rows is None:
            return self.fields
        first = int(self.rows[0])
        if int(self.rows[-1]) - first + 1 == len(self.rows):
            return self.fields.slice(first, len(self.rows))
        return self.fields.take(pa.array(self.rows))


class Hold:
    """What has arrived of one kind and was not passed yet. An arrival is kept until its last row has left."""

    def __init__(self, schema: pa.Schema) -> None:
        self.schema = schema
        self._held: list[_Held] = []
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def add(self, events: Events, partition: int) -> None:
        """Take records of one partition, in log order."""
        self._add(events.time, np.full(len(events), partition), events.position, events.fields)

    def _add(self, time: Ints, partition: Ints, position: Ints, fields: pa.RecordBatch) -> None:
        if len(time):
            self._held.append(_Held.of(time, partition, position, fields))
            self._count += len(time)

    def release(self, watermark: Millis) -> Facts:
        """Give up every record older than the watermark, in order of facts."""
        leaving, staying = [], []
        for held in self._held:
            if held.first >= watermark:
                staying.append(held)
            elif held.last < watermark:
                leaving.append(held)
            else:
                old = held.time < watermark
                leaving.append(held.only(old))
                staying.append(held.only(~old))
        self._held = staying
        facts = _in_order(leaving, self.schema)
        self._count -= len(facts)
        return facts

    def contents(self) -> Facts:
        """Return all that is held, in order of facts, leaving it here."""
        return _in_order(self._held, self.schema)

    def restore(self, facts: Facts) -> None:
        """Hold just these records."""
        self._held, self._count = [], 0
        self._add(facts.time, facts.partition, facts.position, facts.fields)


def _in_order(parts: list[_Held], schema: pa.Schema) -> Facts:
    if not parts:
        return nothing(schema)
    batches = [part.gathered() for part in parts]
    time, partition, position = parts[0].time, parts[0].partition, parts[0].position
    if len(parts) > 1:
        time = np.concatenate([part.time for part in parts])
        partition = np.concatenate([part.partition for part in parts])
        position = np.concatenate([part.position for part in parts])
    order = order_by(time, partition.take, position.take)
    source = pa.concat_batches(batches) if len(batches) > 1 else batches[0]
    return Facts(time[order], partition[order], position[order], source, order)


def nothing(schema: pa.Schema) -> Facts:
    """Return no facts."""
    none = np.zeros(0, np.int64)
    return Facts(none, none, none, empty(schema), none)

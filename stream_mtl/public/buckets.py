"""Events in order of time, sorted outside of memory: put into one bucket a day, and each day sorted by itself."""

from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa

from stream_mtl.clock import DAY
from stream_mtl.errors import DataError
from stream_mtl.public.base import TIME

MOST_DAYS = 5_000
"""Days that the events of one kind may lie in: each costs files."""


class Buckets:
    """Events of one kind. No more than `memory` bytes and one day's events are in memory at a time."""

    def __init__(self, folder: Path, memory: int) -> None:
        """`folder` is a new one, for the buckets."""
        self._folder, self._memory = folder, memory
        self._held: dict[int, list[pa.Table]] = defaultdict(list)
        self._bytes = 0
        self._parts: dict[int, list[Path]] = defaultdict(list)
        self.rows = 0
        folder.mkdir(parents=True)

    def add(self, events: pa.Table) -> None:
        """Take events in any order. Raises DataError if they lie in too many days for a log."""
        day = events.column(TIME).to_numpy() // DAY
        if len(day) == 0:
            return
        order = np.argsort(day, kind="stable")
        borders = np.flatnonzero(np.diff(day[order], prepend=-1))
        sorted_ = events.take(pa.array(order))
        for start, stop in zip(borders.tolist(), [*borders[1:].tolist(), len(day)], strict=True):
            self._held[int(day[order[start]])].append(sorted_.slice(start, stop - start))
        self.rows += len(day)
        self._bytes += events.nbytes
        if len(self._held.keys() | self._parts.keys()) > MOST_DAYS:
            raise DataError(
                f"the events lie in more than {MOST_DAYS:,} different days; are their times in seconds?"
            )
        if self._bytes > self._memory:
            self._spill()

    def days(self, key: str) -> Iterator[pa.Table]:
        """Give the events day by day, in order of time and, in one instant, of `key`."""
        for day in sorted(self._held.keys() | self._parts.keys()):
            parts = [*map(_read, self._parts.get(day, [])), *self._held.pop(day, [])]
            yield pa.concat_tables(parts).combine_chunks().sort_by([(TIME, "ascending"), (key, "ascending")])

    def _spill(self) -> None:
        for day, tables in self._held.items():
            path = self._folder / f"{day}-{len(self._parts[day])}.arrow"
            table = pa.concat_tables(tables)
            with pa.OSFile(str(path), "wb") as file, pa.ipc.new_file(file, table.schema) as writer:
                writer.write_table(table)
            self._parts[day].append(path)
        self._held.clear()
        self._bytes = 0


def _read(path: Path) -> pa.Table:
    with pa.OSFile(str(path)) as file:
        return pa.ipc.open_file(file).read_all()

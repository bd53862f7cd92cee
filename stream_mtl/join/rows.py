"""Rows by number: growing numeric columns and record batches that are appended behind and forgotten in front."""

from bisect import bisect_right
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from stream_mtl.join.search import runs

Rows = npt.NDArray[np.int64]  # (n,) row numbers

_LEAST = 1 << 8  # rows that a ring has room for
_LARGE = 1 << 13  # a batch of so many rows stays as it is
_MERGE_ROWS = 1 << 15
_MERGE_BATCHES = 32


class Ring:
    """Numeric columns addressed by row number; rows before `first` are gone, `next` is the next to be written.

    The columns are circular buffers of any size: a gather is one fancy index, and dropping costs nothing. They grow
    by half when they are full, and shrink after a lap in which a third of them was enough.
    """

    def __init__(self, **dtypes: npt.DTypeLike) -> None:
        self.first = 0
        self.next = 0
        self._lap = 0  # the row at place 0; those before it lie at the end, where negative places count from
        self._size = _LEAST
        self._most = 0  # rows there were at once in this lap
        self.columns: dict[str, npt.NDArray[Any]] = {n: np.zeros(_LEAST, d) for n, d in dtypes.items()}

    def __len__(self) -> int:
        return self.next - self.first

    def append(self, count: int, values: Mapping[str, Any]) -> Rows:
        """Add `count` rows (values are arrays of that length, or scalars) and return their numbers."""
        self._most = max(self._most, len(self) + count)
        if self._most > self._size:
            self._lay(_roomy(self._most))
        start, end = self.next - self._lap, self.next - self._lap + count
        for name, column in self.columns.items():
            value = values[name]
            if end <= self._size:
                column[start:end] = value
            else:
                column[np.arange(start - self._size, end - self._size)] = value
        self.next += count
        if end >= self._size:
            self._turn()
        return np.arange(self.next - count, self.next)

    def get(self, name: str, rows: Rows) -> npt.NDArray[Any]:
        """Return a column's values at these rows, which must be live."""
        values: npt.NDArray[Any] = self.columns[name][rows - self._lap]
        return values

    def put(self, name: str, rows: Rows, values: Any) -> None:
        """Set a column's values at these rows, which must be live."""
        self.columns[name][rows - self._lap] = values

    def range(self, name: str, start: int, stop: int) -> npt.NDArray[Any]:
        """Return a column's values at rows [start, stop), which must be live, as a view where it can be one."""
        column, low, high = self.columns[name], start - self._lap, stop - self._lap
        if low >= 0:
            return column[low:high]
        if high <= 0:
            return column[low + self._size : high + self._size]
        return np.concatenate([column[low:], column[:high]])

    def bisect(self, name: str, value: int, start: int) -> int:
        """Return the first row at or after `start` whose value is >= `value`, in a column that never falls.

        The search gallops from `start`, so that a step costs the logarithm of its own length.
        """
        low, width = start, 64
        while low + width < self.next and self.columns[name][low + width - self._lap] < value:
            low, width = low + width, width * 2
        high = min(low + width, self.next)
        return low + int(np.searchsorted(self.range(name, low, high), value))

    def drop_before(self, row: int) -> None:
        """Forget the rows before `row`."""
        self.first = max(self.first, min(row, self.next))

    def _turn(self) -> None:
        """Begin the next lap."""
        self._lap += self._size
        if _roomy(self._most) * 2 < self._size:
            self._lay(_roomy(self._most))
        self._most = len(self)

    def _lay(self, size: int) -> None:
        """Move the live rows into columns of another size."""
        for name, column in self.columns.items():
            moved = np.zeros(size, column.dtype)
            moved[: len(self)] = self.range(name, self.first, self.next)
            self.columns[name] = moved
        self._lap, self._size = self.first, size

    @property
    def nbytes(self) -> int:
        """Bytes that the columns take, room to grow included."""
        return sum(column.nbytes for column in self.columns.values())

    def live(self) -> dict[str, npt.NDArray[Any]]:
        """Return copies of the live rows of every column, oldest first."""
        return {name: self.range(name, self.first, self.next).copy() for name in self.columns}

    def restore(self, first: int, columns: Mapping[str, npt.NDArray[Any]]) -> None:
        """Become the ring whose live rows these are."""
        self.first = self.next = self._lap = first
        if columns:
            self.append(len(next(iter(columns.values()))), columns)


def _roomy(count: int) -> int:
    return max(count + count // 2, _LEAST)


class Pile:
    """Record batches of one schema, addressed by row number, appended behind and forgotten in front.

    Small young batches are merged, up to 32 at a time and about 32,768 rows together, so that a gather of
    scattered rows touches few batches and a row is copied once at the most, or nearly.
    """

    def __init__(self, schema: pa.Schema) -> None:
        self.schema = schema
        self.next = 0
        self._batches: list[pa.RecordBatch] = []
        self._starts: list[int] = []
        self._young = 0  # batches at the end that may still be merged

    def append(self, batch: pa.RecordBatch) -> None:
        """Add rows; they take the next numbers."""
        if batch.num_rows == 0:
            return
        self._batches.append(batch)
        self._starts.append(self.next)
        self.next += batch.num_rows
        self._young += 1
        grown = self.next - self._starts[-self._young] >= _MERGE_ROWS
        if self._young == 1 and batch.num_rows >= _LARGE:
            self._young = 0
        elif grown or self._young > _MERGE_BATCHES:
            self._batches[-self._young :] = [pa.concat_batches(self._batches[-self._young :])]
            del self._starts[len(self._batches) :]
            self._young = 0 if grown else 1

    def take(self, rows: Rows, names: Sequence[str] | None = None) -> pa.RecordBatch:
        """Gather rows, in the order asked for; of the named columns, or of all."""
        if len(rows) == 0:
            return empty(self.schema if names is None else pa.schema([self.schema.field(n) for n in names]))
        low, high = int(rows.min()), int(rows.max())
        first = bisect_right(self._starts, low) - 1
        if high < self._starts[first] + self._batches[first].num_rows:
            return self._part(first, rows, names)
        order = None
        if bool((rows[1:] < rows[:-1]).any()):
            order = np.argsort(rows, kind="stable")
            rows = rows[order]
        of = np.searchsorted(self._starts, rows, "right") - 1
        heads = np.flatnonzero(runs(of))
        split = zip(of[heads].tolist(), heads.tolist(), [*heads[1:].tolist(), len(rows)], strict=True)
        gathered = pa.concat_batches([self._part(batch, rows[i:j], names) for batch, i, j in split])
        if order is None:
            return gathered
        back = np.empty(len(order), np.int64)
        back[order] = np.arange(len(order))
        return gathered.take(pa.array(back))

    def _part(self, batch: int, rows: Rows, names: Sequence[str] | None) -> pa.RecordBatch:
        held = self._batches[batch] if names is None else self._batches[batch].select(list(names))
        return held.take(pa.array(rows - self._starts[batch]))

    def slices(self, start: int, stop: int) -> list[pa.RecordBatch]:
        """Return rows [start, stop) without copying them."""
        out = []
        for place in range(max(bisect_right(self._starts, start) - 1, 0), len(self._starts)):
            first, batch = self._starts[place], self._batches[place]
            low, high = max(start, first), min(stop, first + batch.num_rows)
            if first >= stop:
                break
            if low < high:
                out.append(batch.slice(low - first, high - low))
        return out

    def drop_before(self, row: int) -> None:
        """Forget the batches that lie wholly before `row`."""
        gone = 0
        while gone < len(self._batches) and self._starts[gone] + self._batches[gone].num_rows <= row:
            gone += 1
        if gone:
            del self._batches[:gone]
            del self._starts[:gone]
            self._young = min(self._young, len(self._batches))

    @property
    def first(self) -> int:
        """The first row that is still held."""
        return self._starts[0] if self._starts else self.next

    @property
    def nbytes(self) -> int:
        """Bytes of all rows that are held."""
        return sum(batch.nbytes for batch in self._batches)

    def parts(self) -> Iterator[tuple[int, pa.RecordBatch, bool]]:
        """Return each batch with its first row and whether it will stay as it is."""
        settled = len(self._batches) - self._young
        for place, (start, batch) in enumerate(zip(self._starts, self._batches, strict=True)):
            yield start, batch, place < settled

    def restore(self, first: int, batches: Sequence[pa.RecordBatch]) -> None:
        """Become the pile that holds these batches from row `first` on."""
        self._batches, self._starts, self.next, self._young = [], [], first, 0
        for batch in batches:
            self._batches.append(batch)
            self._starts.append(self.next)
            self.next += batch.num_rows


def empty(schema: pa.Schema) -> pa.RecordBatch:
    """Return a batch without rows."""
    return pa.RecordBatch.from_arrays([pa.array([], field.type) for field in schema], schema=schema)

"""Rows by number: growing numeric columns and record batches that are appended behind and forgotten in front."""

from bisect import bisect_right
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from stream_mtl.join.search import runs

Rows = npt.NDArray[np.int64]  # (n,) row numbers

_LARGE = 1 << 13  # a batch of so many rows stays as it is
_MERGE_ROWS = 1 << 15
_MERGE_BATCHES = 32


class Ring:
    """Numeric columns addressed by row number; rows before `first` are gone, `next` is the next to be written.

    The columns are circular buffers whose size is a power of two: a gather is one fancy index, and dropping
    costs nothing.
    """

    def __init__(self, **dtypes: npt.DTypeLike) -> None:
        self.first = 0
        self.next = 0
        self._size = 1 << 10
        self.columns: dict[str, npt.NDArray[Any]] = {n: np.zeros(self._size, d) for n, d in dtypes.items()}

    def __len__(self) -> int:
        return self.next - self.first

    def append(self, count: int, values: Mapping[str, Any]) -> Rows:
        """Add `count` rows (values are arrays of that length, or scalars) and return their numbers."""
        self._reserve(len(self) + count)
        numbers = np.arange(self.next, self.next + count)
        places = numbers & (self._size - 1)
        for name, column in self.columns.items():
            column[places] = values[name]
        self.next += count
        return numbers

    def get(self, name: str, rows: Rows) -> npt.NDArray[Any]:
        """Return a column's values at these rows, which must be live."""
        values: npt.NDArray[Any] = self.columns[name][rows & (self._size - 1)]
        return values

    def put(self, name: str, rows: Rows, values: Any) -> None:
        """Set a column's values at these rows."""
        self.columns[name][rows & (self._size - 1)] = values

    def range(self, name: str, start: int, stop: int) -> npt.NDArray[Any]:
        """Return a column's values at rows [start, stop), as a view where it can be one."""
        low, high = start & (self._size - 1), stop & (self._size - 1)
        if start == stop or low < high:
            return self.columns[name][low : low + (stop - start)]
        return np.concatenate([self.columns[name][low:], self.columns[name][:high]])

    def bisect(self, name: str, value: int, start: int) -> int:
        """Return the first row at or after `start` whose value is >= `value`, in a column that never falls.

        The search gallops from `start`, so that a step costs the logarithm of its own length.
        """
        low, width = start, 64
        while low + width < self.next and self._at(name, low + width) < value:
            low, width = low + width, width * 2
        high = min(low + width, self.next)
        return low + int(np.searchsorted(self.range(name, low, high), value))

    def drop_before(self, row: int) -> None:
        """Forget the rows before `row`."""
        self.first = max(self.first, min(row, self.next))

    def _at(self, name: str, row: int) -> Any:
        return self.columns[name][row & (self._size - 1)]

    def _reserve(self, count: int) -> None:
        if count <= self._size:
            return
        live = np.arange(self.first, self.next)
        size = self._size
        while size < count:
            size *= 2
        for name, column in self.columns.items():
            grown = np.zeros(size, column.dtype)
            grown[live & (size - 1)] = column[live & (self._size - 1)]
            self.columns[name] = grown
        self._size = size

    @property
    def nbytes(self) -> int:
        """Bytes that the columns take, room to grow included."""
        return sum(column.nbytes for column in self.columns.values())

    def live(self) -> dict[str, npt.NDArray[Any]]:
        """Return copies of the live rows of every column, oldest first."""
        return {name: self.range(name, self.first, self.next).copy() for name in self.columns}

    def restore(self, first: int, columns: Mapping[str, npt.NDArray[Any]]) -> None:
        """Become the ring whose live rows these are."""
        self.first = self.next = first
        if columns:
            self.append(len(next(iter(columns.values()))), columns)


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

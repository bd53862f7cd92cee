"""The cells of several columns read at once, as hashes or as numbers: where there are few rows, calls are what costs."""

from collections import defaultdict
from collections.abc import Iterator, Mapping

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from stream_mtl.errors import ConfigError
from stream_mtl.hashing import Hashes, hash_columns

TOGETHER = 1 << 14
"""Cells read at once, unless one column has more: what is made of them should stay in the processor's cache."""

_GREATEST = 1e38  # beyond, a sum of squares could overflow


def hash_each(columns: Mapping[str, pa.Array]) -> dict[str, Hashes]:
    """Return the hashes of each feature's column, (its length,). Raises ConfigError for a type that has none."""
    found: dict[str, Hashes] = {}
    for some in _alike({name: _hashable(column) for name, column in columns.items()}):
        try:
            hashes = hash_columns([_joined(some)])
        except TypeError as error:
            text = f"features.{next(iter(some))}: {error}; declare it as a sequence, or leave it out"
            raise ConfigError(text) from error
        start = 0
        for name, column in some.items():
            found[name] = hashes[start : start + len(column)]
            start += len(column)
    return found


def read_numbers(
    columns: Mapping[str, pa.Array], rows: int
) -> tuple[dict[str, npt.NDArray[np.float64]], npt.NDArray[np.bool_]]:
    """Return the numbers of each feature's column, (rows,), nan where there is none; and which rows are bad, (rows,).

    A row is bad if a cell of it is there and not finite. Raises ConfigError for a type that is not of numbers.
    """
    found: dict[str, npt.NDArray[np.float64]] = {}
    bad = np.zeros(rows, np.bool_)
    for some in _alike({name: _floats(name, column) for name, column in columns.items()}):
        cells = _joined(some)
        values = cells.to_numpy(zero_copy_only=False).reshape(len(some), rows)
        finite = np.abs(values) <= _GREATEST
        if not finite.all():
            known = cells.is_valid().to_numpy(zero_copy_only=False).reshape(values.shape)
            bad |= (known & ~finite).any(axis=0)
            values = np.where(finite, values, np.nan)
        found.update(zip(some, values, strict=True))
    return found, bad


def _alike(columns: Mapping[str, pa.Array]) -> Iterator[dict[str, pa.Array]]:
    """Give columns of one type and of at most `TOGETHER` cells, or one column, at a time."""
    kinds: defaultdict[pa.DataType, dict[str, pa.Array]] = defaultdict(dict)
    for name, column in columns.items():
        some = kinds[column.type]
        if some and sum(map(len, some.values())) + len(column) > TOGETHER:
            yield kinds.pop(column.type)
        kinds[column.type][name] = column
    yield from kinds.values()


def _joined(columns: Mapping[str, pa.Array]) -> pa.Array:
    """Return the cells of columns, of which there is at least one, one column after the other."""
    one, *more = columns.values()
    return pa.concat_arrays([one, *more]) if more else one


def _hashable(column: pa.Array) -> pa.Array:
    kind = column.type
    if pa.types.is_null(kind):
        return column.cast(pa.int64())
    if pa.types.is_large_string(kind) or pa.types.is_dictionary(kind):
        return column.cast(pa.string())
    return column


def _floats(name: str, column: pa.Array) -> pa.Array:
    kind = column.type
    if pa.types.is_boolean(kind):
        column = column.cast(pa.int8())
    elif not (pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_null(kind)):
        raise ConfigError(f"features.{name}: a number cannot be read from a column of {kind}")
    return column if kind == pa.float64() else column.cast(pa.float64(), safe=False)  # beyond 2**53: rounded

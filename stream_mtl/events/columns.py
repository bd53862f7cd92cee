"""Arrow columns as numpy sees them, and back."""

from collections.abc import Sequence
from typing import Final, TypeAlias

import numpy as np
import numpy.typing as npt
import pyarrow as pa

Bytes: TypeAlias = npt.NDArray[np.uint8]
Numbers: TypeAlias = npt.NDArray[np.int64]
Mask: TypeAlias = npt.NDArray[np.bool_]

NULL_TEXT: Final = pa.scalar(None, pa.string())
_ONE: Final = np.zeros(1, np.int32)


def batch(names: Sequence[str], columns: Sequence[pa.Array], rows: int) -> pa.RecordBatch:
    """Return columns as a record batch that has this many rows even if it has no column."""
    if not columns:
        return pa.RecordBatch.from_struct_array(pa.array([{}] * rows, pa.struct([])))
    return pa.RecordBatch.from_arrays(list(columns), names=list(names))


def mask_of(found: pa.Array) -> Mask:
    """Return Arrow booleans (n,) as a mask, null being False."""
    mask: Mask = np.asarray(found.fill_null(False))
    return mask


def valid(column: pa.Array) -> Mask:
    """Return which values (n,) are not null."""
    return np.ones(len(column), bool) if column.null_count == 0 else mask_of(column.is_valid())


def offsets_of(column: pa.Array) -> npt.NDArray[np.int32]:
    """Return the offsets (n + 1,) of texts or lists."""
    offsets = column.buffers()[1]
    if offsets is None:
        return _ONE
    return np.frombuffer(offsets, np.int32)[column.offset : column.offset + len(column) + 1]


def spans_of(texts: pa.Array) -> tuple[npt.NDArray[np.int32], Bytes]:
    """Return the offsets (n + 1,) of texts, and the bytes that they point into."""
    data = texts.buffers()[2]
    return offsets_of(texts), np.frombuffer(data, np.uint8) if data else np.empty(0, np.uint8)

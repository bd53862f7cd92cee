"""A keyed, stable 64-bit hash of Arrow columns, vectorised: equal values give equal hashes in every process."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pyarrow as pa

Hashes = npt.NDArray[np.uint64]  # (n,)

_M1 = np.uint64(0xBF58476D1CE4E5B9)
_M2 = np.uint64(0x94D049BB133111EB)
_ODD = np.uint64(0x9E3779B97F4A7C15)
_NULL = np.uint64(0xD6E8FEB86659FD93)
_S30, _S27, _S31 = np.uint64(30), np.uint64(27), np.uint64(31)


def mix(x: Hashes) -> Hashes:
    """Scramble each word so that every bit depends on every bit (splitmix64's finaliser)."""
    x = (x ^ (x >> _S30)) * _M1
    x = (x ^ (x >> _S27)) * _M2
    return x ^ (x >> _S31)


def hash_columns(columns: Sequence[pa.Array], seed: int = 0) -> Hashes:
    """Hash rows of several columns of equal length, order of columns included. Nulls hash as a value of their own.

    Words are added up, each times an odd number of its own, and scrambled once at the end. Raises TypeError for
    columns that are neither numbers, booleans nor texts.
    """
    state = np.full(len(columns[0]), np.uint64(seed & (2**64 - 1)) * _ODD ^ _NULL, dtype=np.uint64)
    for column in columns:
        state *= _ODD
        state += _words(column)
    return mix(state)


def hash_column(column: pa.Array) -> Hashes:
    """Hash one column. Raises TypeError as `hash_columns` does."""
    return mix(_words(column))


def _words(column: pa.Array) -> Hashes:
    """Return one word for each value, equal for equal values; not scrambled."""
    kind = column.type
    if pa.types.is_string(kind) or pa.types.is_binary(kind):
        words = _text_words(column)
    elif pa.types.is_boolean(kind) or pa.types.is_integer(kind) or pa.types.is_floating(kind):
        wide = column.cast(pa.float64() if pa.types.is_floating(kind) else pa.int64())
        filled = wide.fill_null(0) if wide.null_count else wide
        words = filled.to_numpy(zero_copy_only=False).view(np.uint64)
    else:
        raise TypeError(f"cannot hash a column of type {kind}")
    if column.null_count:
        words = np.where(column.is_null().to_numpy(zero_copy_only=False), _NULL, words)
    return words


def text_spans(
    column: pa.Array,
) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Return (bytes, starts, lengths) of a text column, without a copy of the bytes."""
    _, offset_buffer, data_buffer = column.buffers()
    if len(column) == 0 or offset_buffer is None:
        zeros = np.zeros(len(column), np.int64)
        return np.zeros(0, np.uint8), zeros, zeros
    offsets = np.frombuffer(offset_buffer, np.int32)[column.offset : column.offset + len(column) + 1]
    data = np.frombuffer(data_buffer, np.uint8) if data_buffer is not None else np.zeros(0, np.uint8)
    starts = offsets[:-1].astype(np.int64)
    return data, starts, np.diff(offsets).astype(np.int64)


def _text_words(column: pa.Array) -> Hashes:
    data, starts, lengths = text_spans(column)
    state = lengths.view(np.uint64) + _ODD
    longest = int(lengths.max(initial=0))
    if longest == 0:
        return state
    if longest % 8 == 0 and int(lengths.min()) == longest:
        return _equal_lengths(state, data, int(starts[0]), len(column), longest)
    begin = int(starts[0])
    padded = np.concatenate([data[begin : int(starts[-1] + lengths[-1])], np.zeros(8, np.uint8)])
    starts = starts - begin
    windows = np.ndarray((len(padded) - 7,), np.uint64, padded, strides=(1,))  # the 8 bytes from each byte on
    for done in range(0, longest, 8):
        rows = np.flatnonzero(lengths > done)
        words = windows[starts[rows] + done]
        spare = np.maximum(8 - (lengths[rows] - done), 0).astype(np.uint64) * np.uint64(8)
        state[rows] = _step(state[rows], words << spare)
    return state


def _equal_lengths(state: Hashes, data: npt.NDArray[np.uint8], start: int, n: int, length: int) -> Hashes:
    words = data[start : start + n * length].reshape(n, length).view(np.uint64)
    for word in range(length // 8):
        state = _step(state, words[:, word])
    return state


def _step(state: Hashes, word: Hashes) -> Hashes:
    return (state ^ (state >> _S31)) * _M1 + word

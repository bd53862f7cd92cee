"""Columns to Avro rows: a few numpy steps per field, no object per row."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from stream_mtl.errors import SchemaError
from stream_mtl.hashing import text_spans

Bytes = npt.NDArray[np.uint8]
Ints = npt.NDArray[np.int64]
Words = npt.NDArray[np.uint64]

_WORD = 8
_ROOM = 8 << 20  # bytes in which rows are laid out at a time


@dataclass(frozen=True, slots=True)
class Piece:
    """Up to eight bytes of every row, the first in the lowest place of its word."""

    word: Words  # (n,) or (1,)
    size: Ints  # (n,) or (1,): how many of them count


def encode(table: pa.Table, schema: Mapping[str, Any], prefix: bytes = b"") -> tuple[Bytes, Ints, Ints]:
    """Return all rows as Avro bodies, each behind the same prefix of up to 8 bytes: (data, starts, ends).

    The schema is a record of long, double, boolean, string, arrays of these, and unions of null and one of
    them. Raises SchemaError for any other, and for a null where the schema has none.
    """
    types = [(field["name"], field["type"]) for field in schema["fields"]]
    columns = [(_flat(table.column(name)), type_) for name, type_ in types]
    head = Piece(np.frombuffer(prefix.ljust(_WORD, b"\0"), "<u8"), np.array([len(prefix)]))
    return _encode(columns, table.num_rows, head)


def frame_confluent(table: pa.Table, schema: Mapping[str, Any], schema_id: int) -> tuple[Bytes, Ints, Ints]:
    """Return all rows as a schema registry has them, 0, four bytes of id, body: (data, starts, ends)."""
    return encode(table, schema, b"\0" + schema_id.to_bytes(4, "big"))


def _encode(columns: Sequence[tuple[pa.Array, Any]], n: int, head: Piece) -> tuple[Bytes, Ints, Ints]:
    datas, sizes = [np.zeros(0, np.uint8)], [np.zeros(0, np.int64)]
    begin, step = 0, _FIRST
    while begin < n:
        count = min(step, n - begin)
        pieces = [head, *(p for column, type_ in columns for p in _pieces(column.slice(begin, count), type_))]
        total = np.zeros(count, np.int64)
        for piece in pieces:
            total += piece.size
        width = int(total.max()) + _WORD
        step = max(1, _ROOM // width)
        if count > 2 * step:
            continue
        datas.append(_laid_out(pieces, total, width))
        sizes.append(total)
        begin += count
    ends = np.cumsum(np.concatenate(sizes))
    return np.concatenate(datas), ends - np.concatenate(sizes), ends


def _laid_out(pieces: Sequence[Piece], total: Ints, width: int) -> Bytes:
    """Return the rows one behind the other.

    Each piece is stored as a whole word; the next one overwrites what was too much, and behind a row's last
    there is room for it that is left out.
    """
    n = len(total)
    room = np.empty(n * width, np.uint8)
    words = np.ndarray((n * width - _WORD + 1,), "<u8", buffer=room.data, strides=(1,))
    at = np.arange(0, n * width, width)
    for piece in pieces:
        words[at] = piece.word
        at = at + piece.size
    return np.asarray(room.reshape(n, width)[np.arange(width) < total[:, None]])


def _pieces(column: pa.Array, type_: Any) -> Iterator[Piece]:
    """Yield what one field adds to every row."""
    if isinstance(type_, list):
        yield from _nullable(column, type_)
        return
    name = type_ if isinstance(type_, str) else type_["type"]
    if column.null_count:
        raise SchemaError(f"a column of {column.type} holds nulls, but its schema says {name}")
    if name == "array":
        yield from _array(column, type_["items"])
    elif name in _WRITERS:
        yield from _WRITERS[name](column)
    else:
        known = ", ".join((*_WRITERS, "array", "unions of null and one of these"))
        raise SchemaError(f"{name!r} is not written here; known: {known}")


def _nullable(column: pa.Array, union: Sequence[Any]) -> Iterator[Piece]:
    others = [type_ for type_ in union if type_ != "null"]
    if len(union) != 2 or len(others) != 1:
        raise SchemaError(f"the union {union} is not one of null and one other type")
    valid = column.is_valid().to_numpy(zero_copy_only=False)
    branch = np.where(valid, union.index(others[0]), union.index("null"))
    yield from _varint(branch)
    if column.null_count:
        empty = pa.scalar([] if pa.types.is_list(column.type) else _EMPTY[str(column.type)], column.type)
        column = pc.coalesce(column, empty)
    for piece in _pieces(column, others[0]):
        yield Piece(piece.word, piece.size * valid)


def _array(column: pa.ListArray, items: Any) -> Iterator[Piece]:
    """Yield one block of all items, if there are any, and the empty block behind it."""
    counts = column.value_lengths().to_numpy(zero_copy_only=False).astype(np.int64)
    nothing = Piece(np.zeros(1, "<u8"), np.zeros(1, np.int64))
    flat = column.flatten()
    data, starts, ends = _encode([(flat, items)], len(flat), nothing)
    borders = np.append(starts, ends[-1:] if len(ends) else 0)
    last = np.cumsum(counts)
    for piece in _varint(counts):
        yield Piece(piece.word, piece.size * (counts > 0))
    yield from _span(data, borders[last - counts], borders[last] - borders[last - counts])
    yield Piece(np.zeros(1, "<u8"), np.ones(1, np.int64))


def _text(column: pa.StringArray) -> Iterator[Piece]:
    data, starts, lengths = text_spans(column)
    yield from _varint(lengths)
    yield from _span(data, starts, lengths)


def _span(data: Bytes, starts: Ints, lengths: Ints) -> Iterator[Piece]:
    """Yield spans of one buffer, which begin in order."""
    begin, end = int(starts[0]), int(starts[-1] + lengths[-1])
    padded = np.concatenate([data[begin:end], np.zeros(_WORD, np.uint8)])
    words = np.ndarray((end - begin + 1,), "<u8", buffer=padded.data, strides=(1,))
    for done in range(0, int(lengths.max()), _WORD):
        yield Piece(words[np.minimum(starts - begin + done, end - begin)], (lengths - done).clip(0, _WORD))


def _long(column: pa.Array) -> Iterator[Piece]:
    return _varint(column.to_numpy().astype(np.int64))


def _double(column: pa.Array) -> Iterator[Piece]:
    yield Piece(column.to_numpy().astype("<f8").view("<u8"), np.full(1, _WORD))


def _boolean(column: pa.Array) -> Iterator[Piece]:
    yield Piece(column.to_numpy(zero_copy_only=False).astype("<u8"), np.ones(1, np.int64))


def _varint(values: Ints) -> Iterator[Piece]:
    """Yield zigzag numbers, seven bits a byte, the lowest first; the highest bit says that more follow."""
    bits = ((values << 1) ^ (values >> 63)).view(np.uint64)
    longest = int(bits.max(initial=0)).bit_length()
    word, size = bits & _SEVEN, np.ones(len(values), np.int64)
    for byte in range(1, -(-longest // 7)):
        part = bits >> np.uint64(7 * byte)
        size += part > 0
        if byte < _WORD:
            word |= (part & _SEVEN) << np.uint64(8 * byte)
    yield Piece(word | _MORE[np.minimum(size - 1, _WORD)], np.minimum(size, _WORD))
    if longest > 7 * _WORD:
        rest = bits >> np.uint64(7 * _WORD)
        word = (
            rest & _SEVEN | rest >> np.uint64(7) << np.uint64(8) | _MORE[(size == _WORD + 2).astype(np.int64)]
        )
        yield Piece(word, np.maximum(size - _WORD, 0))


_FIRST = 4096  # rows, before it is known how long they are
_SEVEN = np.uint64(0x7F)
_MORE = np.array([sum(0x80 << 8 * byte for byte in range(count)) for count in range(_WORD + 1)], np.uint64)
_EMPTY: Mapping[str, Any] = {"int64": 0, "double": 0.0, "bool": False, "string": ""}
_WRITERS: Mapping[str, Callable[[Any], Iterator[Piece]]] = {
    "long": _long,
    "double": _double,
    "boolean": _boolean,
    "string": _text,
}


def _flat(column: pa.ChunkedArray) -> pa.Array:
    return column.chunk(0) if column.num_chunks == 1 else column.combine_chunks()

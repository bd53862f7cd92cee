"""Arrow columns out of what a walk has found: wanted values are looked at here, and only here."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, TypeAlias

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from stream_mtl.events.arrays import Items
from stream_mtl.events.strict import ITEMS
from stream_mtl.events.tree import Node
from stream_mtl.events.types import ARROW_TYPES, FieldType
from stream_mtl.events.walk import Cell, Spots, Texts
from stream_mtl.varint import LONG, Bytes, Ints, Mask, Varints, View, read, together

Column: TypeAlias = tuple[pa.Array, Mask | None]
"""The values (n,), and which of them may not be: texts that are no UTF-8, numbers not finite."""
Offsets: TypeAlias = npt.NDArray[np.int32]


def gather(view: View, cells: Mapping[int, Cell], kinds: Sequence[FieldType], rows: int) -> list[Column]:
    """Return one column of `rows` values for each wanted type; one that was not found is null.

    What stands in the place of a dead row is of no meaning.
    """
    numbers = {cell: found.place for cell, found in cells.items() if isinstance(found.place, Varints)}
    values = dict(zip(numbers, together(list(numbers.values())), strict=True))
    columns: list[Column] = []
    for cell, kind in enumerate(kinds):
        found = cells.get(cell)
        if found is None:
            columns.append((pa.nulls(rows, ARROW_TYPES[kind]), None))
        else:
            place = values.get(cell, found.place)
            columns.append(_SHAPES[found.node.kind](view, place, found.node, kind, found.present))
    return columns


def _number(view: View, values: Ints, node: Node, kind: FieldType, present: Mask | None) -> Column:
    if kind == "double":
        return _plain(kind, values.astype(np.float64), present), None
    numbers = _plain("long", values, present)
    return (pc.cast(numbers, pa.string()) if kind == "string" else numbers), None


def _floating(view: View, spots: Spots, node: Node, kind: FieldType, present: Mask | None) -> Column:
    written = view.spans(spots.at, spots.offset, node.least).view(f"<f{node.least}")
    finite = np.isfinite(written)
    bad = None if finite.all() else ~finite
    if bad is not None:
        written[bad] = 0
    return _plain(kind, written.astype(np.float64, copy=False), present), bad


def _boolean(view: View, values: Bytes, node: Node, kind: FieldType, present: Mask | None) -> Column:
    return _plain(kind, np.packbits(values, bitorder="little"), present, len(values)), None


def _enum(view: View, index: Ints, node: Node, kind: FieldType, present: Mask | None) -> Column:
    chosen = pa.array(index, mask=None if present is None else ~present)
    return pa.array(node.symbols, pa.string()).take(chosen), None


def _text(view: View, texts: Texts, node: Node, kind: FieldType, present: Mask | None) -> Column:
    rows = len(texts.at)
    if isinstance(texts.length, int):
        offsets = np.arange(rows + 1, dtype=np.int32) * np.int32(texts.length)
        data = view.spans(texts.at, texts.offset, texts.length)
    else:
        offsets = _offsets(texts.length)
        data = _joined(view, texts.at + texts.offset, texts.length)
    buffers = [_validity(present), pa.py_buffer(offsets), pa.py_buffer(data)]
    column = pa.Array.from_buffers(pa.string(), rows, buffers)
    return column, _not_utf8(column, offsets, data)


def _array(view: View, items: Items, node: Node, kind: FieldType, present: Mask | None) -> Column:
    assert node.items is not None
    place = _ITEMS[node.items.kind](view, items)
    values, bad = _SHAPES[node.items.kind](view, place, node.items, ITEMS[kind], None)
    buffers = [_validity(present), pa.py_buffer(_offsets(items.counts))]
    column = pa.Array.from_buffers(ARROW_TYPES[kind], len(items.counts), buffers, children=[values])
    if bad is None:
        return column, None
    rows = np.zeros(len(items.counts), bool)
    rows[np.repeat(np.arange(len(rows)), items.counts)[bad]] = True
    return column, rows


def _plain(
    kind: FieldType, values: npt.NDArray[Any], present: Mask | None, rows: int | None = None
) -> pa.Array:
    """Return values (n,) as they are in memory as a column; `rows` where n is not their length."""
    buffers = [_validity(present), pa.py_buffer(values)]
    return pa.Array.from_buffers(ARROW_TYPES[kind], len(values) if rows is None else rows, buffers)


def _validity(present: Mask | None) -> pa.Buffer | None:
    return None if present is None else pa.py_buffer(np.packbits(present, bitorder="little"))


def _offsets(lengths: Ints) -> Offsets:
    offsets = np.zeros(len(lengths) + 1, np.int32)
    np.cumsum(lengths, out=offsets[1:])
    return offsets


def _joined(view: View, starts: Ints, lengths: Ints) -> Bytes:
    """Return spans of a buffer one behind the other; those that are not empty must be in order, and apart.

    Arrow copies them: they are every other one of the texts between all their borders.
    """
    some = np.flatnonzero(lengths)
    if not len(some):
        return view.raw[:0]
    borders = np.empty(2 * len(some), np.int32)
    borders[::2] = starts[some]
    borders[1::2] = borders[::2] + lengths[some]
    between = pa.Array.from_buffers(
        pa.binary(), len(borders) - 1, [None, pa.py_buffer(borders), pa.py_buffer(view.raw)]
    )
    taken = between.take(pa.array(np.arange(0, len(borders), 2)))
    return np.frombuffer(taken.buffers()[2], np.uint8)


def _not_utf8(column: pa.Array, offsets: Offsets, data: Bytes) -> Mask | None:
    """Return which texts (n,) are no UTF-8, None for not one."""
    if not len(data) or data.max() < 0x80:
        return None
    try:
        column.validate(full=True)
    except pa.ArrowInvalid:
        bad = np.zeros(len(column), bool)
        high = np.concatenate([[0], np.cumsum(data >= 0x80)])
        for row in np.flatnonzero(high[offsets[1:]] > high[offsets[:-1]]).tolist():
            bad[row] = not _decodes(data[offsets[row] : offsets[row + 1]])
        return bad
    return None


def _decodes(text: Bytes) -> bool:
    try:
        str(text.data, "utf-8")
    except UnicodeDecodeError:
        return False
    return True


def _read(view: View, items: Items) -> Ints:
    return read(view, items.starts, 0, LONG).values()


def _spots(view: View, items: Items) -> Spots:
    return Spots(items.starts, 0)


def _texts(view: View, items: Items) -> Texts:
    return Texts(items.starts, 0, items.lengths)


_SHAPES: Final[Mapping[str, Callable[[View, Any, Node, FieldType, Mask | None], Column]]] = {
    "boolean": _boolean,
    "int": _number,
    "long": _number,
    "float": _floating,
    "double": _floating,
    "bytes": _text,
    "string": _text,
    "fixed": _text,
    "enum": _enum,
    "array": _array,
}
_ITEMS: Final[Mapping[str, Callable[[View, Items], Any]]] = {
    "int": _read,
    "long": _read,
    "enum": _read,
    "float": _spots,
    "double": _spots,
    "bytes": _texts,
    "string": _texts,
    "fixed": _texts,
}

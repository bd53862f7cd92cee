"""A stream as lines of JSON or CSV, broken records included, joined column by column."""

from collections.abc import Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from stream_mtl.generate.faults import Breakage
from stream_mtl.generate.fields import TIME
from stream_mtl.generate.generated import Stream
from stream_mtl.hashing import text_spans

# Nothing is escaped: the market's texts are letters, digits and hyphens.


def json_lines(stream: Stream) -> bytes:
    """Return one object a line."""
    columns = {name: _json(column) for name, column in _columns(stream)}
    columns[TIME] = _mistyped(columns[TIME], stream, '"soon"')
    parts: list[pa.Array | str] = []
    for name, column in columns.items():
        parts += [f'{", " if parts else "{"}"{name}": ', column]
    lines = pc.binary_join_element_wise(*parts, "}", "")
    return _bytes(pc.if_else(_garbage(stream), pc.utf8_slice_codeunits(lines, 0, 24), lines))


def csv_lines(stream: Stream) -> bytes:
    """Return one row a line behind a line of names; the items of an array stand between `|`."""
    columns = {name: _csv(column) for name, column in _columns(stream)}
    columns[TIME] = _mistyped(columns[TIME], stream, "soon")
    lines = pc.binary_join_element_wise(*columns.values(), ",")
    return (",".join(columns) + "\n").encode() + _bytes(pc.if_else(_garbage(stream), "garbage", lines))


def _columns(stream: Stream) -> Sequence[tuple[str, pa.Array]]:
    table = stream.table.combine_chunks()
    return [
        (name, column.chunk(0) if column.num_chunks else pa.array([], column.type))
        for name, column in zip(table.column_names, table.columns, strict=True)
    ]


def _json(column: pa.Array) -> pa.Array:
    if pa.types.is_list(column.type):
        return pc.binary_join_element_wise("[", _items(column, _json(column.flatten()), ", "), "]", "")
    if pa.types.is_string(column.type):
        return pc.binary_join_element_wise('"', column, '"', "")
    return column.cast(pa.string())


def _csv(column: pa.Array) -> pa.Array:
    if pa.types.is_list(column.type):
        return _items(column, _csv(column.flatten()), "|")
    return column.cast(pa.string())


def _items(column: pa.ListArray, texts: pa.Array, between: str) -> pa.Array:
    ends = np.cumsum(column.value_lengths().to_numpy(zero_copy_only=False))
    lists = pa.ListArray.from_arrays(pa.array(np.append(0, ends).astype(np.int32)), texts)
    return pc.binary_join(lists, between)


def _mistyped(times: pa.Array, stream: Stream, text: str) -> pa.Array:
    return pc.if_else(pa.array(stream.broken == Breakage.TYPE), text, times)


def _garbage(stream: Stream) -> pa.Array:
    return pa.array(stream.broken == Breakage.GARBAGE)


def _bytes(lines: pa.Array) -> bytes:
    ended = pc.binary_join_element_wise(lines, "\n", "")
    data, starts, lengths = text_spans(ended)
    return data[starts[0] : starts[-1] + lengths[-1]].tobytes() if len(ended) else b""

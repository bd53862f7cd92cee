"""A hash of what was told, that does not depend on where blocks begin and end."""

import hashlib

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from stream_mtl.hashing import text_spans
from stream_mtl.join.transitions import Telling, Transitions


class TransitionDigest:
    """Feed transitions in their order; `value` is equal for equal tellings, however they were cut."""

    def __init__(self, features_on_final: bool = False) -> None:
        self._columns: dict[str, hashlib._Hash] = {}
        self._bare = -1 if features_on_final else int(Telling.FINAL)
        self.rows = 0

    def update(self, transitions: Transitions) -> None:
        """Add tellings."""
        rows = transitions.rows
        self.rows += rows.num_rows
        for name, column in zip(rows.schema.names, rows.columns, strict=True):
            if name != "row":
                self._add(name, column)
        place = rows.column("row").to_numpy()
        carries = rows.column("kind").to_numpy() != self._bare
        for name in transitions.keys.schema.names:
            self._add(f"key.{name}", _gather(transitions.keys, name, place))
        for name in transitions.fields.schema.names:
            self._add(f"field.{name}", _gather(transitions.fields, name, place[carries]))

    def value(self) -> str:
        """Return the hash of everything so far, as hexadecimal text."""
        whole = hashlib.sha256(str(self.rows).encode())
        for name in sorted(self._columns):
            whole.update(name.encode() + b"\0" + self._columns[name].digest())
        return whole.hexdigest()

    def _add(self, name: str, column: pa.Array) -> None:
        if len(column):
            for part, content in _bytes(column).items():
                self._columns.setdefault(f"{name}{part}", hashlib.sha256()).update(content)


def _gather(table: pa.Table, name: str, place: np.ndarray) -> pa.Array:
    column = table.column(name).combine_chunks()
    return column.take(pa.array(place))


def _bytes(column: pa.Array) -> dict[str, bytes]:
    """Return a column's content as streams of bytes that can be cut between any two values."""
    valid = column.is_valid().to_numpy(zero_copy_only=False).tobytes()
    if pa.types.is_list(column.type):
        lengths = pc.list_value_length(column.fill_null([])).to_numpy(zero_copy_only=False)
        items = _bytes(pc.list_flatten(column))
        return {"": _interleaved(valid, lengths)} | {f".items{part}": some for part, some in items.items()}
    if pa.types.is_string(column.type):
        data, starts, lengths = text_spans(column.fill_null(""))
        begin = int(starts[0]) if len(starts) else 0  # the items of empty lists are none
        text = data[begin : begin + int(lengths.sum())].tobytes()
        return {"": _interleaved(valid, lengths), ".text": text}
    values = column.fill_null(False if pa.types.is_boolean(column.type) else 0)
    return {"": _interleaved(valid, np.ascontiguousarray(values.to_numpy(zero_copy_only=False)))}


def _interleaved(valid: bytes, values: np.ndarray) -> bytes:
    pairs = np.empty((len(values), 1 + values.itemsize), np.uint8)
    pairs[:, 0] = np.frombuffer(valid, np.uint8)
    pairs[:, 1:] = values.view(np.uint8).reshape(len(values), values.itemsize)
    return pairs.tobytes()

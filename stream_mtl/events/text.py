"""JSON texts to columns: every text is judged by itself, and a bad one costs its neighbours nothing."""

from collections.abc import Callable, Mapping
from operator import attrgetter
from typing import Annotated, Any, Final, Literal, TypeAlias

import msgspec
import numpy as np
import pyarrow as pa

from stream_mtl.events.avro import Decoded
from stream_mtl.events.columns import Bytes, Numbers, batch
from stream_mtl.events.types import ARROW_TYPES, FieldType

Wanted: TypeAlias = FieldType | Literal["time"]
"""The type of a column; `time` is a number or a text as it stands, for `times.Times` to read."""

DETAIL: Final = 200  # characters of a detail at most

_Long = Annotated[int, msgspec.Meta(ge=-(2**63), le=2**63 - 1)] | None
_Text = str | int | None
_TYPES: Final[Mapping[Wanted, Any]] = {
    "long": _Long,
    "double": float | None,
    "boolean": bool | None,
    "string": _Text,
    "array<long>": list[_Long] | None,
    "array<double>": list[float | None] | None,
    "array<string>": list[_Text] | None,
    "time": int | float | str | None,
}


class JsonTexts:
    """Reads the wanted fields of JSON objects; one that is missing or null is null, others are passed over.

    A long is a number written without fraction or exponent, within 64 bits; a double any finite number; a
    string a text or such an integer, as its digits; of a key that stands twice the last counts. Any other
    value, NaN and Infinity, and bytes that are no UTF-8 in a wanted text make the record malformed.
    """

    def __init__(self, fields: Mapping[str, Wanted]) -> None:
        self._fields = dict(fields)
        names = [f"f{i}" for i in range(len(fields))]
        self._getters = [attrgetter(name) for name in names]
        row = msgspec.defstruct(
            "Row",
            [(name, _TYPES[kind], None) for name, kind in zip(names, fields.values(), strict=True)],
            rename=dict(zip(names, fields, strict=True)),
            gc=False,
        )
        self._decoder: msgspec.json.Decoder[Any] = msgspec.json.Decoder(row)

    def decode(self, data: Bytes, starts: Numbers, ends: Numbers) -> Decoded:
        """Return the columns of the spans of `data`; a bad one is `not_json`, `wrong_type` or `not_utf8`."""
        rows, reasons = self._rows(data, starts, ends)
        columns = [
            _COLUMNS[kind](list(map(get, rows)))
            for get, kind in zip(self._getters, self._fields.values(), strict=True)
        ]
        good = np.ones(len(starts), bool)
        good[list(reasons)] = False
        return Decoded(batch(list(self._fields), columns, len(rows)), good, reasons)

    def _rows(
        self, data: Bytes, starts: Numbers, ends: Numbers
    ) -> tuple[list[Any], dict[int, tuple[str, str]]]:
        rows: list[Any] = []
        reasons: dict[int, tuple[str, str]] = {}
        if not len(starts):
            return rows, reasons
        first = int(starts[0])
        raw = data[first : ends[-1]].tobytes()
        spans = map(slice, (starts - first).tolist(), (ends - first).tolist())
        objects = map(self._decoder.decode, map(raw.__getitem__, spans))
        more = True
        while more:
            try:
                rows.extend(objects)  # up to the next bad one: what was read before it stays
                more = False
            except msgspec.ValidationError as error:
                reasons[len(rows) + len(reasons)] = ("wrong_type", str(error)[:DETAIL])
            except (msgspec.DecodeError, RecursionError) as error:
                reasons[len(rows) + len(reasons)] = ("not_json", str(error)[:DETAIL])
            except UnicodeDecodeError as error:
                reasons[len(rows) + len(reasons)] = ("not_utf8", str(error)[:DETAIL])
        return rows, reasons


def _plain(kind: FieldType) -> Callable[[list[Any]], pa.Array]:
    target = ARROW_TYPES[kind]
    return lambda values: pa.array(values, target)


def _strings(values: list[str | int | None]) -> pa.Array:
    try:
        return pa.array(values, pa.string())
    except pa.ArrowTypeError:  # integers among them
        return pa.array([None if value is None else str(value) for value in values], pa.string())


def _string_lists(values: list[list[str | int | None] | None]) -> pa.Array:
    try:
        return pa.array(values, ARROW_TYPES["array<string>"])
    except pa.ArrowTypeError:
        return pa.array(
            [None if v is None else [None if i is None else str(i) for i in v] for v in values],
            ARROW_TYPES["array<string>"],
        )


def _times(values: list[int | float | str | None]) -> pa.Array:
    """Return longs or doubles where all are, else texts, which read the same whatever their neighbours."""
    kinds = set(map(type, values)) - {type(None)}
    if kinds <= {float} and kinds:
        return pa.array(values, pa.float64())
    if kinds <= {int}:
        try:
            return pa.array(values, pa.int64())
        except OverflowError:
            pass
    return pa.array([None if value is None else str(value) for value in values], pa.string())


_COLUMNS: Final[Mapping[Wanted, Callable[[list[Any]], pa.Array]]] = {
    "long": _plain("long"),
    "double": _plain("double"),
    "boolean": _plain("boolean"),
    "string": _strings,
    "array<long>": _plain("array<long>"),
    "array<double>": _plain("array<double>"),
    "array<string>": _string_lists,
    "time": _times,
}

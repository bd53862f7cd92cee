"""Texts to values of the declared types: a text that is none is a mask, never an error for its neighbours."""

from collections.abc import Callable, Mapping
from typing import Final, TypeAlias

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from stream_mtl.events.columns import NULL_TEXT, Mask, mask_of, offsets_of, spans_of, valid
from stream_mtl.events.types import ARROW_TYPES, FieldType

Read: TypeAlias = tuple[pa.Array, Mask | None]
"""The values (n,), null where the text is null or none of its type; and which are none, None for not one."""

ITEMS: Final = "|"  # stands between the items of an array

_LONG = r"^-?[0-9]+$"
_DOUBLE = (
    r"^[+-]?(?:(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?"
    r"|(?i:nan(?:\([0-9a-z_]*\))?|inf(?:inity)?))$"
)
_BOOLEAN = r"^(?i:true|false|0|1)$"


def from_texts(texts: pa.Array, kind: FieldType) -> Read:
    """Return texts (n,) as values of one type.

    A long is decimal digits with or without a minus; a double is what strtod reads, without hexadecimal; a
    boolean is true, false, 1 or 0 in any case; blanks around these three are passed over. The items of an
    array stand between `|`; an item that is empty is null.
    """
    return _KINDS[kind](texts)


def _string(texts: pa.Array) -> Read:
    return texts, None


def _scalar(kind: FieldType, grammar: str, alphabet: bytes) -> Callable[[pa.Array], Read]:
    """Return how to read one type: all at once by Arrow's cast, which fails as a whole; else with more care.

    The cast reads just `grammar`, and hexadecimal longs. `alphabet` has the bytes of which good texts mostly
    consist.
    """
    target = ARROW_TYPES[kind]
    strange = np.ones(256, bool)
    strange[list(alphabet)] = False

    def read(texts: pa.Array) -> Read:
        if kind != "long" or not _hexadecimal(texts):
            try:
                return pc.cast(texts, target), None
            except pa.ArrowInvalid:
                pass
        rows = _rows_with(texts, strange)
        suspects = pa.array(rows)
        try:
            plain = pc.cast(pc.if_else(suspects, NULL_TEXT, texts), target)
        except pa.ArrowInvalid:
            return careful(texts)
        values, bad = careful(texts.filter(suspects))
        whole = pc.replace_with_mask(plain, suspects, values)
        if bad is None:
            return whole, None
        rows[rows] = bad
        return whole, rows

    def careful(texts: pa.Array) -> Read:
        trimmed = pc.ascii_trim_whitespace(texts)
        fits = mask_of(pc.match_substring_regex(trimmed, grammar))
        if kind == "long":
            fits &= ~_too_long(trimmed)
        values = pc.cast(pc.if_else(pa.array(fits), trimmed, NULL_TEXT), target)
        bad = ~fits & valid(texts)
        return values, bad if bad.any() else None

    return read


def _rows_with(texts: pa.Array, strange: Mask) -> Mask:
    """Return the texts (n,) that have a byte of the strange ones."""
    offsets, data = spans_of(texts)
    found = np.flatnonzero(strange.take(data[offsets[0] : offsets[-1]])) + offsets[0]
    rows = np.zeros(len(texts), bool)
    rows[np.searchsorted(offsets, found, side="right") - 1] = True
    return rows


def _hexadecimal(texts: pa.Array) -> bool:
    data = texts.buffers()[2]
    return data is not None and (b"0x" in (raw := data.to_pybytes()) or b"0X" in raw)


def _too_long(texts: pa.Array) -> Mask:
    """Return which decimal numbers are beyond 64 bits, by comparing their digits."""
    if np.diff(offsets_of(texts)).max(initial=0) < 19:
        return np.zeros(len(texts), bool)
    digits = pc.ascii_ltrim(texts, characters="-0")
    length = pc.binary_length(digits)
    greatest = pc.if_else(pc.starts_with(texts, "-"), str(2**63), str(2**63 - 1))
    at_limit = pc.and_(pc.equal(length, 19), pc.greater(digits, greatest))
    return mask_of(pc.or_(pc.greater(length, 19), at_limit))


def _array(kind: FieldType, item: FieldType) -> Callable[[pa.Array], Read]:
    target = ARROW_TYPES[kind]

    def read(texts: pa.Array) -> Read:
        lists = pc.split_pattern(texts, ITEMS)
        items = lists.flatten()
        values, bad = _KINDS[item](pc.if_else(pc.equal(items, ""), NULL_TEXT, items))
        whole = pa.ListArray.from_arrays(_offsets(lists), values, type=target)
        if bad is None:
            return whole, None
        rows = np.zeros(len(texts), bool)
        rows[np.asarray(pc.list_parent_indices(lists))[bad]] = True
        return whole, rows

    return read


def _offsets(lists: pa.Array) -> pa.Array:
    """Return the offsets of lists that begin at 0, null where the list is."""
    lengths = np.asarray(pc.list_value_length(lists).fill_null(0))
    offsets = np.concatenate([[0], np.cumsum(lengths)])
    return pa.array(offsets, pa.int32(), mask=np.append(~valid(lists), False))


_KINDS: Mapping[FieldType, Callable[[pa.Array], Read]] = {
    "string": _string,
    "long": _scalar("long", _LONG, b"-0123456789"),
    "double": _scalar("double", _DOUBLE, b"-+.0123456789eE"),
    "boolean": _scalar("boolean", _BOOLEAN, b"01truefalsTRUEFALS"),
    "array<long>": _array("array<long>", "long"),
    "array<double>": _array("array<double>", "double"),
    "array<string>": _array("array<string>", "string"),
}

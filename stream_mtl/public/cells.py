"""Texts of a column to values: whole numbers, numbers, texts; what is none of these is a mask, never an error."""

from collections.abc import Collection

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from stream_mtl.public.base import Bools, Faults, Ints

NONE = -1
"""In place of a time that is not there."""

_WHOLE = r"^[+-]?[0-9]{1,18}$"
_NUMBER = r"^[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]{1,3})?$"
_SECOND = 1_000  # ms
_LATEST = 4_102_444_800  # s: the year 2100


def whole_numbers(
    texts: pa.Array, faults: Faults, name: str, absent: Collection[str] = ("",)
) -> pa.Int64Array:
    """Return whole numbers; null where a text is one of `absent`, and where it is no number: that is a fault."""
    return _read(texts, faults, f"{name} is no whole number", absent, _WHOLE, pa.int64())


def numbers(texts: pa.Array, faults: Faults, name: str, absent: Collection[str] = ("",)) -> pa.DoubleArray:
    """Return numbers, likewise."""
    return _read(texts, faults, f"{name} is no number", absent, _NUMBER, pa.float64())


def words(texts: pa.Array, faults: Faults, name: str) -> pa.StringArray:
    """Return texts; null where they are empty, and where they are not UTF-8: that is a fault."""
    broken = _broken(texts)
    faults.mark(broken, f"{name} is not UTF-8")
    blank = pc.equal(texts, "").to_numpy(zero_copy_only=False)
    return pc.if_else(pa.array(broken | blank), None, texts)


def moments(
    texts: pa.Array, faults: Faults, name: str, absent: Collection[str] = ("",), required: bool = False
) -> Ints:
    """Return times in ms, (n,), of texts in whole seconds; `NONE` where there is none."""
    values = whole_numbers(texts, faults, name, absent)
    there = values.is_valid().to_numpy(zero_copy_only=False)
    seconds: Ints = values.fill_null(NONE).to_numpy(zero_copy_only=False)
    faults.mark(there & ((seconds < 0) | (seconds > _LATEST)), f"{name} is out of range")
    if required:
        faults.mark(~there, f"{name} is missing")
    usable = there & (seconds >= 0) & (seconds <= _LATEST)
    return np.where(usable, seconds * _SECOND, NONE)


def first_of_list(texts: pa.Array) -> pa.Array:
    """Return, of texts like [17, 42] or ['a', 'b'], the first item without its quotes; of others, the text itself.

    An empty list gives an empty text.
    """
    listed = pc.starts_with(texts, "[")
    if not pc.any(listed).as_py():
        return texts
    first = pc.replace_substring_regex(texts, r"^\[\s*['\"]?([^,'\"\]]*)['\"]?\s*(,.*)?\]?$", r"\1")
    return pc.if_else(listed, pc.utf8_trim_whitespace(first), texts)


def _read(
    texts: pa.Array, faults: Faults, reason: str, absent: Collection[str], pattern: str, kind: pa.DataType
) -> pa.Array:
    known = pc.match_substring_regex(texts, pattern)
    missing = pc.is_in(texts, pa.array(list(absent), pa.string()))
    wrong = pc.invert(pc.or_(known, missing)).to_numpy(zero_copy_only=False)
    faults.mark(wrong, reason)
    return pc.if_else(pc.and_not(known, missing), texts, None).cast(kind)


def _broken(texts: pa.Array) -> Bools:
    """Return where the bytes are not UTF-8."""
    try:
        texts.cast(pa.binary()).cast(pa.string())
    except pa.ArrowInvalid:
        return np.array([not _sound(cell) for cell in texts.cast(pa.binary()).to_pylist()], np.bool_)
    return np.zeros(len(texts), np.bool_)


def _sound(cell: bytes) -> bool:
    try:
        cell.decode()
    except UnicodeDecodeError:
        return False
    return True

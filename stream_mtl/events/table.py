"""CSV lines to columns: fields are found by their commas, as spans, and converted a column at a time."""

import csv
import io
from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from stream_mtl.errors import SchemaError
from stream_mtl.events.avro import Decoded
from stream_mtl.events.columns import NULL_TEXT, Bytes, Mask, Numbers, batch, mask_of, spans_of
from stream_mtl.events.convert import from_texts
from stream_mtl.events.text import DETAIL, Wanted
from stream_mtl.events.types import ARROW_TYPES

_COMMA, _QUOTE = ord(","), ord('"')
_QUOTED: Final = r'^"(?:[^"]|"")*"$'


class _Lines(NamedTuple):
    """Lines (n,) as spans of one buffer."""

    raw: Bytes
    starts: Numbers
    ends: Numbers


class _Column(NamedTuple):
    """One field of the good lines, with the texts it was made of, and which are wrong for what reason."""

    values: pa.Array
    texts: pa.Array
    wrong: list[tuple[str, Mask]]


class CsvLines:
    """Reads the wanted fields of lines, found by their names in the header; one that it lacks is null.

    A field may be quoted as a whole, with quotes inside doubled; it cannot hold a line break. An empty field
    is null. With `trim`, blanks around a field are not part of it, but for those inside quotes.
    `convert.from_texts` says how a field is read by its type. Raises SchemaError for a header that is no CSV,
    or has a wanted name twice.
    """

    def __init__(self, fields: Mapping[str, Wanted], header: bytes, trim: bool = False) -> None:
        self._names = _names(header)
        self._fields = dict(fields)
        self._trim = trim
        for name in fields:
            if self._names.count(name) > 1:
                raise SchemaError(f"the CSV header has {name!r} more than once: {header[:DETAIL]!r}")

    def decode(self, data: Bytes, starts: Numbers, ends: Numbers) -> Decoded:
        """Return the columns of the spans of `data`.

        A bad one is `not_utf8`, `bad_quotes`, `wrong_columns` or `wrong_type`.
        """
        reasons: dict[int, tuple[str, str]] = {}
        if len(starts):
            data, starts, ends = data[starts[0] : ends[-1]], starts - starts[0], ends - starts[0]
        lines = _Lines(data, starts, ends)
        reasons.update(_not_utf8(lines))
        fields, good = self._cut(lines, reasons)
        columns = {name: self._column(name, kind, fields) for name, kind in self._fields.items()}
        rows = np.flatnonzero(good)
        bad = np.zeros(len(rows), bool)
        for name, column in columns.items():
            for reason, mask in column.wrong:
                for row in np.flatnonzero(mask & ~bad).tolist():
                    told = f"{name}: {column.texts[row].as_py()!r} is no {self._fields[name]}"
                    reasons[int(rows[row])] = (reason, told[:DETAIL])
                bad |= mask
        whole = batch(list(columns), [column.values for column in columns.values()], len(rows))
        good[rows[bad]] = False
        return Decoded(whole.filter(pa.array(~bad)) if bad.any() else whole, good, reasons)

    def _cut(self, lines: _Lines, reasons: dict[int, tuple[str, str]]) -> tuple[pa.Array, Mask]:
        """Return every field of the good lines, and what stands behind it, as texts (good * 2 * width,)."""
        commas, odd = _separators(lines)
        reasons.update({row: ("bad_quotes", "a quote is not closed") for row in odd if row not in reasons})
        good = np.ones(len(lines.starts), bool)
        good[list(reasons)] = False
        inner = len(self._names) - 1
        cuts = commas.reshape(-1, inner) if inner and len(commas) == len(good) * inner else None
        if cuts is None or not good.all() or not _within(cuts, lines):
            low = np.searchsorted(commas, lines.starts)
            count = np.searchsorted(commas, lines.ends) - low
            for row in np.flatnonzero(good & (count != inner)).tolist():
                reasons[row] = ("wrong_columns", f"{count[row] + 1} fields, the header has {inner + 1}")
            good &= count == inner
            cuts = commas[low[good, None] + np.arange(inner)]
        return _fields(lines.raw, lines.starts[good], lines.ends[good], cuts), good

    def _column(self, name: str, kind: Wanted, fields: pa.Array) -> _Column:
        step = 2 * len(self._names)
        rows = len(fields) // step
        if name not in self._names:
            nulls = pa.nulls(rows, pa.string() if kind == "time" else ARROW_TYPES[kind])
            return _Column(nulls, nulls, [])
        texts = fields.take(pa.array(np.arange(self._names.index(name) * 2, len(fields), step)))
        texts, wrong = _unquoted(pc.ascii_trim_whitespace(texts) if self._trim else texts)
        if kind == "time":
            return _Column(texts, texts, wrong)
        values, mistyped = from_texts(texts, kind)
        if mistyped is not None:
            wrong.append(("wrong_type", mistyped))
        return _Column(values, texts, wrong)


def header_of(columns: Sequence[str]) -> str:
    """Return the header line of these columns."""
    line = io.StringIO()
    csv.writer(line, lineterminator="").writerow(columns)
    return line.getvalue()


def _unquoted(texts: pa.Array) -> tuple[pa.Array, list[tuple[str, Mask]]]:
    """Return texts without their quotes, null where empty; and which are quoted as no field may be."""
    offsets, data = spans_of(texts)
    wrong: list[tuple[str, Mask]] = []
    if len(texts) and _QUOTE in data[offsets[0] : offsets[-1]]:
        quoted = mask_of(pc.match_substring(texts, '"'))
        fits = mask_of(pc.match_substring_regex(texts, _QUOTED))
        wrong.append(("bad_quotes", quoted & ~fits))
        inner = pc.replace_substring(pc.utf8_slice_codeunits(texts, 1, -1), '""', '"')
        texts = pc.if_else(pa.array(fits), inner, texts)
        offsets, _ = spans_of(texts)
    empty = offsets[1:] == offsets[:-1]
    return pc.if_else(pa.array(empty), NULL_TEXT, texts) if empty.any() else texts, wrong


def _names(header: bytes) -> list[str]:
    try:
        (names,) = csv.reader([header.decode()], strict=True)
    except (csv.Error, UnicodeDecodeError, ValueError) as error:
        raise SchemaError(f"is no CSV header: {error}: {header[:DETAIL]!r}") from error
    return [name.strip() for name in names]


def _separators(lines: _Lines) -> tuple[Numbers, list[int]]:
    """Return the commas outside quotes, and the lines with an odd number of quotes."""
    commas = np.flatnonzero(lines.raw == _COMMA)
    quotes = np.flatnonzero(lines.raw == _QUOTE)
    if not len(quotes):
        return commas, []
    before = np.searchsorted(quotes, lines.starts)
    odd = (np.searchsorted(quotes, lines.ends) - before) % 2 == 1
    row = np.maximum(np.searchsorted(lines.starts, commas, side="right") - 1, 0)
    outside = (np.searchsorted(quotes, commas) - before[row]) % 2 == 0
    return commas[outside], np.flatnonzero(odd).tolist()


def _within(cuts: Numbers, lines: _Lines) -> bool:
    """Return whether the commas (n, inner) of every line lie in it."""
    return bool((cuts[:, 0] >= lines.starts).all() and (cuts[:, -1] < lines.ends).all())


def _fields(raw: Bytes, starts: Numbers, ends: Numbers, cuts: Numbers) -> pa.Array:
    """Return the spans between cuts (n, inner) as texts of `raw`, each followed by what separates it."""
    width = cuts.shape[1] + 1
    bounds = np.empty((len(starts), 2 * width), np.int32)
    bounds[:, 0], bounds[:, -1] = starts, ends
    bounds[:, 1:-1:2] = cuts
    bounds[:, 2::2] = cuts + 1
    offsets = np.append(bounds.ravel(), np.int32(len(raw)))
    buffers = [None, pa.py_buffer(offsets), pa.py_buffer(raw)]
    return pa.StringArray.from_buffers(bounds.size, buffers[1], buffers[2])


def _not_utf8(lines: _Lines) -> dict[int, tuple[str, str]]:
    try:
        lines.raw.tobytes().decode()
    except UnicodeDecodeError:
        return {row: why for row in range(len(lines.starts)) if (why := _undecodable(lines, row))}
    return {}


def _undecodable(lines: _Lines, row: int) -> tuple[str, str] | None:
    try:
        lines.raw[lines.starts[row] : lines.ends[row]].tobytes().decode()
    except UnicodeDecodeError as error:
        return "not_utf8", str(error)[:DETAIL]
    return None

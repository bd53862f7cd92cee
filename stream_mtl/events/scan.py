"""A cursor per row over many short texts at once: digits, letters and signs, one numpy step each."""

from collections.abc import Sequence
from typing import Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from stream_mtl.events.columns import Bytes, Mask, Numbers, spans_of, valid

_WIDEST: Final = 64  # bytes; a longer text is no time
_BEYOND: Final = 40  # columns of zero after the last: no step looks further than that
_ZERO = ord("0")


class Scan:
    """Texts (n,) as rows of bytes, read from the left. `ok` is which of them fit so far.

    A step that is given `where` reads only those rows. The cursor is one number as long as all rows agree.
    """

    def __init__(self, texts: pa.Array) -> None:
        self._cells, self.length = _cells(texts)
        self._rows = np.arange(len(texts))
        self._at: int | Numbers = 0
        self.ok: Mask = valid(texts) & (self.length <= _WIDEST)

    def peek(self, ahead: int = 0) -> Bytes:
        """Return the byte (n,) at the cursor, 0 beyond the end."""
        last = len(self._cells) - 1
        if isinstance(self._at, int):
            cells: Bytes = self._cells[min(self._at + ahead, last)]
        else:
            cells = self._cells[np.minimum(self._at + ahead, last), self._rows]
        return cells

    def number(self, least: int, most: int | None = None, where: Mask | None = None) -> Numbers:
        """Read `least` to `most` digits; return the number (n,), 0 where there is none to read."""
        value = np.zeros(len(self.ok), np.int64)
        for taken in range(most or least):
            digit = self.peek() - np.uint8(_ZERO)
            found = digit < 10 if where is None else (digit < 10) & where
            if taken < least:
                self._need(found, where)
            everywhere = bool(found.all())
            value = value * 10 + digit if everywhere else np.where(found, value * 10 + digit, value)
            self._move(None if everywhere else found, 1)
        return value

    def fraction(self, where: Mask) -> Numbers:
        """Read 1 to 9 digits after a point; return them as nanoseconds (n,)."""
        start = self._at
        value = self.number(1, 9, where)
        taken = np.minimum(self._at - np.asarray(start), 9)
        return np.where(where, value * 10 ** (9 - taken), 0)

    def literal(self, text: str, where: Mask | None = None) -> None:
        """Read this text."""
        for byte in text.encode():
            self._need(self.peek() == byte, where)
            self._move(where, 1)

    def option(self, choices: Sequence[str], where: Mask | None = None) -> Mask:
        """Read the first of these texts that is there, without regard to case; return which rows had one."""
        done = np.zeros(len(self.ok), bool)
        for choice in choices:
            here = ~done if where is None else where & ~done
            for ahead, byte in enumerate(choice.upper().encode()):
                here &= _upper(self.peek(ahead)) == byte
            self._move(here, len(choice))
            done |= here
        return done

    def name(self, names: Sequence[str]) -> Numbers:
        """Read one of these names, without regard to case; return its number (n,), counted from 1."""
        value = np.zeros(len(self.ok), np.int64)
        for number, name in enumerate(names, 1):
            value[self.option([name], value == 0)] = number
        self._need(value > 0, None)
        return value

    def ended(self) -> Mask:
        """Return which rows (n,) were read to their end."""
        ended: Mask = self.length == self._at
        return ended

    def _need(self, found: Mask, where: Mask | None) -> None:
        self.ok &= found if where is None else found | ~where

    def _move(self, where: Mask | None, by: int) -> None:
        if where is None or where.all():
            self._at = self._at + by
        elif where.any():
            self._at = self._at + np.where(where, by, 0)


def _upper(letters: Bytes) -> Bytes:
    small = (letters >= ord("a")) & (letters <= ord("z"))
    return letters - (small.astype(np.uint8) << 5)


def _cells(texts: pa.Array) -> tuple[Bytes, Numbers]:
    """Return the bytes of texts as columns (width, n) padded with zeros, and the texts' lengths (n,)."""
    texts = texts.fill_null("")
    length = np.diff(spans_of(texts)[0]).astype(np.int64)
    width = int(min(length.max(initial=0), _WIDEST))
    padded = pc.ascii_rpad(pc.if_else(pa.array(length > width), "", texts), width, "\0")
    offsets, data = spans_of(padded)
    cells = np.zeros((width + _BEYOND, len(texts)), np.uint8)
    if len(texts):
        cells[:width] = data[offsets[0] : offsets[-1]].reshape(len(texts), width).T
    return cells, length

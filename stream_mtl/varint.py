"""Numbers of variable length as Avro and Kafka write them, of many rows at once: eight bytes at every cursor are one word."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal, TypeAlias

import numpy as np
import numpy.typing as npt

Bytes: TypeAlias = npt.NDArray[np.uint8]
Ints: TypeAlias = npt.NDArray[np.int64]
Words: TypeAlias = npt.NDArray[np.uint64]
Mask: TypeAlias = npt.NDArray[np.bool_]

INT: Final = 5  # bytes at most
LONG: Final = 10

_WORD = 8
_HIGH = np.uint64(0x8080_8080_8080_8080)  # set in the bytes that are not a number's last
_SEVENS = np.uint64(0x7F7F_7F7F_7F7F_7F7F)
_ONE, _TWO, _THREE, _FOUR = (np.uint64(number) for number in (1, 2, 3, 4))
_ODD_7 = np.uint64(0x7F00_7F00_7F00_7F00)
_ODD_14 = np.uint64(0x3FFF_0000_3FFF_0000)
_LOW_28, _ODD_28 = np.uint64(0x0FFF_FFFF), np.uint64(0x0FFF_FFFF_0000_0000)
_BEYOND_INT = np.uint64(1 << 36)  # the fifth byte of an int has four bits
_LAST, _NEXT_LAST = np.uint64(63), np.uint64(56)
_ZIGZAG: Ints = np.array([(raw >> 1) ^ -(raw & 1) for raw in range(256)], np.int64)


class View:
    """A buffer as bytes, and as the words that begin at every byte of it."""

    __slots__ = ("_stops", "raw", "words")

    def __init__(self, raw: Bytes) -> None:
        """Take a contiguous buffer of 8 bytes or more."""
        self._stops: Ints | None = None
        self.raw = raw
        self.words: Words = np.ndarray((len(raw) - _WORD + 1,), "<u8", raw.data, strides=(1,))

    @property
    def stops(self) -> Ints:
        """Where a number could end: behind every byte that can be a last one."""
        if self._stops is None:
            self._stops = np.flatnonzero(self.raw < 0x80)
            self._stops += 1
        return self._stops

    def spans(self, at: Ints, offset: int, width: int) -> Bytes:
        """Return the `width` bytes from each cursor + offset on, as one buffer (n * width,)."""
        if width == 0:
            return self.raw[:0]
        windows = np.ndarray((len(self.raw) - width + 1,), f"V{width}", self.raw.data, strides=(1,))
        return windows[offset:][at].view(np.uint8)


@dataclass(slots=True)
class Varints:
    """Numbers (n,) as they were read, in the cheapest form that holds them all.

    `byte`: each was one byte. `word`: at most eight, with their continuation bits. `plain`: without them.
    A bad one reads as 0 of one byte.
    """

    raw: Bytes | Words  # (n,) zigzag
    size: int | npt.NDArray[np.unsignedinteger]  # (n,) bytes, or of each of them
    form: Literal["byte", "word", "plain"]
    bad: Mask | None = None  # (n,) too long, or too large; None for not one

    def values(self) -> Ints:
        """Return the numbers (n,)."""
        if self.form == "byte":
            return _ZIGZAG.take(self.raw)
        words = self.raw.view(np.uint64)
        return _zigzag(unpack(words) if self.form == "word" else words)


def read(view: View, at: Ints, offset: int, longest: int) -> Varints:
    """Read a number of at most INT or LONG bytes at each cursor (n,) + offset.

    Ten bytes may be read from there, whatever they are: the buffer must hold them.
    """
    if not len(at) or view.raw[at[0] + offset] < 0x80:
        first = view.raw[offset:].take(at)
        if not len(at) or first.max() < 0x80:
            return Varints(first, 1, "byte")
    words = view.words[offset:][at]
    stop = (words & _HIGH) ^ _HIGH
    low = stop & -stop
    keep = low ^ (low - _ONE)  # all bits up to those of the last byte; all there are, if it is not among them
    numbers = Varints(words & keep, np.bitwise_count(keep) >> 3, "word")
    if longest == INT:
        if numbers.raw.max() >= _BEYOND_INT:
            _refuse(numbers, numbers.raw >= _BEYOND_INT)
    elif stop.min() == 0:
        _go_on(numbers, stop == 0, view, at, offset)
    return numbers


def together(numbers: Sequence[Varints]) -> list[Ints]:
    """Return the values of several columns: those of one form cost one step for all of them."""
    words = [column.raw for column in numbers if column.form == "word"]
    if len(words) < 2:
        return [column.values() for column in numbers]
    unpacked = iter(_zigzag(unpack(np.stack(words))))
    return [next(unpacked) if column.form == "word" else column.values() for column in numbers]


def spread(counts: Ints) -> tuple[Ints, Ints]:
    """Return, for `counts` (n,) items of each of n owners, the owner of every item and its number there."""
    owners = np.repeat(np.arange(len(counts)), counts)
    begins = np.cumsum(counts) - counts
    return owners, np.arange(len(owners)) - begins[owners]


def unpack(words: Words) -> Words:
    """Return the 56 bits that words hold, seven in every byte: twos are joined to 14, these to 28, these to 56."""
    bits = words & _SEVENS
    most = bits.max(initial=0)
    if most < 0x100:
        return bits
    bits -= (bits & _ODD_7) >> _ONE
    if most >= 1 << 16:
        odd = bits & _ODD_14
        odd >>= _TWO
        odd *= _THREE
        bits -= odd
    if most >= 1 << 32:
        odd = bits & _ODD_28
        odd >>= _FOUR
        bits &= _LOW_28
        bits |= odd
    return bits


def _zigzag(bits: Words) -> Ints:
    sign = bits & _ONE
    np.negative(sign, out=sign)
    sign ^= bits >> _ONE
    return sign.view(np.int64)


def _go_on(numbers: Varints, long: Mask, view: View, at: Ints, offset: int) -> None:
    """Take the ninth byte, and the tenth, of those that have them: 63 bits, and the last one."""
    ninth = view.raw[offset + _WORD :].take(at)
    tenth = view.raw[offset + _WORD + 1 :].take(at)
    more = long & (ninth >= 0x80)
    bits = unpack(numbers.raw.view(np.uint64))
    bits |= np.where(long, ninth & np.uint8(0x7F), 0).astype(np.uint64) << _NEXT_LAST
    bits |= np.where(more, tenth & np.uint8(1), 0).astype(np.uint64) << _LAST
    numbers.raw, numbers.form = bits, "plain"
    numbers.size = numbers.size + long.astype(np.uint8) + more.astype(np.uint8)
    _refuse(numbers, more & (tenth > 1))


def _refuse(numbers: Varints, bad: Mask) -> None:
    if bad.any():
        numbers.bad = bad
        numbers.raw[bad] = 0
        numbers.size = np.where(bad, np.uint8(1), numbers.size)

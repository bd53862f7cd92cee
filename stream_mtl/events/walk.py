"""One cursor per row over many Avro records at once: one numpy step per field, and no look at a wanted value yet."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

import numpy as np
import numpy.typing as npt

from stream_mtl.events.arrays import Items, walk_array
from stream_mtl.events.schema import SHORT, Step
from stream_mtl.events.tree import Node
from stream_mtl.varint import INT, LONG, Bytes, Ints, Mask, Varints, View, read

FAR: Final = 1 << 62
"""The end of a row that is dead, or has no value where the others have: nothing is beyond it."""


@dataclass(frozen=True, slots=True)
class Spots:
    """Values (n,) of fixed width at the cursors (n,) + offset."""

    at: Ints
    offset: int


@dataclass(frozen=True, slots=True)
class Texts:
    """Texts (n,) at the cursors (n,) + offset."""

    at: Ints
    offset: int
    length: Ints | int  # (n,), or of each of them


Place: TypeAlias = Varints | Bytes | Ints | Spots | Texts | Items
"""Where a column is: Bytes for booleans, Ints for the numbers of symbols."""


@dataclass(frozen=True, slots=True)
class Cell:
    """A column that was walked over; `present` says which rows (n,) have a value, None for all."""

    node: Node
    place: Place
    present: Mask | None


class Walk:
    """Cursors (n,) in one buffer, each in a span of its own.

    A row that fails is dead: it goes on in a place where there are only zeros, `sink`, where every field reads as
    something short and valid. So does a row that is null where others have a value, until that value is over. The
    buffer must have zeros for the plan's reach, and 64 bytes more, behind `sink`.
    """

    def __init__(self, view: View, sink: int, starts: Ints, ends: Ints, most: int) -> None:
        """Begin at `starts`. `most` limits the items of an array."""
        self.view, self.sink = view, sink
        self.at, self.offset = starts, 0  # a cursor stands at their sum
        self.ends = ends
        self.most = most
        self.failures: list[tuple[Ints, str, str]] = []  # rows, reason, field
        self.cells: dict[int, Cell] = {}
        self._present: Mask | None = None

    def run(self, steps: Sequence[Step]) -> None:
        """Take all cursors over these fields."""
        for step in steps:
            _STEPS[step.kind](self, step)

    def finish(self) -> Mask:
        """Return which rows (n,) are alive, after a last look at whether they ended where they must."""
        stops = self.at + self.offset
        wrong = (stops != self.ends) & (self.ends != FAR)
        if wrong.any():
            self.fail(np.flatnonzero(wrong), stops[wrong], "trailing_bytes", "")
        alive: Mask = self.ends != FAR
        return alive

    def fail(self, rows: Ints, stops: Ints, reason: str, name: str) -> None:
        """Let rows (k,) die, having looked at the bytes before `stops` (k,): at some that were not theirs, perhaps."""
        beyond = stops > self.ends[rows]
        for which, why in ((beyond, "truncated"), (~beyond, reason)):
            if which.any():
                self.failures.append((rows[which], why, name))
        self.at, self.offset = self.at + self.offset, 0
        self.at[rows] = self.sink
        self.ends = self.ends.copy()
        self.ends[rows] = FAR

    def keep(self, step: Step, place: Place) -> None:
        """Remember where a wanted column is."""
        if step.cell is not None:
            self.cells[step.cell] = Cell(step.node, place, self._present)

    def _fail(self, bad: Mask, seen: int, reason: str, step: Step) -> None:
        """Let the bad rows (n,) die, after a look at `seen` bytes from the cursor on."""
        rows = np.flatnonzero(bad)
        if len(rows):
            self.fail(rows, (self.at + (self.offset + seen))[rows], reason, step.name)

    def _advance(self, size: int | npt.NDArray[Any]) -> None:
        if isinstance(size, int):
            self.offset += size
        else:
            self.at = self.at + size

    def _read(self, longest: int, step: Step) -> Varints:
        """Read a number and go on behind it."""
        numbers = read(self.view, self.at, self.offset, longest)
        if numbers.bad is not None:
            self._fail(numbers.bad, longest, "bad_varint", step)
        self._advance(numbers.size)
        return numbers

    def _number(self, step: Step) -> None:
        self.keep(step, self._read(INT if step.node.kind == "int" else LONG, step))

    def _boolean(self, step: Step) -> None:
        value = self.view.raw[self.offset :].take(self.at)
        if len(value) and value.max() > 1:
            bad = value > 1
            self._fail(bad, 1, "bad_boolean", step)
            value[bad] = 0
        self.keep(step, value)
        self.offset += 1

    def _enum(self, step: Step) -> None:
        index = self._read(INT, step).values()
        bad = (index < 0) | (index >= len(step.node.symbols))
        if bad.any():
            self._fail(bad, 0, "bad_enum", step)
            index[bad] = 0
        self.keep(step, index)

    def _text(self, step: Step) -> None:
        numbers = self._read(LONG, step)
        if numbers.form == "byte" and len(numbers.raw):
            first = int(numbers.raw[0])
            if not first & 1 and (numbers.raw == first).all():  # all are equally long, and below SHORT
                self.keep(step, Texts(self.at, self.offset, first >> 1))
                self.offset += first >> 1
                return
        length = numbers.values()
        negative = length < 0
        if negative.any():
            self._fail(negative, 0, "bad_length", step)
            length[negative] = 0
        self._span(step, length)

    def _fixed(self, step: Step) -> None:
        width = step.node.least
        if step.node.kind != "fixed":
            self.keep(step, Spots(self.at, self.offset))
            self.offset += width
        elif width <= SHORT:
            self.keep(step, Texts(self.at, self.offset, width))
            self.offset += width
        else:
            self._span(step, np.where(self.ends == FAR, 0, width))

    def _span(self, step: Step, length: Ints) -> None:
        """Go over spans (n,) that must end within the row."""
        over = length > self.ends - self.at - self.offset
        if over.any():
            self._fail(over, FAR, "truncated", step)
            length = np.where(over, 0, length)
        self.keep(step, Texts(self.at, self.offset, length))
        self.at = self.at + length

    def _array(self, step: Step) -> None:
        stops, items = walk_array(self, step)
        self.at, self.offset = stops, 0
        self.keep(step, items)

    def _nullable(self, step: Step) -> None:
        """Go over a branch that some rows have; those that have it not wait at the sink."""
        index = self._read(INT, step)
        codes, unit = (index.raw, 2) if index.form == "byte" else (index.values(), 1)
        present: Mask = codes == unit * step.branch
        some = np.count_nonzero(present)
        if some != len(present):
            absent = codes == unit * (1 - step.branch)
            if some + np.count_nonzero(absent) != len(present):
                self._fail(~(present | absent), 0, "bad_union", step)
            self._apart(step, present)
        else:
            self.run(step.inner)

    def _apart(self, step: Step, present: Mask) -> None:
        outer, ends, at = self._present, self.ends, self.at + self.offset
        self._present = present if outer is None else present & outer
        self.at, self.offset = np.where(present, at, self.sink), 0
        self.ends = np.where(present, ends, FAR)
        self.run(step.inner)
        self.at, self.offset = np.where(present, self.at + self.offset, at), 0
        self.ends = np.where(present, self.ends, ends)
        self._present = outer


_STEPS: Final[Mapping[str, Callable[[Walk, Step], None]]] = {
    "number": Walk._number,
    "boolean": Walk._boolean,
    "enum": Walk._enum,
    "text": Walk._text,
    "fixed": Walk._fixed,
    "array": Walk._array,
    "nullable": Walk._nullable,
}

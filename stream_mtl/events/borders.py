"""Where all rows of a block end: a function that is generated for one schema goes over them in one loop."""

import re
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from itertools import groupby
from typing import Any, Final, TypeAlias

from stream_mtl.events.strict import BadError, varint
from stream_mtl.events.tree import Node

Run: TypeAlias = Callable[[bytes, list[int], int], None]
"""(block, borders so far, number of rows) -> None; it appends where rows end until one is unusual."""


def runner(node: Node) -> Run:
    """Return what goes over the rows of a block; for a schema that is too large, what does nothing.

    It begins at the last border, and accepts only rows that `extent` accepts, with the same ends. It stops at a row
    of which it is not sure: that one is to be looked at by `extent`. No text of the schema gets into the source,
    only numbers.
    """
    if node.nodes > _MOST_NODES or _loops(node) > _MOST_LOOPS or _branches(node) > _MOST_BRANCHES:
        return lambda raw, borders, count: None
    names: dict[str, Any] = {"number": _number, "numbers": _numbers, "text": _text, "items": _items}
    names |= {"texts": _TEXTS, "odd": (LookupError, BadError)}
    exec(_Source(names).function(node), names)
    run: Run = names["run"]
    return run


class _Source:
    """The lines of the function. A cursor is `at` plus a number that is known when they are written, `ahead`."""

    def __init__(self, names: dict[str, Any]) -> None:
        self._names = names  # what the function finds around it
        self._lines: list[str] = []
        self._indent = 0

    def function(self, root: Node) -> str:
        """Return the source of `run`."""
        self._block("for _ in range(count + 1 - len(borders)):", lambda: self._row(root))
        body = "\n".join(f"  {line}" for line in self._lines)
        extra = "".join(f", {name}={name}" for name in self._names)
        return (
            f"def run(raw, borders, count{extra}):\n"
            " at, end, add = borders[-1], len(raw), borders.append\n"
            f" try:\n{body}\n except odd:\n  return\n"
        )

    def _row(self, root: Node) -> None:
        self._flush(self._value(root, 0))
        self._line("if at > end: return")
        self._line("add(at)")

    def _value(self, node: Node, ahead: int) -> int:
        """Go over a value; return how far ahead of `at` the cursor then is."""
        width = _width(node)
        return _WRITERS[node.kind](self, node, ahead) if width is None else ahead + width

    def _record(self, node: Node, ahead: int) -> int:
        for numeral, group in groupby(_parts(node), key=lambda part: part.kind in _NUMERALS):
            parts = list(group)
            if numeral and len(parts) >= _RUN:
                ahead = self._numerals(len(parts), ahead)
            else:
                for part in parts:
                    ahead = self._value(part, ahead)
        return ahead

    def _numerals(self, count: int, ahead: int) -> int:
        """Go over numbers one behind the other."""
        name = f"numbers_{count}"
        self._names[name] = _RUNS[count]
        self._line(f"found = {name}(raw, {_sum('at', ahead)})")
        self._line("if found is None: return")
        self._line("at = found.end()")
        return 0

    def _numeral(self, node: Node, ahead: int) -> int:
        tests = (f"{size} if raw[{_sum('at', ahead + size - 1)}] < 128" for size in range(1, _USUAL + 1))
        self._line(f"at += {' else '.join(tests)} else number(raw, {_sum('at', ahead)})")
        return ahead

    def _string(self, node: Node, ahead: int) -> int:
        here = _sum("at", ahead)
        self._line(f"at += texts[raw[{here}]] or text(raw, {here})")
        return ahead

    def _union(self, node: Node, ahead: int) -> int:
        widths = [_width(branch) for branch in node.branches]
        if None in widths:
            self._branches(node, ahead)
        else:
            name = f"widths_{len(self._names)}"
            self._names[name] = {2 * number: width for number, width in enumerate(widths)}
            self._line(f"at += {name}[raw[{_sum('at', ahead)}]]")
        return ahead + 1

    def _branches(self, node: Node, ahead: int) -> None:
        self._line(f"n = raw[{_sum('at', ahead)}]")
        word = "if"
        for number, branch in enumerate(node.branches):
            self._block(f"{word} n == {2 * number}:", partial(self._branch, branch, ahead + 1))
            word = "elif"
        self._line("else: raise LookupError")

    def _branch(self, node: Node, ahead: int) -> None:
        """Go over a value, after which the cursor is just as far ahead."""
        self._line("pass")
        self._flush(self._value(node, ahead) - ahead)

    def _array(self, node: Node, ahead: int) -> int:
        self._line(f"n = raw[{_sum('at', ahead)}]")
        self._flush(ahead + 1)
        self._block("while n:", lambda: self._items(node))
        return 0

    def _items(self, node: Node) -> None:
        """Go over a block of items, and the number of those in the next one."""
        self._line("if n & 129: n, at = items(raw, at - 1)")
        assert node.items is not None
        width = _width(node.items)
        if width is not None and node.kind == "array":
            self._line(f"at += (n >> 1) * {width}")
        elif node.items.kind in _NUMERALS and node.kind == "array":
            self._line("at = numbers(raw, at, n >> 1)")
        else:
            self._block("for _ in range(n >> 1):", lambda: self._item(node))
        self._line("n = raw[at]")
        self._line("at += 1")

    def _item(self, node: Node) -> None:
        assert node.items is not None
        ahead = self._string(node, 0) if node.kind == "map" else 0
        self._flush(self._value(node.items, ahead))

    def _block(self, head: str, body: Callable[[], None]) -> None:
        self._line(head)
        self._indent += 1
        body()
        self._indent -= 1

    def _flush(self, ahead: int) -> None:
        if ahead:
            self._line(f"at += {ahead}")

    def _line(self, line: str) -> None:
        self._lines.append(" " * self._indent + line)


def _sum(name: str, ahead: int) -> str:
    return f"{name} + {ahead}" if ahead else name


def _parts(node: Node) -> Iterator[Node]:
    """Return the fields of a record, with those of records among them instead of these."""
    for _, inner in node.fields:
        if inner.kind == "record":
            yield from _parts(inner)
        else:
            yield inner


def _width(node: Node) -> int | None:
    """Return how many bytes every value takes, None if they differ."""
    if node.kind == "record":
        widths = [_width(inner) for _, inner in node.fields]
        return None if None in widths else node.least
    return None if node.kind in _WRITERS else node.least


def _loops(node: Node) -> int:
    """Return how many arrays and maps are one in the other."""
    return (node.items is not None) + max(map(_loops, _children(node)), default=0)


def _branches(node: Node) -> int:
    """Return the branches of the widest union."""
    return max(len(node.branches), *map(_branches, _children(node)), 0)


def _children(node: Node) -> list[Node]:
    items = [] if node.items is None else [node.items]
    return [*(inner for _, inner in node.fields), *node.branches, *items]


def _number(raw: bytes, at: int) -> int:
    """Return the size of a number."""
    return _numbers(raw, at, 1) - at


def _numbers(raw: bytes, at: int, count: int) -> int:
    """Return where numbers end that stand one behind the other."""
    while count:
        some = min(count, _MOST_NUMBERS)
        found = _RUNS[some](raw, at)
        if found is None:
            raise LookupError
        at, count = found.end(), count - some
    return at


class _Runs(dict[int, Callable[[bytes, int], re.Match[bytes] | None]]):
    """What matches so many numbers one behind the other, by their number."""

    def __missing__(self, count: int) -> Callable[[bytes, int], re.Match[bytes] | None]:
        self[count] = match = re.compile(rb"(?:[\x80-\xff]*+[\x00-\x7f]){%d}+" % count).match
        return match


def _text(raw: bytes, at: int) -> int:
    """Return the size of a text with its length, which takes two bytes or more."""
    low, high = raw[at], raw[at + 1]
    if low > 127 > high and not low & 1:
        return 2 + (low >> 1 & 63 | high << 6)
    length, stop = varint(raw, at, len(raw), 10)
    if not 0 <= length <= len(raw) - stop:
        raise LookupError
    return stop + length - at


def _items(raw: bytes, at: int) -> tuple[int, int]:
    """Return twice the number of items, where there are some, and where they begin."""
    count, stop = varint(raw, at, len(raw), 10)
    if not 0 < count <= len(raw) - stop:
        raise LookupError
    return 2 * count, stop


_MOST_NODES: Final = 1_000
_MOST_LOOPS: Final = 8  # Python has at most 20 blocks one in the other, and an array takes two of them
_MOST_BRANCHES: Final = 32
_MOST_NUMBERS: Final = 64
_RUNS: Final = _Runs()
_RUN: Final = 3  # numbers that take longer one by one than by one call
_USUAL: Final = 6  # bytes of a number, of today's milliseconds too
_NUMERALS: Final = ("int", "long", "enum")
_TEXTS: Final = tuple(0 if length & 129 else 1 + length // 2 for length in range(256))
_WRITERS: Final[Mapping[str, Callable[[_Source, Node, int], int]]] = {
    "record": _Source._record,
    "int": _Source._numeral,
    "long": _Source._numeral,
    "enum": _Source._numeral,
    "bytes": _Source._string,
    "string": _Source._string,
    "union": _Source._union,
    "array": _Source._array,
    "map": _Source._array,
}

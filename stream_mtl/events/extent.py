"""Where an Avro value ends, and nothing else about it: for rows that stand one behind the other in a block."""

import re
from collections.abc import Callable, Iterator, Mapping
from functools import cached_property
from itertools import groupby
from typing import Final, TypeAlias

from stream_mtl.events.borders import Run, runner
from stream_mtl.events.strict import BadError, Raw, block, varint
from stream_mtl.events.tree import Node

_Skip: TypeAlias = Callable[[Raw, int, int], int]
"""(bytes, at, end) -> where the value that begins at `at` ends. Raises BadError."""
_Piece: TypeAlias = tuple[str, int | _Skip]
"""Bytes of a known number, numbers one behind the other, or anything else."""


class Skip:
    """Finds where values of one type end.

    They are not looked at: a number may be of any length, a boolean of any value. Items are walked over without a
    limit, for none is without bytes.
    """

    def __init__(self, node: Node) -> None:
        self._node, self._skip = node, _skipper(node)

    def __call__(self, raw: Raw, at: int, end: int) -> int:
        """Return where the value that begins at `at` ends. Raises BadError."""
        return self._skip(raw, at, end)

    def borders(self, raw: bytes, count: int) -> tuple[list[int], str | None]:
        """Return 0 and where each of `count` values ends that begin there, and why there are fewer of them.

        What is fast goes over the usual ones; each other one is looked at by itself.
        """
        borders, run = [0], self._run
        try:
            while len(borders) <= count:
                run(raw, borders, count)
                if len(borders) <= count:
                    borders.append(self._skip(raw, borders[-1], len(raw)))
        except BadError as bad:
            return borders, bad.reason
        return borders, None

    @cached_property
    def _run(self) -> Run:
        return runner(self._node)


def skipper(node: Node) -> Skip:
    """Return what finds the end of a value."""
    return Skip(node)


def _skipper(node: Node) -> _Skip:
    skips = []
    for kind, group in groupby(_pieces(node), key=lambda piece: piece[0]):
        pieces = [piece for _, piece in group]
        if kind == "other":
            skips += [piece for piece in pieces if callable(piece)]
        else:
            skips.append(_MERGED[kind](sum(piece for piece in pieces if isinstance(piece, int))))
    return skips[0] if len(skips) == 1 else _sequence(skips)


def _pieces(node: Node) -> Iterator[_Piece]:
    if node.kind == "record":
        for _, inner in node.fields:
            yield from _pieces(inner)
    elif node.kind in _NUMBERS:
        yield "numbers", 1
    elif node.kind in _OTHERS:
        yield "other", _OTHERS[node.kind](node)
    else:
        yield "width", node.least


def _sequence(skips: list[_Skip]) -> _Skip:
    def skip(raw: Raw, at: int, end: int) -> int:
        for one in skips:
            at = one(raw, at, end)
        return at

    return skip


def _width(width: int) -> _Skip:
    def skip(raw: Raw, at: int, end: int) -> int:
        if width > end - at:
            raise BadError("truncated")
        return at + width

    return skip


def _numbers(count: int) -> _Skip:
    match = re.compile(rb"(?:[\x80-\xff]*+[\x00-\x7f]){%d}+" % count).match

    def skip(raw: Raw, at: int, end: int) -> int:
        found = match(raw, at, end)
        if found is None:
            raise BadError("truncated")
        return found.end()

    return skip


def _text(node: Node) -> _Skip:
    def skip(raw: Raw, at: int, end: int) -> int:
        size, at = varint(raw, at, end, 10)
        if size < 0:
            raise BadError("bad_length")
        if size > end - at:
            raise BadError("truncated")
        return at + size

    return skip


def _union(node: Node) -> _Skip:
    branches = [_skipper(branch) for branch in node.branches]

    def skip(raw: Raw, at: int, end: int) -> int:
        number, at = varint(raw, at, end, 5)
        if not 0 <= number < len(branches):
            raise BadError("bad_union")
        return branches[number](raw, at, end)

    return skip


def _array(node: Node) -> _Skip:
    assert node.items is not None
    return _repeated(_skipper(node.items), node.items.least)


def _map(node: Node) -> _Skip:
    assert node.items is not None
    return _repeated(_sequence([_text(node), _skipper(node.items)]), 1 + node.items.least)


def _repeated(item: _Skip, least: int) -> _Skip:
    def skip(raw: Raw, at: int, end: int) -> int:
        while True:
            count, until, at = block(raw, at, end, 0, least, None)
            if count == 0:
                return at
            for _ in range(count):
                at = item(raw, at, end)
            if until is not None and at != until:
                raise BadError("bad_block")

    return skip


_NUMBERS: Final = ("int", "long", "enum")
_MERGED: Final[Mapping[str, Callable[[int], _Skip]]] = {"width": _width, "numbers": _numbers}
_OTHERS: Final[Mapping[str, Callable[[Node], _Skip]]] = {
    "bytes": _text,
    "string": _text,
    "union": _union,
    "array": _array,
    "map": _map,
}

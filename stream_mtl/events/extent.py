"""Where an Avro value ends, and nothing else about it: for rows that stand one behind the other in a block."""

import re
from collections.abc import Callable, Iterator, Mapping
from itertools import groupby
from typing import Final, TypeAlias

from stream_mtl.events.strict import BadError, Raw, block, varint
from stream_mtl.events.tree import Node

Skip: TypeAlias = Callable[[Raw, int, int], int]
"""(bytes, at, end) -> where the value that begins at `at` ends. Raises BadError."""
_Piece: TypeAlias = tuple[str, int | Skip]
"""Bytes of a known number, numbers one behind the other, or anything else."""


def skipper(node: Node) -> Skip:
    """Return what finds the end of a value.

    Values are not looked at: a number may be of any length, a boolean of any value. Items are walked over without a
    limit, for none is without bytes.
    """
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


def _sequence(skips: list[Skip]) -> Skip:
    def skip(raw: Raw, at: int, end: int) -> int:
        for one in skips:
            at = one(raw, at, end)
        return at

    return skip


def _width(width: int) -> Skip:
    def skip(raw: Raw, at: int, end: int) -> int:
        if width > end - at:
            raise BadError("truncated")
        return at + width

    return skip


def _numbers(count: int) -> Skip:
    match = re.compile(rb"(?:[\x80-\xff]*+[\x00-\x7f]){%d}+" % count).match

    def skip(raw: Raw, at: int, end: int) -> int:
        found = match(raw, at, end)
        if found is None:
            raise BadError("truncated")
        return found.end()

    return skip


def _text(node: Node) -> Skip:
    def skip(raw: Raw, at: int, end: int) -> int:
        size, at = varint(raw, at, end, 10)
        if size < 0:
            raise BadError("bad_length")
        if size > end - at:
            raise BadError("truncated")
        return at + size

    return skip


def _union(node: Node) -> Skip:
    branches = [skipper(branch) for branch in node.branches]

    def skip(raw: Raw, at: int, end: int) -> int:
        number, at = varint(raw, at, end, 5)
        if not 0 <= number < len(branches):
            raise BadError("bad_union")
        return branches[number](raw, at, end)

    return skip


def _array(node: Node) -> Skip:
    assert node.items is not None
    return _repeated(skipper(node.items), node.items.least)


def _map(node: Node) -> Skip:
    assert node.items is not None
    return _repeated(_sequence([_text(node), skipper(node.items)]), 1 + node.items.least)


def _repeated(item: Skip, least: int) -> Skip:
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
_MERGED: Final[Mapping[str, Callable[[int], Skip]]] = {"width": _width, "numbers": _numbers}
_OTHERS: Final[Mapping[str, Callable[[Node], Skip]]] = {
    "bytes": _text,
    "string": _text,
    "union": _union,
    "array": _array,
    "map": _map,
}

"""The headers of a record, as they stand in Kafka's record batches (format v2): for those who look at single records."""

from collections.abc import Sequence
from typing import Final, TypeAlias

Headers: TypeAlias = tuple[tuple[str, bytes | None], ...]

_LONGEST: Final = 5  # bytes of a number


def parse_headers(data: memoryview, at: int, end: int) -> Headers:
    """Return the headers whose number stands at `at`; none where they are not what they should be."""
    try:
        count, at = _number(data, at)
        found = []
        for _ in range(count):
            name, at = _bytes(data, at, end)
            value, at = _bytes(data, at, end)
            found.append(((name or b"").decode(errors="backslashreplace"), value))
    except (IndexError, ValueError):
        return ()
    return tuple(found)


def pack_headers(headers: Sequence[tuple[str, bytes | None]]) -> bytes:
    """Return headers as they stand in a batch, from their number on."""
    packed = [_packed(len(headers))]
    for name, value in headers:
        for part in (name.encode(), value):
            packed += [_packed(-1 if part is None else len(part)), part or b""]
    return b"".join(packed)


def _bytes(data: memoryview, at: int, end: int) -> tuple[bytes | None, int]:
    length, at = _number(data, at)
    if length < 0:
        return None, at
    if at + length > end:
        raise ValueError
    return bytes(data[at : at + length]), at + length


def _number(data: memoryview, at: int) -> tuple[int, int]:
    """Return a zigzag varint, and where it ends."""
    bits = 0
    for size in range(_LONGEST):
        byte = data[at + size]
        bits |= (byte & 127) << 7 * size
        if byte < 128:
            return bits >> 1 ^ -(bits & 1), at + size + 1
    raise ValueError


def _packed(number: int) -> bytes:
    bits, packed = number << 1 ^ number >> 63, bytearray()
    while bits > 127:
        packed.append(bits & 127 | 128)
        bits >>= 7
    return bytes([*packed, bits])

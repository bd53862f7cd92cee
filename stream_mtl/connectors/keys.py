"""A record's key on a bus, and the partition it belongs to: what puts a chain's records side by side in all topics."""

from collections.abc import Sequence
from typing import Any, Final

_SEED: Final = 0x9747B28C
_M: Final = 0x5BD1E995
_R: Final = 24
_WORD: Final = 0xFFFFFFFF


def record_key(values: Sequence[Any]) -> bytes:
    """Return the key of a record of these key fields: what puts a chain's records into one partition of every topic."""
    return "|".join(map(str, values)).encode()


def partition_of(key: bytes, partitions: int) -> int:
    """Return where Java's clients put a key, and ours, unless somebody has chosen otherwise."""
    return (murmur2(key) & 0x7FFFFFFF) % partitions


def murmur2(data: bytes) -> int:
    """Return the 32-bit hash that Kafka's partitioner takes, without a sign."""
    state = (_SEED ^ len(data)) & _WORD
    whole = len(data) & ~3
    for at in range(0, whole, 4):
        word = int.from_bytes(data[at : at + 4], "little") * _M & _WORD
        word = (word ^ word >> _R) * _M & _WORD
        state = state * _M & _WORD ^ word
    if whole < len(data):
        state = (state ^ int.from_bytes(data[whole:], "little")) * _M & _WORD
    state = (state ^ state >> 13) * _M & _WORD
    return state ^ state >> 15

"""Avro object container files: what a reader and a writer must know of headers and blocks, rows apart."""

import hashlib
import zlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final, TypeAlias

from stream_mtl.connectors.base import Format
from stream_mtl.errors import ConfigError

MAGIC: Final = b"Obj\x01"
SYNC: Final = 16  # bytes of the marker after the header and after every block
Buffer: TypeAlias = bytes | memoryview

_LONGEST_VARINT = 10


class DamageError(Exception):
    """The bytes are no container; `at` is the offset at which that shows."""

    def __init__(self, what: str, at: int) -> None:
        super().__init__(what)
        self.at = at


class _ShortError(Exception):
    """The bytes end before the thing that is being read does."""


@dataclass(frozen=True, slots=True)
class Header:
    """What a container file says about itself; `size` is its length in bytes."""

    format: Format
    sync: bytes
    size: int


@dataclass(slots=True)
class Blocks:
    """The whole blocks of a buffer: where their (compressed) rows stand, and how many they are.

    `size` is the bytes taken; `wanted` those that the next block needs from there on, 0 where that is not
    known; `damage` says why the next block can never be whole.
    """

    starts: list[int] = field(default_factory=list)
    ends: list[int] = field(default_factory=list)
    counts: list[int] = field(default_factory=list)
    size: int = 0
    wanted: int = 0
    damage: DamageError | None = None


def parse_header(data: Buffer) -> Header | None:
    """Return the header that `data` begins with, or None if it is longer than `data`. Raises DamageError."""
    if bytes(data[: len(MAGIC)]) != MAGIC[: len(data)]:
        raise DamageError("is no Avro object container: it does not begin with 'Obj' 1", 0)
    try:
        entries, at = _map(data, len(MAGIC))
        sync, at = _take(data, at, SYNC)
    except _ShortError:
        return None
    if "avro.schema" not in entries:
        raise DamageError("has a header without avro.schema", len(MAGIC))
    codec = entries.get("avro.codec", b"null").decode("ascii", "replace")
    return Header(Format("avro-container", entries["avro.schema"], codec), sync, at)


def parse_blocks(data: Buffer, opening: Header, longest: int) -> Blocks:
    """Return the whole blocks that `data` begins with.

    A block above `longest` bytes counts as damage, and so does one of more rows than there can be in it.
    """
    blocks = Blocks()
    try:
        while _block(data, opening, longest, blocks):
            pass
    except DamageError as damage:
        blocks.damage = damage
    return blocks


def header(schema: bytes, codec: str, sync: bytes) -> bytes:
    """Return the bytes that open a container file."""
    entries = {b"avro.schema": schema, b"avro.codec": codec.encode()}
    body = b"".join(zigzag(len(x)) + x for entry in entries.items() for x in entry)
    return MAGIC + zigzag(len(entries)) + body + zigzag(0) + sync


def block(rows: Sequence[bytes], codec: str, sync: bytes) -> bytes:
    """Return encoded rows as one block. Raises ConfigError for a codec that is not written here."""
    body = b"".join(rows)
    if codec == "deflate":
        packer = zlib.compressobj(wbits=-zlib.MAX_WBITS)  # Avro's deflate has neither header nor checksum
        body = packer.compress(body) + packer.flush()
    elif codec != "null":
        raise ConfigError(f"containers are written with codec null or deflate, not {codec!r}")
    return zigzag(len(rows)) + zigzag(len(body)) + body + sync


def marker(schema: bytes) -> bytes:
    """Return a file's marker: the same for the same schema, so that the same rows make the same file."""
    return hashlib.blake2b(schema, digest_size=SYNC).digest()


def zigzag(value: int) -> bytes:
    """Return an Avro long."""
    rest = (value << 1) ^ (value >> 63)
    out = bytearray()
    while rest > 0x7F:
        out.append(rest & 0x7F | 0x80)
        rest >>= 7
    out.append(rest)
    return bytes(out)


def _block(data: Buffer, opening: Header, longest: int, blocks: Blocks) -> bool:
    begin = blocks.size
    try:
        count, at = _varint(data, begin)
        size, at = _varint(data, at)
    except _ShortError:
        return False
    most = size if opening.format.codec == "null" else longest  # a row takes at least a byte
    if not 0 <= size <= longest or not 0 <= count <= most:
        raise DamageError(f"has a block of {count} rows in {size} bytes", begin)
    end = at + size
    if end + SYNC > len(data):
        blocks.wanted = end + SYNC - begin
        return False
    if data[end : end + SYNC] != opening.sync:
        raise DamageError("is damaged: a block does not end in the file's marker", end)
    blocks.starts.append(at)
    blocks.ends.append(end)
    blocks.counts.append(count)
    blocks.size = end + SYNC
    return True


def _map(data: Buffer, at: int) -> tuple[dict[str, bytes], int]:
    entries: dict[str, bytes] = {}
    while True:
        count, at = _varint(data, at)
        if count == 0:
            return entries, at
        if count < 0:  # a negative count is followed by the size of the map's part in bytes
            _, at = _varint(data, at)
        for _ in range(abs(count)):
            key, at = _text(data, at)
            entries[key.decode("utf-8", "replace")], at = _text(data, at)


def _text(data: Buffer, at: int) -> tuple[bytes, int]:
    size, begin = _varint(data, at)
    if size < 0:
        raise DamageError("has a header with a text of negative length", at)
    return _take(data, begin, size)


def _take(data: Buffer, at: int, size: int) -> tuple[bytes, int]:
    if at + size > len(data):
        raise _ShortError
    return bytes(data[at : at + size]), at + size


def _varint(data: Buffer, at: int) -> tuple[int, int]:
    value = shift = 0
    begin = at
    while at < len(data):
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return (value >> 1) ^ -(value & 1), at
        shift += 7
        if at - begin == _LONGEST_VARINT:
            raise DamageError("is damaged: a number does not end", begin)
    raise _ShortError

"""Blocks of Avro containers unpacked, and none of them to more than it may be."""

import bz2
import lzma
import zlib
from collections.abc import Callable, Mapping
from typing import Final, TypeAlias

import pyarrow as pa

from stream_mtl.errors import SchemaError
from stream_mtl.events.strict import BadError

Unpack: TypeAlias = Callable[[bytes, int], bytes]
"""(a block, the most bytes that it may become) -> its bytes. Raises BadError: bad_codec, too_large."""

_CHECKSUM: Final = 4  # bytes


def unpacker(codec: str) -> Unpack | None:
    """Return what unpacks the blocks of a codec, None for blocks that stand as they are.

    Raises SchemaError for a codec that is not read here.
    """
    if codec == "null":
        return None
    if codec not in _CODECS or not _there(codec):
        known = ", ".join(["null", *(name for name in _CODECS if _there(name))])
        raise SchemaError(f"containers of codec {codec!r} are not read here; known: {known}")
    return _CODECS[codec]


def _there(codec: str) -> bool:
    return codec not in _OF_ARROW or bool(pa.Codec.is_available(_OF_ARROW[codec]))


def _deflate(packed: bytes, most: int) -> bytes:
    stream = zlib.decompressobj(wbits=-zlib.MAX_WBITS)  # Avro's deflate has neither header nor checksum
    try:
        raw = stream.decompress(packed, most + 1)
    except zlib.error as error:
        raise BadError("bad_codec") from error
    # Python's Avro libraries cut too little off zlib's output: a part of its checksum stays.
    checksum = zlib.adler32(raw).to_bytes(_CHECKSUM, "big")
    rest = stream.unused_data
    return _ended(raw, most, stream.eof, b"" if checksum.startswith(rest) else rest)


def _bzip2(packed: bytes, most: int) -> bytes:
    stream = bz2.BZ2Decompressor()
    try:
        raw = stream.decompress(packed, most + 1)
    except (OSError, ValueError) as error:
        raise BadError("bad_codec") from error
    return _ended(raw, most, stream.eof, stream.unused_data)


def _xz(packed: bytes, most: int) -> bytes:
    stream = lzma.LZMADecompressor(lzma.FORMAT_XZ, memlimit=_XZ_MEMORY)
    try:
        raw = stream.decompress(packed, most + 1)
    except lzma.LZMAError as error:
        raise BadError("bad_codec") from error
    return _ended(raw, most, stream.eof, stream.unused_data)


def _ended(raw: bytes, most: int, eof: bool, rest: bytes) -> bytes:
    if len(raw) > most:
        raise BadError("too_large")
    if not eof or rest:
        raise BadError("bad_codec")
    return raw


def _zstandard(packed: bytes, most: int) -> bytes:
    try:
        with pa.input_stream(pa.py_buffer(packed), compression="zstd") as stream:
            raw: bytes = stream.read(most + 1)
    except (OSError, pa.ArrowInvalid) as error:
        raise BadError("bad_codec") from error
    return _ended(raw, most, True, b"")


def _snappy(packed: bytes, most: int) -> bytes:
    body, checksum = packed[:-_CHECKSUM], packed[-_CHECKSUM:]
    size = _snappy_size(body)
    if size > most:
        raise BadError("too_large")
    try:
        raw: bytes = pa.Codec("snappy").decompress(body, decompressed_size=size, asbytes=True)
    except (OSError, pa.ArrowInvalid) as error:
        raise BadError("bad_codec") from error
    if zlib.crc32(raw).to_bytes(_CHECKSUM, "big") != checksum:
        raise BadError("bad_codec")
    return raw


def _snappy_size(body: bytes) -> int:
    """Return the size that a block says it had: 32 bits, seven a byte."""
    size = 0
    for number, byte in enumerate(body[:5]):
        size |= (byte & 0x7F) << 7 * number
        if byte < 0x80:
            return size
    raise BadError("bad_codec")


_XZ_MEMORY: Final = 256 << 20  # bytes
_OF_ARROW: Final[Mapping[str, str]] = {"zstandard": "zstd", "snappy": "snappy"}
_CODECS: Final[Mapping[str, Unpack]] = {
    "deflate": _deflate,
    "snappy": _snappy,
    "zstandard": _zstandard,
    "bzip2": _bzip2,
    "xz": _xz,
}

"""Where randomness comes from: one stream of numbers for each purpose, and ids that look random."""

from zlib import crc32

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from stream_mtl.hashing import mix

Ints = npt.NDArray[np.int64]

_PAIRS = np.frombuffer(b"".join(b"%02x" % byte for byte in range(256)), np.uint16)
_ODD = 0x9E3779B97F4A7C15


def random(seed: int, purpose: str) -> np.random.Generator:
    """Return the generator of one purpose: what one purpose draws never moves what another draws."""
    return np.random.Generator(np.random.PCG64(np.random.SeedSequence((seed, crc32(purpose.encode())))))


def scrambled(number: Ints, seed: int, purpose: str) -> npt.NDArray[np.uint64]:
    """Return (n,) words without order; two numbers of one purpose never give the same word."""
    salt = (seed * _ODD ^ crc32(purpose.encode()) << 32) % 2**64
    return mix(number.astype(np.uint64) * np.uint64(_ODD) + np.uint64(salt))


def ids(number: Ints, seed: int, purpose: str) -> pa.Array:
    """Return (n,) texts of 16 hexadecimal digits, different for different numbers."""
    words = scrambled(number, seed, purpose).astype(">u8").view(np.uint8)
    offsets = np.arange(len(number) + 1, dtype=np.int32) * np.int32(16)
    return pa.StringArray.from_buffers(len(number), pa.py_buffer(offsets), pa.py_buffer(_PAIRS[words]))

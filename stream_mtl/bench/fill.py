"""Fills a topic fast: record batches made here and handed to one broker as they are, many requests on their way."""

import socket
import struct
from collections import deque
from collections.abc import Iterator
from contextlib import closing

import crc32c
import numpy as np
import numpy.typing as npt

from stream_mtl.connectors.containers import zigzag
from stream_mtl.errors import Unavailable

Ints = npt.NDArray[np.int64]

_UNDER_WAY = 32  # requests without an answer
_PRODUCE, _VERSION = 0, 7
_CLIENT = b"stream-mtl-bench"


def fill(
    address: str,
    topic: str,
    data: npt.NDArray[np.uint8],
    starts: Ints,
    ends: Ints,
    times: Ints,
    batch_bytes: int,
) -> None:
    """Append records to partition 0, in batches of so many bytes, as producers send them. Raises Unavailable.

    The broker must lead the partition and ask for no password: this is for a broker of one's own.
    """
    host, _, port = address.partition(",")[0].rpartition(":")
    with closing(socket.create_connection((host, int(port)), timeout=30)) as connection:
        waiting: deque[int] = deque()
        for number, batch in enumerate(_batches(data, starts, ends, times, batch_bytes)):
            connection.sendall(_request(topic, batch, number))
            waiting.append(number)
            if len(waiting) > _UNDER_WAY:
                _answer(connection, topic, waiting.popleft())
        for number in waiting:
            _answer(connection, topic, number)


def _batches(
    data: npt.NDArray[np.uint8], starts: Ints, ends: Ints, times: Ints, size: int
) -> Iterator[bytes]:
    raw = data.tobytes()
    values = [raw[start:end] for start, end in zip(starts.tolist(), ends.tolist(), strict=True)]
    moments = times.tolist()
    begin, held = 0, 0
    for row, value in enumerate(values):
        held += len(value)
        if held >= size or row + 1 == len(values):
            yield batch_of(values[begin : row + 1], moments[begin : row + 1])
            begin, held = row + 1, 0


def batch_of(values: list[bytes], times: list[int]) -> bytes:
    """Return a record batch (format v2, not compressed, no keys) of values and their times in ms."""
    base = times[0]
    records = bytearray()
    for number, (value, moment) in enumerate(zip(values, times, strict=True)):
        body = b"\0" + zigzag(moment - base) + zigzag(number) + b"\x01" + zigzag(len(value)) + value + b"\0"
        records += zigzag(len(body)) + body
    count = len(values)
    checked = struct.pack(">hiqqqhii", 0, count - 1, base, max(times), -1, -1, -1, count) + bytes(records)
    return struct.pack(">qiibI", 0, len(checked) + 9, -1, 2, crc32c.crc32c(checked)) + checked


def _request(topic: str, batch: bytes, number: int) -> bytes:
    name = topic.encode()
    head = struct.pack(">hhih", _PRODUCE, _VERSION, number, len(_CLIENT)) + _CLIENT
    body = struct.pack(">hhiih", -1, 1, 30_000, 1, len(name)) + name
    text = head + body + struct.pack(">iii", 1, 0, len(batch)) + batch
    return struct.pack(">i", len(text)) + text


def _answer(connection: socket.socket, topic: str, number: int) -> None:
    (size,) = struct.unpack(">i", _exactly(connection, 4))
    answer = _exactly(connection, size)
    (echoed,) = struct.unpack_from(">i", answer)
    at = 4 + 4 + 2 + len(topic.encode()) + 4 + 4  # number, topics, name, partitions, partition
    (code,) = struct.unpack_from(">h", answer, at)
    if echoed != number or code != 0:
        raise Unavailable(f"the broker did not take records for {topic}: error code {code} of the protocol")


def _exactly(connection: socket.socket, size: int) -> bytes:
    parts = []
    while size:
        part = connection.recv(size)
        if not part:
            raise Unavailable("the broker closed the connection while a topic was filled")
        parts.append(part)
        size -= len(part)
    return b"".join(parts)

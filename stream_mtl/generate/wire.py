"""A stream as Avro bytes, broken records included: framed one by one, or as object container files."""

import json
from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from stream_mtl.connectors.containers import header, marker, zigzag
from stream_mtl.generate.avro import encode, frame_confluent
from stream_mtl.generate.faults import Breakage
from stream_mtl.generate.fields import avro_schema
from stream_mtl.generate.generated import Stream
from stream_mtl.generate.options import GeneratorOptions

Bytes = npt.NDArray[np.uint8]
Ints = npt.NDArray[np.int64]

_CHUNK = 1 << 16  # rows encoded at a time
_BLOCK = 1_000  # rows of one container block: some 100 kB
_NO_UTF8 = 0xFF


def frames(options: GeneratorOptions, stream: Stream, schema_id: int) -> tuple[Bytes, Ints, Ints]:
    """Return a stream's records in order, as a schema registry frames them: (data, starts, ends)."""
    schema = avro_schema(options, stream.kind)
    data, starts, ends = frame_confluent(stream.table, schema, schema_id)
    _spoil(data, starts + 5, stream.broken)
    return data, starts, ends


def container(options: GeneratorOptions, stream: Stream) -> Iterator[bytes]:
    """Yield the parts of an Avro object container file."""
    schema = avro_schema(options, stream.kind)
    text = json.dumps(schema, separators=(",", ":")).encode()
    sync = marker(text)
    yield header(text, "null", sync)
    for begin in range(0, len(stream), _CHUNK):
        part = stream.slice(begin, begin + _CHUNK)
        data, starts, ends = encode(part.table, schema)
        _spoil(data, starts, part.broken)
        for row in range(0, len(part), _BLOCK):
            last = min(row + _BLOCK, len(part))
            body = data[starts[row] : ends[last - 1]].tobytes()
            yield zigzag(last - row) + zigzag(len(body)) + body + sync


def _spoil(data: Bytes, bodies: Ints, broken: npt.NDArray[np.int8]) -> None:
    """Make the id of broken records a text that is none.

    The id is the first field, and its length fills one byte. A time out of range is in the columns already.
    """
    rows = np.flatnonzero((broken == Breakage.GARBAGE) | (broken == Breakage.TYPE))
    data[bodies[rows] + 1] = _NO_UTF8

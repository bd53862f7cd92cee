"""Events as an Avro object container file."""

import json
from collections.abc import Iterator, Mapping
from typing import Any

import pyarrow as pa

from stream_mtl.connectors.containers import header, marker, zigzag
from stream_mtl.generate.avro import encode

_CHUNK = 1 << 16  # rows encoded at a time
_BLOCK = 1_000  # rows of one container block


def container(events: pa.Table, schema: Mapping[str, Any]) -> Iterator[bytes]:
    """Yield the parts of a file of events, in their order."""
    text = json.dumps(schema, separators=(",", ":")).encode()
    sync = marker(text)
    yield header(text, "null", sync)
    for begin in range(0, events.num_rows, _CHUNK):
        part = events.slice(begin, _CHUNK)
        data, starts, ends = encode(part, schema)
        for row in range(0, part.num_rows, _BLOCK):
            last = min(row + _BLOCK, part.num_rows)
            body = data[starts[row] : ends[last - 1]].tobytes()
            yield zigzag(last - row) + zigzag(len(body)) + body + sync

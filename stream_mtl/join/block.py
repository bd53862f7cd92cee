"""Blocks: how transitions travel and how a joiner commits; one header, some columns, one checksum.

A block is bytes: the magic, the length of the header, the header (JSON), the three tables as Arrow IPC streams,
and a CRC-32C of all before it. When it is durable, the positions in its header are committed; nothing else is.
"""

import struct
from collections.abc import Iterable, Sequence
from itertools import chain

import crc32c
import msgspec
import numpy as np
import pyarrow as pa

from stream_mtl.errors import BlockCorrupt
from stream_mtl.join.parts import stream_parts
from stream_mtl.join.transitions import Transitions

MAGIC = b"SMTLBLK1"
_LENGTH = struct.Struct("<I")


class Progress(msgspec.Struct, frozen=True):
    """How far one source partition was read: from `first` up to, not including, `next`."""

    source: str
    partition: int
    first: int
    next: int
    watermark: int | None = None  # ms, after that
    greatest: int | None = None  # ms: event time so far


class Tick(msgspec.Struct, frozen=True):
    """The watermark of a silent source partition was raised to `floor`, before its record at `position`."""

    source: str
    partition: int
    position: int
    floor: int


class Header(msgspec.Struct, frozen=True):
    """What a block says of itself. `told_before`: every telling before this event time is in this block or earlier."""

    partition: int  # of the joiner
    epoch: int
    block: int  # 0, 1, 2, ... without a gap
    told_before: int
    exposures: int  # how many exposures were opened in all blocks up to and with this one
    progress: tuple[Progress, ...]
    ticks: tuple[Tick, ...]
    accounts: dict[str, dict[str, int]]  # kind -> fate -> records so far
    fingerprint: str  # of the chain
    sections: tuple[int, ...] = ()  # bytes of rows, keys, fields
    ignored: int = 0  # records so far that no kind wanted


def encode(header: Header, transitions: Transitions) -> list[memoryview]:
    """Return the block as buffers to be written one after the other."""
    rows = pa.Table.from_batches([transitions.rows])
    sections = [stream_parts(table) for table in (rows, transitions.keys, transitions.fields)]
    sizes = tuple(sum(map(len, section)) for section in sections)
    text = msgspec.json.encode(msgspec.structs.replace(header, sections=sizes))
    parts = [memoryview(MAGIC), memoryview(_LENGTH.pack(len(text))), memoryview(text), *chain(*sections)]
    checksum = 0
    for part in parts:
        checksum = crc32c.crc32c(part, checksum)
    return [*parts, memoryview(_LENGTH.pack(checksum))]


def decode(data: bytes | memoryview, where: str = "block") -> tuple[Header, Transitions]:
    """Read a block. Raises BlockCorrupt, naming `where`, if it is not whole."""
    view = memoryview(data)
    header, start = _header(view, where)
    body = view[:-4]
    if crc32c.crc32c(body) != _LENGTH.unpack(view[-4:])[0]:
        raise BlockCorrupt(
            f"{where}: checksum does not match; delete it and what follows it, the joiner writes them anew"
        )
    tables = []
    for size in header.sections:
        tables.append(pa.ipc.open_stream(pa.py_buffer(view[start : start + size])).read_all())
        start += size
    rows, keys, fields = tables
    return header, Transitions(_one_batch(rows), keys, fields)


def decode_header(data: bytes | memoryview, where: str = "block") -> Header:
    """Read only the header, without checking the checksum. Raises BlockCorrupt if there is none."""
    return _header(memoryview(data), where)[0]


def _header(view: memoryview, where: str) -> tuple[Header, int]:
    begin = len(MAGIC) + 4
    if len(view) < begin + 4 or bytes(view[: len(MAGIC)]) != MAGIC:
        raise BlockCorrupt(f"{where}: not a block of transitions")
    end = begin + int(_LENGTH.unpack(view[len(MAGIC) : begin])[0])
    try:
        header = msgspec.json.decode(view[begin:end], type=Header)
    except msgspec.DecodeError as error:
        raise BlockCorrupt(f"{where}: header is damaged ({error}); delete it and what follows it") from None
    return header, end


def merged(parts: Sequence[Transitions]) -> Transitions:
    """Return several batches, in their order, as one."""
    if len(parts) == 1:
        return parts[0]
    rich = np.array([part.fields.num_rows for part in parts])
    poor = np.array([part.keys.num_rows for part in parts]) - rich
    rich_start, poor_start = _starts(rich), int(rich.sum()) + _starts(poor)
    batches = []
    for part, fields, to_rich, to_poor in zip(parts, rich, rich_start, poor_start, strict=True):
        row = part.rows.column("row").to_numpy()
        place = np.where(row < fields, row + to_rich, row - fields + to_poor).astype(np.int32)
        at = part.rows.schema.get_field_index("row")
        batches.append(part.rows.set_column(at, part.rows.schema.field(at), pa.array(place)))
    rich_keys = [part.keys.slice(0, int(fields)) for part, fields in zip(parts, rich, strict=True)]
    poor_keys = [part.keys.slice(int(fields)) for part, fields in zip(parts, rich, strict=True)]
    keys = pa.concat_tables(rich_keys + poor_keys)
    return Transitions(pa.concat_batches(batches), keys, pa.concat_tables([part.fields for part in parts]))


def _starts(sizes: np.ndarray) -> np.ndarray:
    return np.concatenate([[0], np.cumsum(sizes)[:-1]])


def _one_batch(table: pa.Table) -> pa.RecordBatch:
    batches: Iterable[pa.RecordBatch] = table.combine_chunks().to_batches()
    return next(iter(batches), pa.RecordBatch.from_pylist([], schema=table.schema))

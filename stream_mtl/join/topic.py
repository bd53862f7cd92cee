"""The log of transitions on a topic: a partition of it takes the blocks of one joiner partition, a record a part.

What makes a record count is decided here, for the joiner that recovers as for everybody who reads: parts of a lower
epoch than the last claim before them are void, and of one epoch each block is the next one, whole, and begins where
the one before it ended.
"""

import struct
import uuid
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final, NamedTuple

from stream_mtl.connectors.claims import Claim, Tenure, claim_of, claims, take_over
from stream_mtl.connectors.partition import Entry, PartitionLog
from stream_mtl.errors import BlockCorrupt, PositionOutOfRange, StateError
from stream_mtl.failpoints import reach
from stream_mtl.join.block import Header, decode, decode_header, encode
from stream_mtl.join.log import Bookmark, plain, refuse_other
from stream_mtl.join.transitions import Transitions

PART_BYTES: Final = 900_000
"""Of one record at most: brokers take a megabyte unless told otherwise."""

_MAGIC: Final = b"SMTLPRT1"
_FRAME: Final = struct.Struct("<8sIQII")  # magic, epoch, block, part, parts
_MARKS: Final = 4_096  # blocks whose offsets are remembered


class Whole(NamedTuple):
    """The bytes of a block, and where they stand."""

    block: int
    data: bytes
    offset: int  # of its first part
    epoch: int  # before that offset


class Part(NamedTuple):
    """Which part of which block a record is, and of which writer."""

    epoch: int
    block: int
    part: int
    parts: int


def part_of(entry: Entry) -> Part | None:
    """Return what part of a block a record is; None if it is none."""
    if len(entry.value) < _FRAME.size or not entry.value.startswith(_MAGIC):
        return None
    return Part(*_FRAME.unpack_from(entry.value)[1:])


class Following:
    """What counts, record by record, from some offset on. Feed it every record in order."""

    def __init__(self, name: str, epoch: int = 0, block: int | None = None) -> None:
        """`epoch` is in force at the first record; `block` is the one that must come next, None: any."""
        self.epoch, self.next = epoch, block
        self.claim: Claim | None = None  # the last one
        self._name = name
        self._parts: list[memoryview] = []
        self._start = self._before = 0
        self._last: Header | None = None

    def feed(self, entry: Entry) -> Whole | None:
        """Take a record; return the block that it completes. Raises BlockCorrupt, DataError."""
        claim = claim_of(entry)
        if claim is not None:
            if claim.epoch > self.epoch:
                self.epoch, self.claim, self._parts = claim.epoch, claim, []
            return None
        where = f"{self._name}, offset {entry.offset}"
        found = part_of(entry)
        if found is None:
            raise BlockCorrupt(f"{where}: no part of a block; nothing but a joiner may write to this topic")
        if self.next is None:  # the log was cut in front of the claim
            self.epoch = max(self.epoch, found.epoch)
        if self.void(found) is not None:
            return None
        if self.next is not None and found.block > self.next:
            raise BlockCorrupt(f"{where}: block {self.next} is missing before block {found.block}")
        return self._add(entry, found.block, found.part, found.parts)

    def void(self, part: "Part") -> str | None:
        """Return why the next record, which is that part, counts for nobody; None if it may count."""
        if part.epoch < self.epoch:
            return f"epoch {self.epoch} was claimed before it: its writer was fenced"
        if self.next is not None and part.block < self.next:
            return f"block {part.block} is there already"
        return None

    def _add(self, entry: Entry, block: int, part: int, parts: int) -> Whole | None:
        if part == 0:
            self._parts, self._start, self._before = [], entry.offset, self.epoch
        elif part != len(self._parts):  # the log was cut inside this block, or its writer began it anew
            self._parts = []
            return None
        self._parts.append(memoryview(entry.value)[_FRAME.size :])
        if len(self._parts) < parts:
            return None
        data, self._parts = b"".join(self._parts), []
        self.next = block + 1
        return Whole(block, data, self._start, self._before)

    def follows(self, header: Header) -> None:
        """Check that a block begins where the one before it ended. Raises BlockCorrupt."""
        if self._last is not None and self._last.block == header.block - 1:
            ends = {(p.source, p.partition): p.next for p in self._last.progress}
            begins = {(p.source, p.partition): p.first for p in header.progress}
            if begins != ends:
                raise BlockCorrupt(
                    f"{self._name}: block {header.block} begins at {begins}, but the one before it ended at {ends}"
                )
        self._last = header


class TopicLog:
    """One joiner partition's blocks in a partition of a topic. Who writes calls `declare` first, which takes it over."""

    def __init__(self, log: PartitionLog, part_bytes: int = PART_BYTES) -> None:
        self._log, self._part_bytes = log, part_bytes
        self._tenure: Tenure | None = None
        self._next: int | None = None  # the block to be appended
        self._marks: dict[int, tuple[int, int]] = {}  # block -> (offset, epoch before it)
        self._following = Following(log.name)
        self._offset: int | None = None  # of the record to be fed next, None: the beginning of the log
        self._claim: Claim | None = None  # the last one seen

    @property
    def epoch(self) -> int:
        """The epoch of what is appended; 0 for who only reads."""
        return self._tenure.epoch if self._tenure is not None else 0

    def declare(self, declaration: Mapping[str, Any]) -> None:
        """Take the log over and say what its blocks mean. Raises FingerprintMismatch, Unavailable."""
        self.check(declaration)
        owner = uuid.uuid4().hex
        self._tenure = take_over(self._log, owner, plain(declaration), self._following.epoch, self._offset)

    def check(self, declaration: Mapping[str, Any]) -> None:
        """Raise FingerprintMismatch if the log was written under another declaration."""
        last = self._to_end()
        claim = self._claim
        if claim is None and last is not None and last.fingerprint != declaration["fingerprint"]:
            claim = max(claims(self._log, self._log.begin(), self._log.end()), default=None, key=_epoch)
        if claim is not None:
            refuse_other(self._log.name, claim.says, plain(declaration))

    def append(self, header: Header, transitions: Transitions) -> None:
        """Append a block, in parts. Raises Fenced, Unavailable: then it counts or not, and `declare` must come again."""
        if self._tenure is None:
            raise StateError(f"{self._log.name}: is not claimed by this process; call declare first")
        if header.block != (self._next or 0):
            raise StateError(f"block {header.block} cannot follow block {(self._next or 0) - 1}")
        epoch = self._tenure.epoch
        pieces = cut(encode(header, transitions), self._part_bytes)
        parts = [
            b"".join([_FRAME.pack(_MAGIC, epoch, header.block, number, len(pieces)), *piece])
            for number, piece in enumerate(pieces)
        ]
        reach("log.before_send")
        offsets = self._tenure.append(parts)
        reach("log.after_send")
        self._mark(header.block, offsets[0], epoch)
        self._mark(header.block + 1, offsets[-1] + 1, epoch)
        self._next = header.block + 1

    def still_ours(self) -> None:
        """Raise Fenced if somebody has taken the log over since it was last written to."""
        if self._tenure is not None:
            self._tenure.check()

    def last(self) -> Header | None:
        """Return the header of the last whole block; None if there is none. What is appended follows it."""
        header = self._to_end()
        self._next = 0 if header is None else header.block + 1
        return header

    def first(self) -> int:
        """Return the number of the oldest whole block that is kept; 0 if there is none."""
        following = Following(self._log.name)
        return next((whole.block for whole in self._wholes(following, self._log.begin())), 0)

    def next(self) -> int:
        """Return the number after the newest whole block."""
        self._to_end()
        return self._following.next or 0

    def headers(self, start: int = 0) -> Iterator[Header]:
        """Return the headers from block `start` on."""
        return (decode_header(whole.data, self._log.name) for whole in self._from(start))

    def read(self, start: int = 0) -> Iterator[tuple[Header, Transitions]]:
        """Return whole blocks from `start` on, up to the last there is now. Raises BlockCorrupt."""
        return (decode(whole.data, f"{self._log.name}, block {whole.block}") for whole in self._from(start))

    def bookmark(self, block: int) -> Bookmark:
        """Return where that block begins, which must be one that was read or appended of late, or the next one."""
        if block not in self._marks:
            return {}
        offset, epoch = self._marks[block]
        return {"block": block, "offset": offset, "epoch": epoch}

    def resume(self, bookmark: Bookmark) -> None:
        """Go on where a bookmark says, as if all before had been read."""
        if bookmark:
            self._seek(bookmark["block"], bookmark["offset"], bookmark["epoch"])

    def close(self) -> None:
        """Let go of the partition."""
        self._log.close()

    def _from(self, start: int) -> Iterator[Whole]:
        if self._following.next != start:
            self._reposition(start)
        wanted = start
        for whole in self._wholes(self._following, self._offset):
            if whole.block > wanted:
                raise PositionOutOfRange(
                    f"{self._log.name}: block {wanted} is no longer there, the log begins with block {whole.block}"
                )
            if whole.block == wanted:
                wanted += 1
                yield whole

    def _reposition(self, start: int) -> None:
        earlier = [block for block in self._marks if block <= start]
        if earlier:
            block = max(earlier)
            self._seek(block, *self._marks[block])
        else:
            self._following, self._offset = Following(self._log.name), None

    def _seek(self, block: int, offset: int, epoch: int) -> None:
        self._following, self._offset = Following(self._log.name, epoch, block), offset
        self._mark(block, offset, epoch)

    def _to_end(self) -> Header | None:
        """Read what has come; returns the header of the last whole block."""
        last = None
        for whole in self._wholes(self._following, self._offset):
            last = whole
        if last is not None:
            return decode_header(last.data, self._log.name)
        if not self._following.next:
            return None
        self._reposition(self._following.next - 1)
        for whole in self._wholes(self._following, self._offset):
            last = whole
        return decode_header(last.data, self._log.name) if last is not None else None

    def _wholes(self, following: Following, offset: int | None) -> Iterator[Whole]:
        """Yield the whole blocks from an offset on, up to the end; our own place follows, if it is ours."""
        own = following is self._following
        at = self._log.begin() if offset is None else offset
        while entries := self._read(at):
            for entry in entries:
                at = entry.offset + 1
                whole = following.feed(entry)
                if own:
                    self._offset, self._claim = at, following.claim or self._claim
                if whole is None:
                    continue
                following.follows(decode_header(whole.data, self._log.name))
                if own:
                    self._mark(whole.block, whole.offset, whole.epoch)
                    self._mark(whole.block + 1, at, following.epoch)
                yield whole
                if own and self._offset != at:
                    return  # it was read on from another place meanwhile

    def _read(self, offset: int) -> list[Entry]:
        try:
            return self._log.read(offset)
        except PositionOutOfRange as error:
            raise PositionOutOfRange(
                f"{error}; the broker has dropped or lost a part of the log of transitions: put it back, or begin anew "
                "with an empty state, a joiner under another join.path too"
            ) from error

    def _mark(self, block: int, offset: int, epoch: int) -> None:
        self._marks[block] = (offset, epoch)
        if len(self._marks) > _MARKS:
            del self._marks[min(self._marks)]


def cut(buffers: Iterable[memoryview], size: int) -> list[list[memoryview]]:
    """Return buffers that follow each other in pieces of so many bytes, the last one shorter; nothing is copied."""
    pieces: list[list[memoryview]] = [[]]
    left = size
    for buffer in buffers:
        while len(buffer):
            if not left:
                pieces.append([])
                left = size
            pieces[-1].append(buffer[:left])
            taken = len(pieces[-1][-1])
            buffer, left = buffer[taken:], left - taken
    return pieces


def _epoch(claim: Claim) -> int:
    return claim.epoch

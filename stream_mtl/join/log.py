"""The log of transitions: where a joiner's blocks become durable, and where everybody after it reads."""

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Protocol, TypeAlias

import msgspec

from stream_mtl.durable import BESIDE, replace_file, sync_folder, write_synced
from stream_mtl.errors import BlockCorrupt, FingerprintMismatch, NotWritten, StateError
from stream_mtl.failpoints import reach
from stream_mtl.join.block import Header, decode, decode_header, encode
from stream_mtl.join.transitions import Transitions

_SUFFIX = ".block"
_CACHED = 4  # newest blocks that are left in the kernel's page cache, for readers right behind


Bookmark: TypeAlias = Mapping[str, int]
"""Where a block begins, in a log's own words; {} where block numbers alone say it."""


class TransitionLog(Protocol):
    """One joiner partition's blocks. A reader takes a block when it is whole; a position is (block, row)."""

    @property
    def epoch(self) -> int:
        """What the headers of appended blocks say; 0 in a log that cannot be taken over."""
        ...

    def declare(self, declaration: Mapping[str, Any]) -> None:
        """Say what the blocks mean. Raises FingerprintMismatch if the log was begun under another declaration."""
        ...

    def append(self, header: Header, transitions: Transitions) -> None:
        """Make a block durable. Its number must be the next one.

        Raises Unavailable if it cannot be; NotWritten where the same block may be appended again.
        """
        ...

    def last(self) -> Header | None:
        """Return the header of the last whole block, after dropping a torn one behind it; None if there is none."""
        ...

    def first(self) -> int:
        """Return the number of the oldest block that is kept."""
        ...

    def next(self) -> int:
        """Return the number that the next block will have."""
        ...

    def headers(self, start: int = 0) -> Iterator[Header]:
        """Return the headers from block `start` on."""
        ...

    def read(self, start: int = 0) -> Iterator[tuple[Header, Transitions]]:
        """Return whole blocks from `start` on, up to the last there is now. Raises BlockCorrupt, PositionOutOfRange."""
        ...

    def bookmark(self, block: int) -> Bookmark:
        """Return where a block begins that was read or appended of late, or the one after it: to be kept, for `resume`."""
        ...

    def resume(self, bookmark: Bookmark) -> None:
        """Spare a log that was just opened the way to a bookmark, as if all before it had been read."""
        ...

    def close(self) -> None:
        """Let go of what is held. May be called twice."""
        ...


class Numbered:
    """What is the same in all logs whose blocks are found by their numbers and which cannot be taken over."""

    @property
    def epoch(self) -> int:
        """Return 0."""
        return 0

    def bookmark(self, block: int) -> Bookmark:
        """Return nothing: the number says it."""
        return {}

    def resume(self, bookmark: Bookmark) -> None:
        """Do nothing."""

    def close(self) -> None:
        """Do nothing."""


class MemoryLog(Numbered):
    """Blocks in a list: for tests, replays and benches."""

    def __init__(self) -> None:
        self.blocks: list[tuple[Header, Transitions]] = []
        self._declared: dict[str, Any] | None = None

    def declare(self, declaration: Mapping[str, Any]) -> None:
        """Remember the first declaration, refuse another."""
        self._declared = self._declared or plain(declaration)
        refuse_other("this log", self._declared, plain(declaration))

    def append(self, header: Header, transitions: Transitions) -> None:
        """Keep the block."""
        _expect(header.block, len(self.blocks))
        self.blocks.append((header, transitions))

    def last(self) -> Header | None:
        """Return the last header."""
        return self.blocks[-1][0] if self.blocks else None

    def first(self) -> int:
        """Return 0."""
        return 0

    def next(self) -> int:
        """Return the number of blocks."""
        return len(self.blocks)

    def headers(self, start: int = 0) -> Iterator[Header]:
        """Return headers from `start` on."""
        return (header for header, _ in self.blocks[start:])

    def read(self, start: int = 0) -> Iterator[tuple[Header, Transitions]]:
        """Return blocks from `start` on."""
        return iter(self.blocks[start:])


class PassingLog(MemoryLog):
    """Blocks that are handed on to one reader and forgotten: for replays of more than memory holds."""

    def __init__(self) -> None:
        super().__init__()
        self._passed = 0

    def append(self, header: Header, transitions: Transitions) -> None:
        """Keep the block until it is taken."""
        _expect(header.block, self.next())
        self.blocks.append((header, transitions))

    def take(self) -> list[tuple[Header, Transitions]]:
        """Return the blocks that were not taken yet."""
        taken, self.blocks = self.blocks, []
        self._passed += len(taken)
        return taken

    def next(self) -> int:
        """Return the number of blocks so far."""
        return self._passed + len(self.blocks)


class FileLog(Numbered):
    """A folder of block files, named by number. A file is written beside, synced and renamed: it is whole or not there."""

    def __init__(self, folder: Path, sync: bool = True) -> None:
        self.folder = folder
        self._sync = sync
        folder.mkdir(parents=True, exist_ok=True)
        self._next = self.next()

    def declare(self, declaration: Mapping[str, Any]) -> None:
        """Write `declaration.json`, or compare with it."""
        path = self.folder / "declaration.json"
        if path.is_file():
            refuse_other(str(self.folder), msgspec.json.decode(path.read_bytes()), plain(declaration))
            return
        with self._written(path):
            replace_file(path, msgspec.json.format(msgspec.json.encode(declaration)), self._sync)

    def append(self, header: Header, transitions: Transitions) -> None:
        """Write the block: 1 beside, 2 sync, 3 rename, 4 sync the folder. Raises NotWritten.

        A block that has its name when the folder cannot be synced stays: others may have read it.
        """
        _expect(header.block, self._next)
        path = self._path(header.block)
        beside = path.with_name(path.name + BESIDE)
        with self._written(path):
            write_synced(beside, encode(header, transitions), self._sync)
            reach("log.beside")
            beside.rename(path)
            reach("log.renamed")
            if self._sync:
                sync_folder(self.folder)
        self._next += 1
        if self._sync:
            self._let_go(header.block - _CACHED)

    @contextmanager
    def _written(self, path: Path) -> Iterator[None]:
        """Leave nothing half-written behind. After an fsync that failed, a file must not be synced again."""
        try:
            yield
        except OSError as error:
            with suppress(OSError):
                path.with_name(path.name + BESIDE).unlink(missing_ok=True)
            raise NotWritten(f"{path} cannot be written: {error}; it is tried again") from error

    def _let_go(self, block: int) -> None:
        """Let the kernel forget an older block, which is on the disk, so that its pages serve for new ones.

        Else a joiner fills all memory with its log, and on virtual machines each fresh page is a fault: five
        times the CPU time of the write.
        """
        if block < 0 or not hasattr(os, "posix_fadvise"):
            return
        with suppress(OSError), self._path(block).open("rb") as file:
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)

    def last(self) -> Header | None:
        """Return the header of the last block that verifies; a damaged last one is put aside as `.torn`."""
        while numbers := self._numbers():
            path = self._path(numbers[-1])
            try:
                header, _ = decode(path.read_bytes(), str(path))
            except BlockCorrupt:
                path.rename(path.with_suffix(".torn"))
                continue
            self._next = numbers[-1] + 1
            return header
        self._next = 0
        return None

    def first(self) -> int:
        """Return the number of the oldest file."""
        return next(iter(self._numbers()), 0)

    def next(self) -> int:
        """Return the number after the newest file (looks again: another process may write)."""
        numbers = self._numbers()
        return numbers[-1] + 1 if numbers else 0

    def headers(self, start: int = 0) -> Iterator[Header]:
        """Return headers from `start` on, reading only the beginning of each file."""
        for number in self._numbers():
            if number >= start:
                path = self._path(number)
                with path.open("rb") as file:
                    head = file.read(1 << 16)
                    try:
                        yield decode_header(head, str(path))
                    except BlockCorrupt:
                        yield decode_header(head + file.read(), str(path))

    def read(self, start: int = 0) -> Iterator[tuple[Header, Transitions]]:
        """Return blocks from `start` on. Raises BlockCorrupt for a damaged file or a gap."""
        for expected, number in enumerate((n for n in self._numbers() if n >= start), start):
            path = self._path(number)
            if number != expected:
                raise BlockCorrupt(f"{path}: block {expected} is missing before it")
            yield decode(path.read_bytes(), str(path))

    def _path(self, number: int) -> Path:
        return self.folder / f"{number:020d}{_SUFFIX}"

    def _numbers(self) -> list[int]:
        with os.scandir(self.folder) as entries:
            return sorted(int(e.name[: -len(_SUFFIX)]) for e in entries if e.name.endswith(_SUFFIX))


def refuse_other(where: str, held: Mapping[str, Any], wanted: Mapping[str, Any]) -> None:
    """Raise FingerprintMismatch that names what differs, unless both declarations are the same."""
    if held["fingerprint"] != wanted["fingerprint"]:
        differences = "; ".join(_differences(held, wanted)) or "fingerprint"
        raise FingerprintMismatch(
            f"{where} was written under another configuration: {differences}. Put it back, or begin with an "
            f"empty log and state (another path, or move the folders away)"
        )


def _differences(held: Any, wanted: Any, path: str = "") -> Iterator[str]:
    if isinstance(held, dict) and isinstance(wanted, dict):
        for key in sorted(set(held) | set(wanted)):
            if key != "fingerprint":
                yield from _differences(held.get(key), wanted.get(key), f"{path}.{key}" if path else key)
    elif isinstance(held, list) and isinstance(wanted, list) and len(held) == len(wanted):
        for place, pair in enumerate(zip(held, wanted, strict=True)):
            name = pair[0].get("name", place) if isinstance(pair[0], dict) else place
            yield from _differences(*pair, f"{path}.{name}")
    elif held != wanted:
        yield f"{path} was {held!r}, is {wanted!r}"


def plain(declaration: Mapping[str, Any]) -> dict[str, Any]:
    """Return a declaration as it is after a journey through JSON."""
    made: dict[str, Any] = msgspec.json.decode(msgspec.json.encode(declaration))
    return made


def _expect(block: int, wanted: int) -> None:
    if block != wanted:
        raise StateError(
            f"block {block} cannot follow block {wanted - 1}: another joiner writes to the same log"
        )

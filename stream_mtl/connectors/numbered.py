"""Numbered files that grow hidden and are renamed when they are whole; a crash leaves nothing half seen."""

import contextlib
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO, Final

from stream_mtl.durable import sync_folder
from stream_mtl.errors import NotWritten, Unavailable

ROLL: Final = 64 << 20  # bytes, at which a file is whole

_HIDDEN = ".{}.tmp"
_NUMBER = re.compile(r"\.?(\d{8,})\.")


class NumberedFiles:
    """The files 00000000`suffix`, 00000001`suffix`, ... of one folder, for one writer.

    Every file begins with `begin`. Opening the folder again after a crash cuts what the last writer left
    hidden back to its `whole` bytes and gives it its name. Raises Unavailable.
    """

    def __init__(
        self, folder: Path, suffix: str, roll: int, begin: bytes, whole: Callable[[bytes], int]
    ) -> None:
        self._folder, self._suffix, self._roll = folder, suffix, roll
        self._begin, self._whole = begin, whole
        self._file: BinaryIO | None = None
        self._durable = 0  # bytes of the open file that an fsync has confirmed
        try:
            folder.mkdir(parents=True, exist_ok=True)
            self._number = 1 + max(map(_number, folder.iterdir()), default=-1)
            for left in hidden(folder, suffix):
                self._recover(left)
        except OSError as error:
            raise Unavailable(f"{folder}: cannot be written to: {error}") from error

    def append(self, data: bytes) -> None:
        """Write and fsync. Raises NotWritten: nothing of `data` counts as written then."""
        try:
            if self._file is None:
                self._file = self._open()
            self._file.write(data)
            self._file.flush()
            os.fsync(self._file.fileno())
        except OSError as error:
            self._abandon()
            raise NotWritten(f"{self._folder}: cannot be written to: {error}") from error
        self._durable += len(data)
        if self._durable >= self._roll:
            self.close()

    def close(self) -> None:
        """Give the open file its name. May be called twice. Raises Unavailable."""
        if self._file is None:
            return
        try:
            self._file.close()
            self._name(self._path())
        except OSError as error:
            raise Unavailable(f"{self._path()}: cannot be renamed: {error}") from error
        finally:
            self._file, self._durable = None, 0
            self._number += 1

    def _path(self) -> Path:
        return self._folder / _HIDDEN.format(f"{self._number:08d}{self._suffix}")

    def _open(self) -> BinaryIO:
        file = self._path().open("xb")
        file.write(self._begin)
        sync_folder(self._folder)
        self._durable = len(self._begin)
        return file

    def _abandon(self) -> None:
        # An fsync that failed may succeed when it is tried again, with the data gone: so this file takes no
        # more, keeps what was confirmed, and the next try begins another.
        with contextlib.suppress(OSError):
            if self._file is not None:
                self._file.close()
        with contextlib.suppress(OSError):
            self._keep(self._path(), self._durable)
        self._file, self._durable = None, 0
        self._number += 1

    def _recover(self, path: Path) -> None:
        self._keep(path, self._whole(path.read_bytes()))

    def _keep(self, path: Path, size: int) -> None:
        if size <= len(self._begin):
            path.unlink()
            return
        os.truncate(path, size)
        with path.open("rb") as file:
            os.fsync(file.fileno())
        self._name(path)

    def _name(self, path: Path) -> None:
        path.rename(self._folder / path.name[1:].removesuffix(".tmp"))
        sync_folder(self._folder)


def hidden(folder: Path, suffix: str) -> list[Path]:
    """Return the files that a writer has not finished, or left unfinished, in the order of their numbers."""
    return sorted(path for path in folder.glob(_HIDDEN.format("*" + suffix)) if _number(path) >= 0)


def _number(path: Path) -> int:
    match = _NUMBER.match(path.name)
    return int(match.group(1)) if match else -1

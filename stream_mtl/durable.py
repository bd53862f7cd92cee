"""Files that are there whole or not at all, and folders that one process owns alone."""

import fcntl
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeAlias

from stream_mtl.errors import Fenced
from stream_mtl.failpoints import reach

Bytes: TypeAlias = bytes | memoryview

BESIDE = ".tmp"
"""Ends the name of what is not whole yet."""


def write_synced(path: Path, parts: Iterable[Bytes], sync: bool = True) -> None:
    """Write a file and wait until the disk has it."""
    with path.open("wb") as file:
        file.writelines(parts)
        reach("files.unsynced")
        file.flush()
        if sync:
            os.fsync(file.fileno())


def replace_file(path: Path, data: Bytes, sync: bool = True) -> None:
    """Give a file new content at once: a reader sees the old or the new. One writer a file."""
    beside = path.with_name(path.name + BESIDE)
    write_synced(beside, [data], sync)
    beside.rename(path)
    if sync:
        sync_folder(path.parent)


def sync_folder(folder: Path) -> None:
    """Make the names in a folder durable."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def claimed(folder: Path) -> Iterator[None]:
    """Own a folder as long as this lasts; the claim dies with the process. Raises Fenced if another one has it."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / ".lock").open("a") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise Fenced(
                f"{folder}: another process works there; end it first, or give this one another folder"
            ) from None
        yield

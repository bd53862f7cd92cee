"""Files that are there whole or not at all: write beside, sync, rename, sync the folder."""

import os
from collections.abc import Iterable
from pathlib import Path
from typing import TypeAlias

Bytes: TypeAlias = bytes | memoryview

BESIDE = ".tmp"
"""Ends the name of what is not whole yet."""


def write_synced(path: Path, parts: Iterable[Bytes], sync: bool = True) -> None:
    """Write a file and wait until the disk has it."""
    with path.open("wb") as file:
        for part in parts:
            file.write(part)
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

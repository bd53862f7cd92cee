"""Readings on disk: the latest one, replaced whole, and a bounded history of lines, for every view to read.

latest.json        Readings
history.jsonl      HistoryLine, one a line, the newest last
history.1.jsonl    the lines before those
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import TypeVar

import msgspec

from stream_mtl.clock import Millis
from stream_mtl.durable import replace_file, sync_folder
from stream_mtl.errors import NotWritten
from stream_mtl.watch.readings import (
    LIFE,
    SO_FAR,
    WAITING,
    Corrected,
    OutputReadings,
    Proxy,
    Reading,
    Readings,
)

MEGABYTE = 1 << 20

Short = TypeVar("Short", Reading, Proxy, Corrected)

_LATEST, _LINES, _OLDER = "latest.json", "history.jsonl", "history.1.jsonl"


class EarlyLine(msgspec.Struct, frozen=True, omit_defaults=True):
    """What was known of one output before its labels were final."""

    view: str
    proxy: Proxy | None = None
    corrected: Corrected | None = None


class HistoryLine(msgspec.Struct, frozen=True):
    """What a board said when its sums held so many rows of the feed; numbers have six digits."""

    rows: int
    told_before: Millis
    outputs: dict[str, dict[str, Reading]]  # by output, the views "life" and the shortest window's
    early: dict[str, EarlyLine] = {}  # by output; nothing in it is final


def line_of(rows: int, readings: Readings, window: str | None) -> HistoryLine | None:
    """Return the line of readings, with this window's view; None if nothing was told yet."""
    if readings.told_before is None:
        return None
    outputs = {
        name: {view: _short(output.views[view]) for view in (window, LIFE) if view in output.views}
        for name, output in readings.outputs.items()
    }
    early = {name: _early(output, window) for name, output in readings.outputs.items() if output.proxy}
    return HistoryLine(rows, readings.told_before, outputs, early)


def read_latest(folder: Path) -> Readings | None:
    """Return the latest readings; None if there are none."""
    path = folder / _LATEST
    return msgspec.json.decode(path.read_bytes(), type=Readings) if path.is_file() else None


def read_history(folder: Path, limit: int = 500) -> list[HistoryLine]:
    """Return the newest lines, the oldest of them first. A line that is not whole is left out."""
    newest = list(islice(_backwards(folder), limit))
    return newest[::-1]


class History:
    """Writes the readings of one folder. The only writer there."""

    def __init__(self, folder: Path, limit: int = 4 * MEGABYTE) -> None:
        """Cut off a line that a crash left unfinished. Past `limit` bytes the lines move to the older file."""
        folder.mkdir(parents=True, exist_ok=True)
        self._folder, self._limit = folder, limit
        self._lines = folder / _LINES
        _mend(self._lines)
        last = next(_backwards(folder), None)
        self._next = 0 if last is None else last.rows + 1
        latest = read_latest(folder)
        self._shown = None if latest is None else latest.told_before

    def show(self, readings: Readings) -> None:
        """Replace the latest readings, unless what is there knows more: after a restart the sums catch up first."""
        told = readings.told_before
        if self._shown is None or (told is not None and told >= self._shown):
            with _written(self._folder / _LATEST):
                replace_file(self._folder / _LATEST, msgspec.json.format(msgspec.json.encode(readings)))
            self._shown = told

    def append(self, line: HistoryLine) -> None:
        """Add a line, once: one of as many rows that is there already changes nothing. Raises NotWritten."""
        if line.rows < self._next:
            return
        data = msgspec.json.encode(line) + b"\n"
        with _written(self._lines):
            self._add(data)
        self._next = line.rows + 1

    def _add(self, data: bytes) -> None:
        _mend(self._lines)  # a disk that was full may have left a part
        size = self._lines.stat().st_size if self._lines.is_file() else 0
        if size and size + len(data) > self._limit:
            self._lines.rename(self._folder / _OLDER)
        with self._lines.open("ab") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        sync_folder(self._folder)


@contextmanager
def _written(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise NotWritten(f"{path} cannot be written: {error}; it is tried again") from error


def _mend(path: Path) -> None:
    """Cut off what stands behind the last end of line."""
    if path.is_file():
        with path.open("rb+") as file:
            file.truncate(file.read().rfind(b"\n") + 1)


def _backwards(folder: Path) -> Iterator[HistoryLine]:
    for name in (_LINES, _OLDER):
        path = folder / name
        if path.is_file():
            *whole, _ = path.read_bytes().split(b"\n")
            yield from (msgspec.json.decode(line, type=HistoryLine) for line in reversed(whole))


def _early(output: OutputReadings, window: str | None) -> EarlyLine:
    view = output.sharpest or window or WAITING
    proxy, corrected = output.proxy.get(SO_FAR, {}).get(view), output.corrected.get(view)
    return EarlyLine(view, proxy and _short(proxy), corrected and _short(corrected))


def _short(reading: Short) -> Short:
    values = msgspec.structs.asdict(reading)
    short = {name: float(f"{value:.6g}") for name, value in values.items() if isinstance(value, float)}
    return msgspec.structs.replace(reading, **short)

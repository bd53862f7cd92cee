"""The rows of a log's files as columns of text, portion by portion; rows of another width are set aside."""

import gzip
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
from pyarrow import csv

from stream_mtl.errors import DataError
from stream_mtl.public.aside import Aside
from stream_mtl.public.base import Ints, Log

_PORTION = 1 << 20  # bytes of text read at a time; Arrow reads up to 32 ahead
_HEAD = 1 << 16  # bytes in which the first line must end
_COMPRESSED = (".gz",)

Progress = Callable[[int, int, int], None]
"""Is told, now and then: bytes read, bytes there are, rows read."""


@dataclass(frozen=True, slots=True)
class Portion:
    """Some rows of a file."""

    texts: pa.RecordBatch  # a text column for each column of the log
    numbers: Ints  # (n,) of the rows, from 1, over all files; blank lines are not counted


def portions(log: Log, path: Path, aside: Aside, progress: Progress) -> Iterator[Portion]:
    """Give the rows of a file, or of all files of a folder in the order of their names; .gz is unpacked.

    Raises DataError for a file of other columns, and for one that cannot be unpacked.
    """
    files = files_of(path)
    sizes = [file.stat().st_size for file in files]
    rows = 0
    for i, file in enumerate(files):
        before, total, shift = sum(sizes[:i]), sum(sizes), rows
        with pa.OSFile(str(file)) as raw:
            for portion in _file(log, file, raw, shift, aside):
                rows = int(portion.numbers[-1]) if len(portion.numbers) else rows
                yield portion
                progress(before + raw.tell(), total, rows)
        rows = max(rows, aside.last)


def files_of(path: Path) -> list[Path]:
    """Return a file, or the files of a folder. Raises DataError where there is none."""
    if path.is_dir():
        files = sorted(p for p in path.iterdir() if p.is_file() and not p.name.startswith((".", "_")))
    else:
        files = [path] if path.is_file() else []
    if not files:
        raise DataError(f"{path}: there is no file to load; name the log's file, or a folder of its files")
    return files


def _file(log: Log, path: Path, raw: pa.NativeFile, shift: int, aside: Aside) -> Iterator[Portion]:
    names, skip = _columns(log, path)
    odd: list[int] = []  # rows of another width, from 0, ascending

    def set_aside(row: csv.InvalidRow) -> str:
        number = row.number - 1 - skip
        odd.append(number)
        reason = f"{row.actual_columns} columns in place of {row.expected_columns}"
        aside.add(number + 1 + shift, reason, row.text)
        return "skip"

    stream = pa.CompressedInputStream(raw, "gzip") if path.suffix in _COMPRESSED else raw
    read = 0
    try:
        for batch in csv.open_csv(
            stream,
            csv.ReadOptions(column_names=names, skip_rows=skip, block_size=_PORTION, use_threads=False),
            csv.ParseOptions(delimiter="\t", quote_char=False, invalid_row_handler=set_aside),
            csv.ConvertOptions(
                column_types=dict.fromkeys(names, pa.string()),
                check_utf8=False,
                strings_can_be_null=False,
                null_values=[],
                include_columns=list(log.columns),
            ),
        ):
            yield Portion(batch, _numbers(read, batch.num_rows, odd) + 1 + shift)
            read += batch.num_rows
    except (pa.ArrowInvalid, OSError) as error:
        raise DataError(f"{path}: cannot be read as a {log.title}: {error}") from None


def _numbers(start: int, count: int, odd: list[int]) -> Ints:
    """Return the places in the file, from 0, of the sound rows [start, start + count).

    Before the j-th odd row, b, there are b - j sound ones: what comes after them is j + 1 further back.
    """
    sound = np.arange(start, start + count)
    before = np.array(odd, np.int64) - np.arange(len(odd))
    return sound + np.searchsorted(before, sound, side="right")


def _columns(log: Log, path: Path) -> tuple[list[str], int]:
    """Return the names of a file's columns, and how many lines to skip. Raises DataError if it is another log's."""
    first = _first_line(path)
    cells = first.split("\t")
    if log.header:
        if absent := [name for name in log.columns if name not in cells]:
            raise DataError(
                f"{path}: is no {log.title}: its first line does not name the columns {', '.join(absent[:5])}; "
                f"{_hint(first)}"
            )
        return cells, 1
    if len(cells) != len(log.columns):
        raise DataError(
            f"{path}: is no {log.title}: its first line has {len(cells)} tab-separated columns, and not "
            f"{len(log.columns)}; {_hint(first)}"
        )
    return list(log.columns), int(cells[0] == log.columns[0])


def _hint(line: str) -> str:
    return f"it begins {line[:60]!r}; is it another log, or separated by something else than tabs?"


def _first_line(path: Path) -> str:
    try:
        with gzip.open(path) if path.suffix in _COMPRESSED else path.open("rb") as file:
            lines = file.read(_HEAD).split(b"\n")
    except (gzip.BadGzipFile, EOFError) as error:
        raise DataError(f"{path}: cannot be unpacked: {error}") from None
    line = next((line for line in lines if line.strip()), b"")
    if not line:
        raise DataError(f"{path}: is empty; name the log's file")
    return line.rstrip(b"\r").decode("utf-8", "replace").removeprefix("\ufeff")

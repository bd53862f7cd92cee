"""From a public log to a folder that can be replayed: event files in order of time, and a configuration that fits."""

import shutil
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa

from stream_mtl.errors import ConfigError, DataError
from stream_mtl.generate.write import as_toml
from stream_mtl.public.aside import Aside
from stream_mtl.public.base import Kind, Log
from stream_mtl.public.buckets import Buckets
from stream_mtl.public.container import container
from stream_mtl.public.rows import Portion, Progress, portions

MEMORY = 256 << 20
"""Bytes of events, of each kind, that are sorted in memory before they go to disk."""

_SORTING, _UNREADABLE = ".sorting", "unreadable.jsonl"


@dataclass(frozen=True, slots=True)
class Loaded:
    """What became of every row of a log."""

    rows: int
    events: Mapping[str, int]  # by kind
    unreadable: Mapping[str, int]  # rows, by reason; the first of them are in FOLDER/unreadable.jsonl
    left_out: Mapping[str, int]


def load(log: Log, path: Path, folder: Path, progress: Progress, memory: int = MEMORY) -> Loaded:
    """Write FOLDER/KINDs/*.avro, a file for each day, and FOLDER/config.toml.

    The log's file may be in any order. Besides 8 MiB of text, at most `memory` bytes of each kind's events and
    the events of one day are in memory. Raises ConfigError where the folder holds such files already, DataError
    for a file of other columns, and where no row can be read.
    """
    for name in (*(kind.folder for kind in log.kinds), _SORTING, "config.toml"):
        if (folder / name).exists():
            raise ConfigError(f"{folder / name} is there already; remove it or name another folder")
    folder.mkdir(parents=True, exist_ok=True)
    try:
        with Aside(folder / _UNREADABLE) as aside:
            loaded = _load(log, path, folder, progress, memory, aside)
    finally:
        shutil.rmtree(folder / _SORTING, ignore_errors=True)
    heading = f"# {log.title}, as `stream-mtl load {log.name}` has made it.\n\n"
    (folder / "config.toml").write_text(heading + as_toml(log.declarations(".")))
    return loaded


def _load(log: Log, path: Path, folder: Path, progress: Progress, memory: int, aside: Aside) -> Loaded:
    sorting = {kind.name: Buckets(folder / _SORTING / kind.name, memory) for kind in log.kinds}
    sound, left_out = 0, Counter[str]()
    for portion in portions(log, path, aside, progress):
        parsed = log.parse(portion.texts, portion.numbers)
        for name, events in parsed.events.items():
            sorting[name].add(events)
        left_out.update(parsed.notes)
        sound += int(parsed.faults.sound.sum())
        for row, reason in parsed.faults.each():
            aside.add(int(portion.numbers[row]), reason, _text(portion, row))
    if not sorting[log.kinds[0].name].rows:
        raise DataError(f"{path}: no row can be read as a {log.title}: {dict(aside.counts)}")
    for kind in log.kinds:
        _write(kind, sorting[kind.name], folder / kind.folder, log.key)
    counts = {kind.name: sorting[kind.name].rows for kind in log.kinds}
    return Loaded(sound + aside.rows, counts, dict(aside.counts), dict(left_out))


def _write(kind: Kind, events: Buckets, folder: Path, key: str) -> None:
    folder.mkdir()
    for number, day in enumerate(events.days(key)):
        with (folder / f"{number:04d}.avro").open("wb") as file:
            file.writelines(container(day, kind.schema))
    if not events.rows:
        (folder / "0000.avro").write_bytes(b"".join(container(_none(kind), kind.schema)))


def _none(kind: Kind) -> pa.Table:
    return pa.table({name: [] for name in ("ts", *kind.fields)})


def _text(portion: Portion, row: int) -> str:
    cells = portion.texts.slice(row, 1).columns
    return "\t".join(column.cast(pa.binary())[0].as_py().decode("utf-8", "replace") for column in cells)

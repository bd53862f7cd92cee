"""Recorded events, record by record, with the key and the time that they have on a bus."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from stream_mtl.clock import Clock, Millis
from stream_mtl.config.chains import chain_key, limits
from stream_mtl.config.columns import event_specs, read_schemas
from stream_mtl.config.formats import file_formats
from stream_mtl.config.load import Loaded
from stream_mtl.connectors.base import Format, Records
from stream_mtl.connectors.files import FileSource
from stream_mtl.connectors.folders import BY_NAME, FileFormat
from stream_mtl.connectors.keys import record_key
from stream_mtl.connectors.peek import first_schema
from stream_mtl.errors import ConfigError
from stream_mtl.events.codec import Codec
from stream_mtl.events.readers import Readers
from stream_mtl.events.types import Arrivals, EventSpec
from stream_mtl.processes.declared import declared

_ROWS: Final = 2_000  # records read at a time


@dataclass(frozen=True, slots=True)
class Recorded:
    """One record as it lies in the files. Where it is no event, `key` and `time` are not known."""

    time: Millis | None
    key: bytes | None
    value: bytes
    format: Format  # of the value


@dataclass(frozen=True, slots=True)
class EventFiles:
    """Files of one source, and the kinds of event in them. `pattern` is a folder or a glob."""

    pattern: str
    specs: Sequence[EventSpec]
    format: FileFormat = BY_NAME

    def records(self, loaded: Loaded, clock: Clock) -> Iterator[Recorded]:
        """Yield all records in the order of the files. Raises ConfigError, DataError."""
        name = f"files:{self.pattern}"
        specs = [replace(spec, source=name) for spec in self.specs]
        most = limits(loaded.config)
        codec = Codec(specs, most, clock)
        spans = Readers(name, {}, most, None, None)
        source, keys = FileSource(name, self.pattern, format=self.format), chain_key(loaded.config)
        columns = specs[0].columns
        try:
            while not source.ended():
                for records in source.poll(_ROWS):
                    yield from _recorded(records, codec.decode(records), spans, keys, columns)
        finally:
            source.close()


def in_folder(loaded: Loaded, folder: Path) -> dict[str, EventFiles]:
    """Return the files of each kind in a folder as `stream-mtl gen` writes them, by kind; kinds may be missing.

    A kind's files lie in a folder of its name, of its plural, or of its topic. Raises ConfigError where there are none.
    """
    config = loaded.config
    found: dict[str, Path] = {}
    for kind, event in config.events.items():
        names = (f"{kind}s", kind, event.source.partition(":")[2])
        there = next((folder / name for name in names if (folder / name).is_dir()), None)
        if there is not None:
            found[kind] = there
    if not found:
        tried = ", ".join(f"{kind}s/" for kind in config.events)
        raise ConfigError(f"{folder}: holds no folder of events; looked for {tried}")
    files = {kind: first_schema(str(path)) for kind, path in found.items()}
    known = {kind: schema for kind, schema in files.items() if schema is not None}
    specs = event_specs(config, {**known, **read_schemas(config)}, loaded.document)
    return {spec.kind: EventFiles(str(found[spec.kind]), [spec]) for spec in specs if spec.kind in found}


def of_configuration(other: Loaded, kinds: Sequence[str]) -> dict[str, EventFiles]:
    """Return the files that another configuration names for these kinds, by kind. Raises ConfigError."""
    made, formats = declared(other), file_formats(other.config)
    own = [spec for spec in made.specs if spec.source in formats]
    found: dict[str, EventFiles] = {}
    for spec in own:
        if spec.kind in kinds:
            sharing = [one for one in own if one.source == spec.source and one.kind in kinds]
            pattern = spec.source.partition(":")[2]
            found[spec.kind] = EventFiles(pattern, sharing, formats[spec.source])
    if not found:
        raise ConfigError(f"it names no files of {', '.join(kinds)}; its kinds must have the same names")
    return found


def _recorded(
    records: Records, arrivals: Arrivals, spans: Readers, keys: Sequence[str], columns: Sequence[str]
) -> Iterator[Recorded]:
    known = _known(arrivals, keys)
    rows = spans.rows(records)
    format = records.format
    if columns:
        format = replace(format, schema=",".join(columns).encode())
    for row, position in enumerate(rows.position.tolist()):
        time, key = known.get(position, (None, None))
        yield Recorded(time, key, rows.value(row), format)


def _known(arrivals: Arrivals, keys: Sequence[str]) -> Mapping[int, tuple[Millis, bytes | None]]:
    found: dict[int, tuple[Millis, bytes | None]] = {}
    for events in arrivals.events:
        whole = all(name in events.fields.schema.names for name in keys)
        columns = [events.fields.column(name).to_pylist() for name in keys] if whole else []
        values = zip(*columns, strict=True) if columns else iter([(None,)] * len(events))
        for position, time, key in zip(events.position.tolist(), events.time.tolist(), values, strict=True):
            found.setdefault(position, (time, None if None in key else record_key(key)))
    return found

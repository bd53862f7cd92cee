"""Single records, read as the joiner reads them: the events that they are, or why they are none."""

from collections.abc import Iterator, Sequence
from typing import Any

from stream_mtl.clock import Clock, system_clock
from stream_mtl.config.chains import limits
from stream_mtl.config.formats import topic_formats
from stream_mtl.connectors.base import Format, Records
from stream_mtl.connectors.folders import encoding
from stream_mtl.connectors.partition import Entry
from stream_mtl.connectors.peek import first_file, first_schema
from stream_mtl.connectors.recordbatch import chunk
from stream_mtl.events.codec import Codec
from stream_mtl.events.types import Arrivals
from stream_mtl.processes.bus import schema_of, schemas_of_topics
from stream_mtl.processes.declared import Declared
from stream_mtl.processes.readable import finite, instant, shown
from stream_mtl.processes.rewriting import rewriting


class Decoding:
    """Decodes records of the sources: of topics as they are, of files as single rows."""

    def __init__(self, made: Declared, clock: Clock = system_clock) -> None:
        """Raises ConfigError."""
        schemas = schemas_of_topics(made)
        self._formats = {
            source: Format(encoding, schemas[source].encode() if encoding == "avro" else None)
            for source, encoding in topic_formats(made.config).items()
        } | {
            spec.source: row_format(spec.source.partition(":")[2], spec.columns)
            for spec in made.specs
            if spec.source.startswith("files:")
        }
        self._types = {spec.source: dict(spec.fields) for spec in made.specs}
        self._codec = Codec(made.specs, limits(made.config), clock, schemas, schema_of(made.config))

    def line(self, source: str, value: bytes) -> bytes:
        """Return a row of files as one line of JSON, with all its fields."""
        rows = self._formats[source]
        rewrite = rewriting(rows, self._types[source], "json", None)
        return rewrite(value).replace(b"\n", b" ")

    def arrivals(self, source: str, partition: int, entries: Sequence[Entry]) -> Arrivals:
        """Return what entries of one partition are, at least one; those without a time are of now. Raises Unavailable."""
        spans = chunk(
            [one.value for one in entries],
            [one.key for one in entries],
            [one.offset for one in entries],
            [one.time for one in entries],
        )
        return self._codec.decode(
            Records(
                source,
                partition,
                self._formats[source],
                spans.data,
                spans.starts,
                spans.ends,
                spans.positions,
                spans.next,
                times=spans.times,
            )
        )

    def events(self, source: str, partition: int, entry: Entry) -> list[dict[str, Any]]:
        """Return everything that a record is: an event of each kind that wants it, or what is wrong with it."""
        arrivals = self.arrivals(source, partition, [entry])
        return [*_events(arrivals), *_malformed(arrivals, entry)] or [
            {"ignored": "no kind wants it", **shown(entry.value)}
        ]


def row_format(pattern: str, columns: Sequence[str]) -> Format:
    """Return how a single row of files is to be read; as JSON, where there is no file to tell."""
    found = first_file(pattern)
    kind = None if found is None else encoding(found)
    if found is None or kind == "json" or kind is None:
        return Format("csv", ",".join(columns).encode()) if columns else Format("json")
    if kind == "csv":
        with found.open("rb") as file:
            header = ",".join(columns).encode() if columns else file.readline().rstrip(b"\r\n")
        return Format("csv", header)
    return Format("avro", first_schema(pattern))


def _events(arrivals: Arrivals) -> Iterator[dict[str, Any]]:
    for events in arrivals.events:
        for time, fields in zip(events.time.tolist(), events.fields.to_pylist(), strict=True):
            yield {"kind": events.kind, **instant("event_time", time), "fields": finite(fields)}


def _malformed(arrivals: Arrivals, entry: Entry) -> Iterator[dict[str, Any]]:
    bad = arrivals.malformed
    for reason, detail, kind in zip(bad.reason, bad.detail, bad.kind, strict=True):
        named = {} if kind is None else {"kind": kind}
        yield {"malformed": reason, "detail": detail, **named, **shown(entry.value)}

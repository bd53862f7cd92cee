"""How the files of each source are read where their names do not say it, and what of that makes no sense."""

from collections.abc import Iterator, Mapping
from itertools import combinations
from pathlib import Path as File
from typing import Final

from stream_mtl.config.declarations import Event
from stream_mtl.config.problems import Problem, nearest
from stream_mtl.config.sections import Config
from stream_mtl.connectors.base import Encoding
from stream_mtl.connectors.folders import FileFormat, encoding

ENCODINGS: Final[Mapping[str, Encoding]] = {"csv": "csv", "jsonl": "json", "avro": "avro-container"}
"""A format as it is written -> what it is called by those who read it."""

TOPIC_ENCODINGS: Final[Mapping[str, Encoding]] = {
    "json": "json",
    "avro": "avro",
    "confluent-avro": "confluent-avro",
}
"""The same of topics."""


def file_formats(config: Config) -> dict[str, FileFormat]:
    """Return, for each source of files, what its names do not say."""
    return {event.source: _format(event) for event in config.events.values() if _is_file(event)}


def topic_formats(config: Config) -> dict[str, Encoding]:
    """Return, for each topic that is a source, how its records are written."""
    otherwise: Encoding = "json" if config.kafka.registry_url is None else "confluent-avro"
    return {
        event.source: TOPIC_ENCODINGS[event.format or otherwise]
        for event in config.events.values()
        if event.source.startswith("kafka:")
    }


def files_alone(config: Config) -> Iterator[Problem]:
    """Only CSV files have columns without a header; files and topics have formats of their own."""
    for name, event in config.events.items():
        path = ("events", name)
        for option in ("columns", "trim"):
            if getattr(event, option) and not _is_file(event):
                yield Problem((*path, option), "is for files: sources only; drop it")
        known = ENCODINGS if _is_file(event) else TOPIC_ENCODINGS
        if event.format is not None and event.format not in known:
            where = "files" if _is_file(event) else "a topic"
            text = f'{where} cannot be "{event.format}"; write {" or ".join(known)}'
            yield Problem((*path, "format"), text)
        elif not _is_file(event):
            yield from _topic_schema(config, name, event)


def _topic_schema(config: Config, name: str, event: Event) -> Iterator[Problem]:
    """Avro needs its schema from somewhere."""
    if event.format == "avro" and event.schema_path is None:
        yield Problem(("events", name, "format"), 'needs the schema of the records; add schema = "NAME.avsc"')
    if event.format == "confluent-avro" and config.kafka.registry_url is None:
        yield Problem(("events", name, "format"), "needs a registry; set kafka.registry_url")


def history_of_topics(config: Config) -> Iterator[Problem]:
    """Only a topic has a history, and kinds that share a topic share it."""
    for name, event in config.events.items():
        path = ("events", name)
        if event.history is not None and not event.source.startswith("kafka:"):
            yield Problem(
                (*path, "history"), "is for a topic; files are read from their beginning anyway: drop it"
            )
        if event.history_until is not None and event.history is None:
            yield Problem((*path, "history_until"), "means nothing without `history`; drop it, or add that")
    for (one, first), (two, second) in combinations(config.events.items(), 2):
        for option in ("history", "history_until"):
            if first.source == second.source and getattr(first, option) != getattr(second, option):
                text = f'differs from that of "{one}", which has the same source; make them the same'
                yield Problem(("events", two, option), text, about=("events", one))


def one_format(config: Config) -> Iterator[Problem]:
    """A file is read once for all kinds that it holds."""
    for (one, first), (two, second) in combinations(config.events.items(), 2):
        for option in ("format", "columns", "trim"):
            if first.source == second.source and getattr(first, option) != getattr(second, option):
                text = f'differs from that of "{one}", which has the same source; make them the same'
                yield Problem(("events", two, option), text, about=("events", one))


def fitting_format(config: Config) -> Iterator[Problem]:
    """A format may not contradict the name of the files, nor the other options."""
    for name, event in config.events.items():
        files = File(event.source.partition(":")[2])
        named = encoding(files) if _is_file(event) else None
        given = ENCODINGS.get(event.format or "")
        if named and given and named != given:
            text = f'the files are named for another format ("{files.name}"); drop it, or rename them'
            yield Problem(("events", name, "format"), text)
        for option in ("columns", "trim"):
            if getattr(event, option) and (named or given or "csv") != "csv":
                yield Problem(("events", name, option), "is for CSV files only; drop it")


def known_columns(config: Config) -> Iterator[Problem]:
    """Columns are told by their names, and the time and what tells the kind apart stand in one of them."""
    for name, event in config.events.items():
        path = ("events", name)
        if not event.columns:
            continue
        if not all(event.columns):
            yield Problem((*path, "columns"), "holds an empty name; name every column")
        if len(set(event.columns)) < len(event.columns):
            yield Problem((*path, "columns"), "names a column twice; rename one of them")
        if event.time is not None and event.time not in event.columns:
            yield Problem(
                (*path, "time"), f'no column is named "{event.time}"; {nearest(event.time, event.columns)}'
            )
        for field in event.where:
            if field not in event.columns:
                text = f'no column is named "{field}"; {nearest(field, event.columns)}'
                yield Problem((*path, "where"), text)


def _is_file(event: Event) -> bool:
    return event.source.startswith("files:")


def _format(event: Event) -> FileFormat:
    return FileFormat(ENCODINGS.get(event.format or ""), header=not event.columns)

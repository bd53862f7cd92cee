"""A generated stream on disk: event files, the truth beside them, and the declarations that fit them."""

import json
from collections.abc import Callable, Iterator, Mapping
from itertools import pairwise
from pathlib import Path
from typing import Any, Literal, TypeAlias

import numpy as np
import pyarrow.parquet as pq

from stream_mtl.errors import ConfigError
from stream_mtl.generate.fields import (
    EVERY_KIND,
    IDS,
    TIME,
    chain_spec,
    duration,
    event_fields,
    features,
    kinds,
)
from stream_mtl.generate.generated import Generated, Stream
from stream_mtl.generate.options import GeneratorOptions
from stream_mtl.generate.text import csv_lines, json_lines
from stream_mtl.generate.wire import container
from stream_mtl.join.spec import TaskSpec

FileFormat: TypeAlias = Literal["avro", "jsonl", "csv"]


def write(generated: Generated, folder: Path, format: FileFormat = "avro", files: int = 1) -> dict[str, Any]:
    """Write `impressions/000.avro`, ..., `truth/impressions.parquet` (or of the root that is) and `truth/accounts.json`.

    Each kind's log (of several partitions: each of them, in a folder 0, 1, ...) is cut into so many files.
    The same stream gives the same bytes. Returns `declarations` for them. Raises ConfigError where the folder
    holds such files already.
    """
    if format not in _FORMATS:
        raise ConfigError(f"{format!r} is no format of event files; known: {', '.join(_FORMATS)}")
    if files < 1:
        raise ConfigError(f"{files} files cannot hold a stream; write at least one")
    taken = [folder / name for name in (*map(_plural, EVERY_KIND), "truth") if (folder / name).exists()]
    if taken:
        raise ConfigError(f"{taken[0]} is there already; remove it or name another folder")
    for kind, stream in generated.streams.items():
        for path, log in _logs(folder / _plural(kind), generated.options, stream):
            _write_log(generated.options, log, path, format, files)
    _write_truth(generated, folder / "truth")
    return declarations(generated.options, folder.as_posix(), format)


def declarations(options: GeneratorOptions, folder: str, format: FileFormat = "avro") -> dict[str, Any]:
    """Return the sections chain, events, tasks and features of a configuration that reads such files."""
    spec = chain_spec(options)
    key = spec.key[0] if len(spec.key) == 1 else list(spec.key)
    chain = {"key": key, "lateness": duration(spec.lateness), "remember": duration(spec.remember)}
    return {
        "chain": chain,
        "events": {kind: _event(options, kind, folder, format) for kind in kinds(options)},
        "tasks": {task.name: _task(task) for task in spec.tasks},
        "features": {
            name: {"type": type_, **_SKEWED.get(name, {})} for name, type_ in features(options).items()
        },
    }


def as_toml(sections: Mapping[str, Any]) -> str:
    """Return declarations as the text of a configuration."""
    lines: list[str] = []
    for section, table in sections.items():
        tables = (
            {f"{section}.{name}": inner for name, inner in table.items()}
            if section != "chain"
            else {section: table}
        )
        for name, inner in tables.items():
            lines += [
                f"[{name}]",
                *(f"{key} = {json.dumps(value)}" for key, value in inner.items() if key != "fields"),
            ]
            if "fields" in inner:
                fields = ", ".join(
                    f"{field} = {json.dumps(type_)}" for field, type_ in inner["fields"].items()
                )
                lines.append(f"fields = {{ {fields} }}")
            lines.append("")
    return "\n".join(lines)


def _event(options: GeneratorOptions, kind: str, folder: str, format: FileFormat) -> dict[str, Any]:
    spec = chain_spec(options).kind(kind)
    files = "" if options.partitions > 1 else f"/*.{format}"
    event: dict[str, Any] = {
        "source": f"files:{folder}/{_plural(kind)}{files}",
        "time": TIME,
        "id": IDS[kind],
    }
    if spec.after and spec.within is not None:
        event |= {"after": spec.after[0], "within": duration(spec.within)}
    if spec.skew:
        event["skew"] = duration(spec.skew)
    if spec.parent:
        event["parent"] = spec.parent
    if spec.retracts:
        event["retracts"] = True
    fields = event_fields(options, kind)
    event["fields"] = {name: type_ for name, type_ in fields.items() if name != TIME}
    return event


def _task(task: TaskSpec) -> dict[str, Any]:
    said = {
        "event": task.event,
        "value": task.value,
        "how": task.how if task.how != "first" else None,
        "less": ".".join(task.less) if task.less else None,
        "given": task.given,
    }
    return {name: value for name, value in said.items() if value is not None}


def _logs(folder: Path, options: GeneratorOptions, stream: Stream) -> Iterator[tuple[Path, Stream]]:
    if options.partitions == 1:
        yield folder, stream
        return
    for partition in range(options.partitions):
        yield folder / str(partition), stream.of(partition)


def _write_log(options: GeneratorOptions, log: Stream, folder: Path, format: FileFormat, files: int) -> None:
    folder.mkdir(parents=True)
    borders = np.linspace(0, len(log), files + 1).astype(int).tolist()
    for number, (begin, end) in enumerate(pairwise(borders)):
        with (folder / f"{number:03d}.{format}").open("wb") as file:
            file.writelines(_FORMATS[format](options, log.slice(begin, end)))


def _write_truth(generated: Generated, folder: Path) -> None:
    folder.mkdir(parents=True)
    pq.write_table(generated.truth, folder / f"{_plural(generated.options.root)}.parquet", compression="zstd")
    (folder / "accounts.json").write_text(json.dumps(generated.accounts(), indent=2) + "\n")


def _json(options: GeneratorOptions, stream: Stream) -> Iterator[bytes]:
    yield json_lines(stream)


def _csv(options: GeneratorOptions, stream: Stream) -> Iterator[bytes]:
    yield csv_lines(stream)


_FORMATS: Mapping[FileFormat, Callable[[GeneratorOptions, Stream], Iterator[bytes]]] = {
    "avro": container,
    "jsonl": _json,
    "csv": _csv,
}

# Numbers with a heavy tail.
_SKEWED: Mapping[str, Mapping[str, Any]] = {"price": {"log1p": True}, "age_days": {"log1p": True}}


def _plural(kind: str) -> str:
    return f"{kind}s"

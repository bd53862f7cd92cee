"""The values that a configuration holds besides plain ones: paths, secrets, sources, methods, lists."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, TypeAlias

from pydantic import (
    AfterValidator,
    BeforeValidator,
    InstanceOf,
    PlainSerializer,
    SecretStr,
    ValidationInfo,
    WithJsonSchema,
)

from stream_mtl.clock import Millis
from stream_mtl.config.problems import nearest
from stream_mtl.config.units import format_duration, parse_duration
from stream_mtl.label.methods import METHODS

MASK = "***"
"""What is shown in place of a secret."""

SCHEMES: Mapping[str, str] = {
    "files": "files:events/impressions/*.avro",
    "kafka": "kafka:impressions",
    "memory": "memory:impressions",
}
"""Where events come from: scheme -> an example."""


class Topic(str):
    """The name of a topic, written as "kafka:name"."""

    __slots__ = ()

    def __str__(self) -> str:
        return f"kafka:{self.name}"

    @property
    def name(self) -> str:
        """The name alone."""
        return str.__str__(self)


@dataclass(frozen=True, slots=True)
class Method:
    """A delayed-feedback method with the waits it was given: "wait:15m"."""

    name: str
    waits: tuple[Millis, ...] = ()

    def __str__(self) -> str:
        return f"{self.name}:{','.join(map(format_duration, self.waits))}" if self.waits else self.name


def parse_method(value: object) -> Method:
    """Return the method of "fnw", "wait" or "wait:15m". Raises ValueError."""
    if isinstance(value, Method):
        return value
    if not isinstance(value, str):
        raise ValueError('must be a text; write a method and its wait, like "wait:15m"')
    name, colon, rest = value.partition(":")
    if name not in METHODS:
        raise ValueError(f'there is no method "{name}"; {nearest(name, METHODS)}')
    waits = tuple(parse_duration(wait) for wait in rest.split(",")) if colon else ()
    least, most = METHODS[name].least, METHODS[name].most
    if len(waits) < least:
        raise ValueError(f'"{name}" takes at least {_waits(least)}; write "{name}:15m"')
    if len(waits) > most:
        remedy = "drop the others" if most else f'write "{name}"'
        raise ValueError(f'"{name}" takes {f"at most {_waits(most)}" if most else "no waits"}; {remedy}')
    return Method(name, tuple(sorted(set(waits))))


def _waits(number: int) -> str:
    return f"{number} wait" if number == 1 else f"{number} waits"


def _several(value: object) -> object:
    if isinstance(value, list):
        return tuple(value)
    return value if isinstance(value, tuple) else (value,)


def _list(value: object) -> object:
    return tuple(value) if isinstance(value, list) else value


def _each(value: object) -> object:
    listed = isinstance(value, list) and len(value) > 0 and all(isinstance(one, list) for one in value)
    return tuple(value) if listed and isinstance(value, list) else _once(value)


def _once(value: object) -> object:
    return value if isinstance(value, tuple) else (value,)


def _inside_folder(value: object, info: ValidationInfo) -> Path:
    if not isinstance(value, str | Path) or not str(value):
        raise ValueError('must be a path; write a text, like "snapshots"')
    return _resolve(str(value), info)


def _resolve(path: str, info: ValidationInfo) -> Path:
    return Path((info.context or {}).get("folder", "")) / path


def _topic(value: object) -> Topic:
    if isinstance(value, Topic):
        return value
    if not isinstance(value, str) or not value.startswith("kafka:") or value == "kafka:":
        raise ValueError('must be a topic; write it like "kafka:snapshots"')
    return Topic(value.removeprefix("kafka:"))


def _folder_or_topic(value: object, info: ValidationInfo) -> Path | Topic:
    is_topic = isinstance(value, str) and (isinstance(value, Topic) or value.startswith("kafka:"))
    return _topic(value) if is_topic else _inside_folder(value, info)


def _secret_path(value: object, info: ValidationInfo) -> Path:
    if value == MASK:
        raise ValueError(
            f"{MASK} only stands for a secret where a configuration is shown; write the real path"
        )
    return _inside_folder(value, info)


def _source(value: str, info: ValidationInfo) -> str:
    scheme, colon, rest = value.partition(":")
    if not colon or not rest:
        raise ValueError(f'"{value}" is no source; write a scheme and a name, like "{SCHEMES["files"]}"')
    if scheme not in SCHEMES:
        raise ValueError(f'there is no source "{scheme}:"; {nearest(scheme, SCHEMES)}')
    return f"{scheme}:{_resolve(rest, info)}" if scheme == "files" else value


def _history(value: str, info: ValidationInfo) -> str:
    if not value.startswith("files:") or value == "files:":
        raise ValueError('must be files; write it like "files:last-month/clicks"')
    return _source(value, info)


def _instant(value: object) -> Millis:
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    if isinstance(value, str):
        try:
            value = datetime.fromisoformat(value)
        except ValueError:
            value = None
    if not isinstance(value, datetime):
        raise ValueError('must be a time; write it like "2026-11-01T00:00:00Z", or in ms since 1970')
    moment = value if value.tzinfo is not None else value.replace(tzinfo=UTC)
    return round(moment.timestamp() * 1_000)


def _scalar(value: object) -> object:
    if not isinstance(value, str | int | float) or (isinstance(value, float) and not math.isfinite(value)):
        raise ValueError('must be a text, a finite number, true or false, like event_type = "view"')
    return value


def _choices(value: object) -> object:
    values = tuple(map(_scalar, value)) if isinstance(value, list | tuple) else (_scalar(value),)
    if not values:
        raise ValueError("must not be empty; name at least one")
    if len({_kind(one) for one in values}) > 1:
        raise ValueError("must be of one kind: texts, numbers, or true and false")
    return values


def _kind(value: object) -> type:
    return float if type(value) is int else type(value)


Names: TypeAlias = Annotated[
    tuple[str, ...],
    BeforeValidator(_several),
    WithJsonSchema({"anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}}]}),
]
"""One name or several."""

Listed = BeforeValidator(_list)
"""Makes the arrays of TOML tuples."""

Several = BeforeValidator(_several)
"""Makes one value a tuple too."""

SeveralLists = BeforeValidator(_each)
"""Makes an array of arrays a tuple, and one array the only one of a tuple."""

PathInFolder: TypeAlias = Annotated[
    Path,
    BeforeValidator(_inside_folder),
    PlainSerializer(str, return_type=str),
    WithJsonSchema({"type": "string", "format": "path"}),
]
"""A path; a relative one begins at the configuration's folder."""

TopicName: TypeAlias = Annotated[
    InstanceOf[Topic],
    BeforeValidator(_topic),
    PlainSerializer(str, return_type=str),
    WithJsonSchema({"type": "string", "pattern": "^kafka:.+"}),
]
"""A topic."""

FolderOrTopic: TypeAlias = Annotated[
    InstanceOf[Path] | InstanceOf[Topic],
    BeforeValidator(_folder_or_topic),
    PlainSerializer(str, return_type=str),
    WithJsonSchema({"type": "string"}),
]
"""A folder, or a topic as "kafka:name"."""

SecretPath: TypeAlias = Annotated[
    Path,
    BeforeValidator(_secret_path),
    PlainSerializer(lambda _: MASK, return_type=str),
    WithJsonSchema({"type": "string", "format": "path"}),
]
"""The path of a file with a secret in it."""

Secret: TypeAlias = Annotated[SecretStr, PlainSerializer(lambda _: MASK, return_type=str)]
"""A secret itself: from the environment only."""

SourceName: TypeAlias = Annotated[str, AfterValidator(_source)]
"""Where events come from, as "scheme:name"."""

HistoryFiles: TypeAlias = Annotated[str, AfterValidator(_history)]
"""Files that hold the beginning of a topic."""

Instant: TypeAlias = Annotated[
    int, BeforeValidator(_instant), WithJsonSchema({"type": ["string", "integer"], "format": "date-time"})
]
"""A time, in ms since 1970 (UTC)."""

Scalar: TypeAlias = Annotated[
    Any, BeforeValidator(_scalar), WithJsonSchema({"type": ["string", "number", "boolean"]})
]
"""A value that a field of an event can be compared with."""

Choices: TypeAlias = Annotated[
    tuple[Any, ...],
    BeforeValidator(_choices),
    WithJsonSchema({"type": ["string", "number", "boolean", "array"]}),
]
"""A value that a field of an event can be compared with, or several."""

MethodName: TypeAlias = Annotated[
    InstanceOf[Method],
    BeforeValidator(parse_method),
    PlainSerializer(str, return_type=str),
    WithJsonSchema({"type": "string", "examples": ["wait:15m", "fnw", "es_dfm:15m"]}),
]
"""A delayed-feedback method, as "name" or "name:wait"."""

"""Dead letters: records that could not be used, as JSON lines for people to read and tools to send again."""

import base64
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TypeAlias

import msgspec

from stream_mtl.connectors.append import whole_lines
from stream_mtl.connectors.base import DeadLetter, Sink
from stream_mtl.connectors.numbered import hidden
from stream_mtl.errors import DataError

Identity: TypeAlias = tuple[str, int, int]
"""Source, partition, position: the same record is the same letter, however often it is written."""


class _Line(msgspec.Struct, omit_defaults=True):
    source: str
    partition: int
    position: int
    reason: str
    value: str  # base64
    detail: str = ""
    schema_id: int | None = None
    time: int | None = None
    text: str | None = None  # the value again, where it is UTF-8


_DECODER = msgspec.json.Decoder(_Line)


class DeadLetters:
    """Writes letters to a sink, each under its identity as key: a compacted topic keeps one of each."""

    def __init__(self, sink: Sink) -> None:
        self._sink = sink

    def add(self, letter: DeadLetter) -> None:
        """Take one letter. It may be held back until `flush`."""
        self._sink.add(encode_letter(letter), name_of(letter).encode())

    def flush(self) -> None:
        """Return when all letters are durable. Raises Unavailable if they cannot be."""
        self._sink.flush()

    def close(self) -> None:
        """Flush and let go."""
        self._sink.close()


def identity(letter: DeadLetter) -> Identity:
    """Return what makes two letters the same."""
    return letter.source, letter.partition, letter.position


def name_of(letter: DeadLetter) -> str:
    """Return a letter's identity as one text: kafka:clicks/0/1234."""
    return f"{letter.source}/{letter.partition}/{letter.position}"


def encode_letter(letter: DeadLetter) -> bytes:
    """Return a letter as one line of JSON, without its line break."""
    value = base64.b64encode(letter.value).decode("ascii")
    return msgspec.json.encode(
        _Line(
            letter.source,
            letter.partition,
            letter.position,
            letter.reason,
            value,
            letter.detail,
            letter.schema_id,
            letter.time,
            _text(letter.value),
        )
    )


def decode_letter(line: bytes) -> DeadLetter:
    """Return the letter of one line. Raises DataError."""
    try:
        read = _DECODER.decode(line)
        value = base64.b64decode(read.value, validate=True)
    except ValueError as error:
        raise DataError(f"is no dead letter: {error}: {line[:100]!r}") from error
    return DeadLetter(
        read.source,
        read.partition,
        read.position,
        read.reason,
        value,
        read.detail,
        read.schema_id,
        read.time,
    )


def distinct(letters: Iterable[DeadLetter]) -> Iterator[DeadLetter]:
    """Yield the first letter of each identity: a restart writes some again."""
    seen: set[Identity] = set()
    for letter in letters:
        if identity(letter) not in seen:
            seen.add(identity(letter))
            yield letter


def read_letters(folder: Path) -> Iterator[DeadLetter]:
    """Yield the distinct letters in the folder of a JsonLinesSink, or of several below it, unfinished files too.

    Raises DataError.
    """
    folders = [folder, *sorted(inner for inner in folder.iterdir() if inner.is_dir())]
    paths = [path for one in folders for path in sorted(one.glob("[0-9]*.jsonl")) + hidden(one, ".jsonl")]
    yield from distinct(letter for path in paths for letter in _letters(path))


def _letters(path: Path) -> Iterator[DeadLetter]:
    data = path.read_bytes()
    for number, line in enumerate(data[: whole_lines(data)].splitlines(), 1):
        try:
            yield decode_letter(line)
        except DataError as error:
            raise DataError(f"{path}, line {number}: {error}") from error


def _text(value: bytes) -> str | None:
    try:
        return value.decode()
    except UnicodeDecodeError:
        return None

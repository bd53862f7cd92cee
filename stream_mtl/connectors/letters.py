"""Dead letters: records that could not be used, as JSON lines for people to read and tools to send again."""

import base64
import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Final, TypeAlias

import msgspec

from stream_mtl.clock import Clock
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
    whole: int | None = None  # bytes of the record, where `value` is only its beginning


_AROUND: Final = 2_048
"""Bytes of a line around its value, at most."""

_DECODER = msgspec.json.Decoder(_Line)


class DeadLetters:
    """Writes letters to a sink, each under its identity as key: a compacted topic keeps one of each."""

    def __init__(self, sink: Sink, largest: int | None = None, clock: Clock | None = None) -> None:
        """Letters of more than `largest` bytes are cut: better a part of a record than a stream that stands.

        With a clock, letters of records that have no time say when they were written (on a topic, the broker does).
        """
        self._sink, self._largest, self._clock = sink, largest, clock

    def add(self, letter: DeadLetter) -> None:
        """Take one letter. It may be held back until `flush`."""
        if letter.time is None and self._clock is not None:
            letter = replace(letter, time=self._clock())
        line = encode_letter(letter)
        if self._largest is not None and len(line) > self._largest:
            line = encode_letter(cut(letter, self._largest), text=False)
        self._sink.add(line, name_of(letter).encode())

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


def cut(letter: DeadLetter, largest: int) -> DeadLetter:
    """Return a letter whose line, without text, is not larger: with as much of the record as fits, and its SHA-256."""
    room = (largest - _AROUND) * 3 // 4  # base64
    if len(letter.value) <= room:
        return letter
    digest = hashlib.sha256(letter.value).hexdigest()
    detail = f"{letter.detail} (the first {room:,} of {len(letter.value):,} bytes, SHA-256 {digest})".strip()
    return replace(letter, value=letter.value[:room], detail=detail, whole=len(letter.value))


def encode_letter(letter: DeadLetter, text: bool = True) -> bytes:
    """Return a letter as one line of JSON, without its line break; `text` adds the value as text where it is such."""
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
            _text(letter.value) if text else None,
            letter.whole,
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
        read.whole,
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

"""Which dead letters were sent again, and where to: so that none is twice, and none goes round in a circle.

It lies with the letters: in their topic, under keys of its own, or in a file beside theirs.
"""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Final

import msgspec

from stream_mtl.clock import Millis
from stream_mtl.connectors.base import DeadLetter, Unreadable
from stream_mtl.connectors.glance import places_of
from stream_mtl.connectors.kafka import Kafka
from stream_mtl.connectors.letters import decode_letter, distinct, read_letters
from stream_mtl.connectors.partition import Entry
from stream_mtl.durable import sync_folder
from stream_mtl.errors import ConfigError, DataError

_KEY: Final = b"replayed/"
_FILE: Final = "replayed.jsonl"


class Sent(msgspec.Struct, frozen=True):
    """A letter was sent again."""

    replayed: str  # the letter's name
    to: str  # where its record is now: source/partition/position, or a file
    time: Millis


class Letters:
    """The letters of a configuration, and what was done with them."""

    def __init__(self, letters: Sequence[DeadLetter], sent: Iterable[Sent]) -> None:
        self.letters = list(letters)
        self.sent = {one.replayed: one for one in sent}
        self.arrived = {one.to: one for one in self.sent.values()}


class FolderLedger:
    """Letters in a folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def read(self) -> Letters:
        """Return what is there now; nothing where there is no folder. Raises DataError."""
        letters = list(read_letters(self._folder)) if self._folder.is_dir() else []
        path = self._folder / _FILE
        lines = path.read_bytes().splitlines() if path.is_file() else []
        return Letters(letters, filter(None, map(_sent, lines)))

    def note(self, sent: Sequence[Sent]) -> None:
        """Make it durable."""
        self._folder.mkdir(parents=True, exist_ok=True)
        with (self._folder / _FILE).open("ab") as file:
            file.writelines(msgspec.json.encode(one) + b"\n" for one in sent)
        sync_folder(self._folder)


class TopicLedger:
    """Letters in a topic."""

    def __init__(self, kafka: Kafka, topic: str) -> None:
        self._kafka, self._topic = kafka, topic

    def read(self) -> Letters:
        """Return what is there now. Raises ConfigError, DataError, Unavailable."""
        letters: list[DeadLetter] = []
        sent: list[Sent] = []
        for entry in self._entries():
            noted = _sent(entry.value)
            if noted is not None:
                sent.append(noted)
            else:
                letters.append(self._letter(entry))
        return Letters(list(distinct(letters)), sent)

    def note(self, sent: Sequence[Sent]) -> None:
        """Make it durable. Raises Unavailable."""
        with self._kafka.courier() as courier:
            for one in sent:
                courier.send(self._topic, msgspec.json.encode(one), _KEY + one.replayed.encode())
            courier.settle()

    def _entries(self) -> Iterator[Entry]:
        with closing(self._kafka.admin()) as admin:
            places = places_of(admin.partitions([self._topic]))
        with self._kafka.glance(places) as glance:
            begins, ends = glance.begins(), glance.ends()
            for place in places:
                for seen in glance.records(place, begins[place], ends[place]):
                    if not isinstance(seen, Unreadable) and seen.value:
                        yield seen

    def _letter(self, entry: Entry) -> DeadLetter:
        """Return a letter; one that does not say its record's time has that of its own writing."""
        try:
            letter = decode_letter(entry.value)
            return letter if letter.time is not None else replace(letter, time=entry.time)
        except DataError as error:
            raise DataError(f"topic {self._topic} {error}; nothing but joiners may write to it") from None


def named(letters: Letters, name: str) -> DeadLetter:
    """Return the letter of that name. Raises ConfigError."""
    for letter in letters.letters:
        if f"{letter.source}/{letter.partition}/{letter.position}" == name:
            return letter
    raise ConfigError(
        f'there is no letter "{name}"; stream-mtl dlq list --limit 1000 names those that are there'
    )


def _sent(line: bytes) -> Sent | None:
    try:
        return msgspec.json.decode(line, type=Sent)
    except msgspec.DecodeError:
        return None

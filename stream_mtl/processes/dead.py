"""Dead letters, read back: which there are, how many of which reason, and what each would be today."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from stream_mtl.clock import Millis
from stream_mtl.config.sections import Config
from stream_mtl.connectors.base import DeadLetter
from stream_mtl.connectors.letters import name_of
from stream_mtl.connectors.partition import Entry
from stream_mtl.errors import ConfigError, StreamMtlError
from stream_mtl.processes.bus import kafka_of
from stream_mtl.processes.decoding import Decoding
from stream_mtl.processes.ledger import FolderLedger, Letters, TopicLedger
from stream_mtl.processes.readable import instant, shown
from stream_mtl.processes.topics import on_topic


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which letters: those of these reasons and sources (none given: of any), and not older than `since`."""

    reasons: Sequence[str] = ()
    sources: Sequence[str] = ()
    since: Millis | None = None

    def of(self, letters: Iterable[DeadLetter]) -> list[DeadLetter]:
        """Return them. A source may be named without its scheme; a letter without a time is of any."""
        return [letter for letter in letters if self._wants(letter)]

    def _wants(self, letter: DeadLetter) -> bool:
        names = (letter.source, letter.source.partition(":")[2])
        return (
            (not self.reasons or letter.reason in self.reasons)
            and (not self.sources or any(name in self.sources for name in names))
            and (self.since is None or letter.time is None or letter.time >= self.since)
        )


@dataclass(frozen=True, slots=True)
class Counted:
    """How many letters one source has of one reason."""

    source: str
    reason: str
    letters: int
    first_ms: Millis | None  # broker time, where there is one, else when the letter was written
    last_ms: Millis | None


def ledger_of(config: Config) -> FolderLedger | TopicLedger:
    """Return where the letters of a configuration are. Raises ConfigError."""
    topic = on_topic(config.dead_letters.path)
    if topic is not None:
        return TopicLedger(kafka_of(config), topic)
    path = config.dead_letters.path
    return FolderLedger(path)  # type: ignore[arg-type]


def counted(letters: Iterable[DeadLetter]) -> list[Counted]:
    """Return how many there are, the most first."""
    held = list(letters)
    counts = Counter((letter.source, letter.reason) for letter in held)
    times: dict[tuple[str, str], list[Millis]] = {key: [] for key in counts}
    for letter in held:
        if letter.time is not None:
            times[letter.source, letter.reason].append(letter.time)
    return [
        Counted(*key, count, min(times[key], default=None), max(times[key], default=None))
        for key, count in counts.most_common()
    ]


def brief(letters: Letters, letter: DeadLetter) -> dict[str, Any]:
    """Return a letter in a few fields."""
    name = name_of(letter)
    return {
        "letter": name,
        "reason": letter.reason,
        "detail": letter.detail,
        **instant("time", letter.time),
        **_history(letters, name),
    }


def whole(letters: Letters, letter: DeadLetter, decoding: Decoding | None) -> dict[str, Any]:
    """Return a letter with its bytes as text and as hex, and what it would be if it were read today."""
    plain = brief(letters, letter)
    plain |= {} if letter.schema_id is None else {"schema_id": letter.schema_id}
    plain |= {"bytes": len(letter.value), "hex": letter.value.hex()}
    text = shown(letter.value, None).get("text")
    plain |= {} if text is None else {"text": text}
    return plain | {"today": today(letter, decoding)}


def today(letter: DeadLetter, decoding: Decoding | None) -> list[dict[str, Any]]:
    """Return what a letter's record is, read by the present configuration: events, or why it is none."""
    if letter.reason in UNSENDABLE:
        return [{"malformed": letter.reason, "detail": UNSENDABLE[letter.reason]}]
    if decoding is None:
        return []
    entry = Entry(letter.position, letter.value, None, -1 if letter.time is None else letter.time)
    try:
        found = decoding.events(letter.source, letter.partition, entry)
    except (KeyError, StreamMtlError) as error:
        why = "the configuration has no such source" if isinstance(error, KeyError) else str(error)
        return [{"malformed": "unread", "detail": why}]
    return [{name: value for name, value in one.items() if name not in ("text", "hex")} for one in found]


UNSENDABLE: Mapping[str, str] = {
    "unreadable": "the broker could not give it: these are not its bytes",
    "conflict": "another record of its id stands: these are its fields, not its bytes",
}
"""Reasons of letters that do not hold the bytes of a record -> why."""


def decoding_of(made: Any) -> Decoding | None:
    """Return how letters are read again; None where the sources are of no kind that can be."""
    try:
        return Decoding(made)
    except ConfigError:
        return None


def _history(letters: Letters, name: str) -> dict[str, Any]:
    sent, arrived = letters.sent.get(name), letters.arrived.get(name)
    return {
        **({} if sent is None else {"sent_again_to": sent.to}),
        **({} if arrived is None else {"came_back_of": arrived.replayed}),
    }

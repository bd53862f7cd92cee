"""Dead letters sent again: each once, where it came from, and not what would only become a dead letter again."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from stream_mtl.clock import END, Clock, Millis
from stream_mtl.connectors.base import DeadLetter
from stream_mtl.connectors.courier import Courier
from stream_mtl.connectors.kafka import Kafka
from stream_mtl.connectors.kafka_reader import Place
from stream_mtl.connectors.letters import name_of
from stream_mtl.connectors.partition import Entry
from stream_mtl.errors import ConfigError
from stream_mtl.processes.bus import is_on_bus, kafka_of
from stream_mtl.processes.dead import UNSENDABLE, ledger_of, today
from stream_mtl.processes.declared import Declared
from stream_mtl.processes.decoding import Decoding
from stream_mtl.processes.ledger import Letters, Sent
from stream_mtl.processes.offsets import last_headers
from stream_mtl.watch.words import lapse

MARK: Final = "stream-mtl-replay-of"
"""The header of a record that was sent again: its value is the letter's name."""

_PORTION: Final = 500  # letters sent before it is noted


@dataclass(frozen=True, slots=True)
class Verdict:
    """What is done with a letter. `why` is "" where it is sent."""

    letter: DeadLetter
    why: str
    to: str = ""  # where it went


def replay(
    made: Declared,
    letters: Letters,
    wanted: Sequence[DeadLetter],
    clock: Clock,
    *,
    dry_run: bool,
    anyway: bool,
    file: Path | None = None,
) -> list[Verdict]:
    """Send letters again, to their topic, or, where they came from files, to `file` as lines of JSON.

    Passed over is what was sent before or came back, what is no event today, and, unless `anyway`, what is too late to
    be joined. Raises ConfigError, Unavailable: then what was noted is not sent the next time.
    """
    on_bus = is_on_bus(made.config)
    if not on_bus and file is None and not dry_run:
        raise ConfigError(
            "the sources are files, which are not written to; name a new one with --to FILE.jsonl"
        )
    judge = _Judge(made, letters, anyway)
    verdicts = [Verdict(letter, judge.why_not(letter)) for letter in wanted]
    if dry_run:
        return verdicts
    chosen = [verdict.letter for verdict in verdicts if not verdict.why]
    passed = [verdict for verdict in verdicts if verdict.why]
    send = _to_topics(made, clock) if on_bus else _to_file(file, clock, judge)
    ledger, sent = ledger_of(made.config), []
    for portion in _portions(chosen):
        done = send(portion)
        ledger.note(done)
        sent += [Verdict(letter, "", one.to) for letter, one in zip(portion, done, strict=True)]
    return sent + passed


class _Judge:
    """Says why a letter is not sent."""

    def __init__(self, made: Declared, letters: Letters, anyway: bool) -> None:
        self._letters, self._anyway = letters, anyway
        self.decoding = Decoding(made)
        self._watermarks = _watermarks(made) if is_on_bus(made.config) and not anyway else {}

    def why_not(self, letter: DeadLetter) -> str:
        """Return why not, "" if it is to be sent."""
        name = name_of(letter)
        if name in self._letters.sent:
            return f"was sent before, and is {self._letters.sent[name].to}"
        if name in self._letters.arrived:
            return f"came back: it is {self._letters.arrived[name].replayed}, sent again"
        if letter.whole is not None:
            return f"is only the beginning of a record of {letter.whole:,} bytes: the rest was not kept"
        if letter.reason in UNSENDABLE:
            return UNSENDABLE[letter.reason]
        found = today(letter, self.decoding)
        bad = next((one for one in found if "kind" not in one or "malformed" in one), None)
        if self._anyway:
            return ""
        if bad is not None:
            return f"is no event today either: {bad.get('malformed', 'ignored')}: {bad.get('detail', '')}".rstrip(
                ": "
            )
        return self._late(letter, [one["event_time_ms"] for one in found])

    def _late(self, letter: DeadLetter, times: Sequence[Millis]) -> str:
        mark = self._watermarks.get((letter.source, letter.partition))
        if mark is None or max(times) >= mark:
            return ""
        if mark >= END:
            return "would be late: the joiner has taken its input for ended"
        return f"would be late: its partition is {lapse(mark - max(times))} further on (chain.lateness)"


def _watermarks(made: Declared) -> Mapping[tuple[str, int], Millis]:
    """Return how far the joiners' last blocks say that time has gone on."""
    return {
        (progress.source, progress.partition): progress.watermark
        for header in last_headers(made.config, kafka_of(made.config))
        for progress in (header.progress if header is not None else ())
        if progress.watermark is not None
    }


def _portions(letters: Sequence[DeadLetter]) -> Iterator[Sequence[DeadLetter]]:
    for begin in range(0, len(letters), _PORTION):
        yield letters[begin : begin + _PORTION]


def _to_topics(made: Declared, clock: Clock) -> Any:
    kafka = kafka_of(made.config)

    def send(letters: Sequence[DeadLetter]) -> list[Sent]:
        originals = _originals(kafka, letters)
        with kafka.courier() as courier:
            for letter in letters:
                _send(courier, letter, originals.get(name_of(letter)))
            offsets = courier.settle()
        return [
            Sent(name_of(letter), f"{letter.source}/{letter.partition}/{offset}", clock())
            for letter, offset in zip(letters, offsets, strict=True)
        ]

    return send


def _send(courier: Courier, letter: DeadLetter, original: Entry | None) -> None:
    """Send a letter's value, with key and time of the record that it was, as far as they are known."""
    topic, number = _place(letter)
    key, time = (None, letter.time) if original is None else (original.key, original.time)
    known = time if time is not None and time >= 0 else None
    courier.send(topic, letter.value, key, number, known, [(MARK, name_of(letter).encode())])


def _place(letter: DeadLetter) -> Place:
    return letter.source.partition(":")[2], letter.partition


def _originals(kafka: Kafka, letters: Sequence[DeadLetter]) -> dict[str, Entry | None]:
    """Return the records that the letters were, as far as the broker still keeps them."""
    places = sorted({_place(letter) for letter in letters})
    _refuse_strangers(kafka, places)
    with kafka.glance(places) as glance:
        begins, ends = glance.begins(), glance.ends()
        return {
            name_of(letter): glance.first(_place(letter), letter.position, letter.position + 1)
            for letter in letters
            if begins[_place(letter)] <= letter.position < ends[_place(letter)]
        }


def _refuse_strangers(kafka: Kafka, places: Sequence[Place]) -> None:
    with closing(kafka.admin()) as admin:
        counts = admin.partitions(sorted({topic for topic, _ in places}))
    for topic, number in places:
        if number >= counts[topic]:
            raise ConfigError(f"topic {topic} has no partition {number} any more; was it made anew?")


def _to_file(file: Path | None, clock: Clock, judge: _Judge) -> Any:
    assert file is not None

    def send(letters: Sequence[DeadLetter]) -> list[Sent]:
        with file.open("ab") as out:
            out.writelines(judge.decoding.line(letter.source, letter.value) + b"\n" for letter in letters)
        return [Sent(name_of(letter), str(file), clock()) for letter in letters]

    return send

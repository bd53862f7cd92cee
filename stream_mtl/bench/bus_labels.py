"""When labels were where: put together from what a bench saw, the log of transitions, and the announcements.

A label is known when the watermark passes its time. When that is, the bench knows, for it sends the stream. The row
that tells it stands in a block, a snapshot's manifest says up to which row it has learned, and a request that is asked
again and again says which snapshot answers.
"""

from bisect import bisect_right
from collections.abc import Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass, field

import numpy as np

from stream_mtl.clock import Millis
from stream_mtl.connectors.kafka import Kafka
from stream_mtl.connectors.partition import Entry
from stream_mtl.generate.fields import KINDS
from stream_mtl.join.block import decode
from stream_mtl.join.topic import Following
from stream_mtl.join.transitions import Telling
from stream_mtl.publish.announce import announcement_of


@dataclass(frozen=True, slots=True)
class Labels:
    """One label each, by when it was where. (n,) each, ms of the clock; nan where it was not in the end."""

    happened: np.ndarray
    passed: np.ndarray  # the watermark
    told: np.ndarray  # in a block of the log
    published: np.ndarray  # in a snapshot that is announced
    served: np.ndarray  # by a score

    def waits(self) -> dict[str, np.ndarray]:
        """Return seconds, by what was waited for; of those labels that were served."""
        there = np.isfinite(self.served) & np.isfinite(self.passed)
        steps = {
            "the watermark": (self.happened, self.passed),
            "a block": (self.passed, self.told),
            "a snapshot": (self.told, self.published),
            "a score": (self.published, self.served),
            "label to served": (self.passed, self.served),
        }
        return {name: (end - begin)[there] / 1_000 for name, (begin, end) in steps.items()}

    @property
    def unserved(self) -> int:
        """How many had been passed by the watermark, and were not served when the bench ended."""
        return int((np.isfinite(self.passed) & ~np.isfinite(self.served)).sum())


@dataclass(slots=True)
class Seen:
    """What the bench saw while the processes ran."""

    sent: dict[str, list[tuple[Millis, Millis]]] = field(default_factory=dict)  # kind -> (event time, clock)
    served: dict[int, Millis] = field(default_factory=dict)  # snapshot -> when it answered first
    learned: dict[int, tuple[int, int]] = field(default_factory=dict)  # snapshot -> up to which (block, row)
    counts: Millis | None = None  # until when; what passes later may not be served in time
    failed: list[BaseException] = field(default_factory=list)


def put_together(kafka: Kafka, topics: Mapping[str, str], seen: Seen, lateness: Millis) -> Labels:
    """Return the labels of a log, by what was seen while they came and by the times of the records of both topics."""
    happened, told, places = _told(kafka, topics["transitions"])
    passed = _passed(seen, happened, lateness)
    published, served = _learned(kafka, topics["announced"], seen, places)
    counted = passed <= (np.inf if seen.counts is None else seen.counts)
    return Labels(*(part[counted] for part in (happened.astype(float), passed, told, published, served)))


def _told(kafka: Kafka, topic: str) -> tuple[np.ndarray, np.ndarray, list[tuple[int, int]]]:
    """Return of every row that tells of an event when that was, when its block was sent, and its (block, row)."""
    happened, told, places = [], [], []
    following = Following(topic)
    for entry in _entries(kafka, topic):
        whole = following.feed(entry)
        if whole is None:
            continue
        header, transitions = decode(whole.data)
        kinds = transitions.rows.column("kind").to_numpy()
        times = transitions.rows.column("told").to_numpy()
        for row in np.flatnonzero(kinds == Telling.EVENT).tolist():
            happened.append(times[row])
            told.append(float(entry.time))
            places.append((header.block, row))
    return np.array(happened, np.int64), np.array(told), places


def _passed(seen: Seen, happened: np.ndarray, lateness: Millis) -> np.ndarray:
    """Return when each time had been passed by the greatest time of every kind, less the lateness; nan: not yet."""
    out = np.zeros(len(happened))
    for kind in KINDS:
        sent = np.array(seen.sent.get(kind, []), np.int64).reshape(-1, 2)
        greatest = np.maximum.accumulate(sent[:, 0]) if len(sent) else sent[:, 0]
        at = np.searchsorted(greatest, happened + lateness, side="right")
        clocks = np.append(sent[:, 1].astype(float), np.nan)
        out = np.maximum(out, clocks[at])
    return out


def _learned(
    kafka: Kafka, topic: str, seen: Seen, places: list[tuple[int, int]]
) -> tuple[np.ndarray, np.ndarray]:
    """Return when each row was in a snapshot that was announced, and when one that has learned it answered."""
    announced = {
        said.version: float(entry.time)
        for entry in _entries(kafka, topic)
        if (said := announcement_of(entry)) is not None
    }
    versions = sorted(announced.keys() & seen.learned.keys())
    upto = [seen.learned[version] for version in versions]
    published, served = np.full(len(places), np.nan), np.full(len(places), np.nan)
    answered = sorted(seen.served)
    for number, place in enumerate(places):
        first = bisect_right(upto, place)
        if first == len(versions):
            continue
        published[number] = announced[versions[first]]
        later = [seen.served[version] for version in answered if version >= versions[first]]
        served[number] = min(later, default=np.nan)
    return published, served


def _entries(kafka: Kafka, topic: str) -> Iterator[Entry]:
    with closing(kafka.partition(topic, 0)) as log:
        at = log.begin()
        while entries := log.read(at):
            yield from entries
            at = entries[-1].offset + 1

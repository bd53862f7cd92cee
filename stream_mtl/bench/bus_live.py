"""From a label to a score that has learned it: join, train and serve as real processes over a stream that lives.

A label is known when the watermark passes its time. When that is, this bench knows, for it sends the stream. The row
that tells it stands in a block, a snapshot's manifest says up to which row it has learned, and a request that is asked
again and again says which snapshot answers.
"""

import http.client
import json
import threading
import time
from bisect import bisect_right
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from urllib.parse import urlsplit

import numpy as np

from stream_mtl.bench.bus import new_topic
from stream_mtl.clock import SECOND, Millis, system_clock
from stream_mtl.config.load import Loaded, load
from stream_mtl.connectors.courier import Courier
from stream_mtl.connectors.kafka import Kafka
from stream_mtl.errors import StateError, StreamMtlError, Unavailable
from stream_mtl.generate.delays import Exponential
from stream_mtl.generate.fields import KINDS
from stream_mtl.generate.live import Population, Record, line
from stream_mtl.generate.market import Market
from stream_mtl.generate.options import GeneratorOptions
from stream_mtl.generate.write import as_toml, declarations
from stream_mtl.join.block import decode
from stream_mtl.join.topic import Following
from stream_mtl.join.transitions import Telling
from stream_mtl.processes.bus import kafka_of
from stream_mtl.processes.everything import address_of
from stream_mtl.processes.family import Family
from stream_mtl.publish.announce import announcement_of
from stream_mtl.publish.store import SnapshotFolder

_TICK = 0.05  # seconds between two looks at what people do, and two requests for a score
_PATIENCE = 120.0  # seconds for the processes to begin
_DRAIN = 10.0  # seconds that the last labels are waited for


@dataclass(frozen=True, slots=True)
class LiveOptions:
    """How busy the stream is, how long it lasts, and what is set otherwise than by default."""

    seconds: float = 60.0
    requests: float = 20.0  # a second; each shows `shown` exposures
    shown: int = 5
    overrides: tuple[str, ...] = ()


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
    failed: list[BaseException] = field(default_factory=list)


def bench_live(bootstrap: str, options: LiveOptions) -> Labels:
    """Let people live for a while on real processes; return when their labels were where. Raises StreamMtlError."""
    with TemporaryDirectory() as name:
        folder, world = Path(name), _world(system_clock())
        topics = {
            what: new_topic(bootstrap, what) for what in (*KINDS, "transitions", "letters", "announced")
        }
        config = _configured(folder, world, bootstrap, topics)
        words = [word for one in options.overrides for word in ("-X", one)]
        loaded = load(config, {}, list(options.overrides))
        with Family(config, words, logs=folder) as family:
            for role in ("join", "train", "serve"):
                family.start(role, *(() if role == "serve" else ("--follow",)))
            seen = _live(family, loaded, world, topics, options)
            return _labels(loaded, topics, seen, world)


def _world(now: Millis) -> GeneratorOptions:
    """Return a market of the present, where people click and buy within seconds and hardly anything is out of order."""
    return GeneratorOptions(
        impressions=20_000,
        start=now - 3_600 * SECOND,
        duration=24 * 3_600 * SECOND,
        users=400,
        items=120,
        new_items=0.0,
        slate=8,
        ctr=0.2,
        cvr=0.4,
        click_delays=(Exponential(2 * SECOND),),
        conversion_delays=(Exponential(4 * SECOND),),
        click_within=20 * SECOND,
        conversion_within=40 * SECOND,
        lateness=SECOND,
        max_disorder=SECOND,
        remember=60 * SECOND,
    )


def _configured(folder: Path, world: GeneratorOptions, bootstrap: str, topics: Mapping[str, str]) -> Path:
    sections: dict[str, Any] = declarations(world, ".", "jsonl")
    sections["features"].pop("position", None)  # it is not known when a candidate is scored
    for task in ("ctr", "cvr"):
        sections["tasks"][task]["method"] = "fnw"  # learns a label when it comes, not when its window closes
    for kind in KINDS:
        sections["events"][kind]["source"] = f"kafka:{topics[kind]}"
    config = folder / "config.toml"
    config.write_text(
        as_toml(sections)
        + f'[kafka]\nbootstrap_servers = "{bootstrap}"\ngroup = "{topics["transitions"]}"\n'
        + f'[join]\npath = "kafka:{topics["transitions"]}"\n'
        + f'[dead_letters]\npath = "kafka:{topics["letters"]}"\n'
        + f'[publish]\nannounce = "kafka:{topics["announced"]}"\n'
        + "[serve]\nport = 0\n"
    )
    return config


def _live(
    family: Family, loaded: Loaded, world: GeneratorOptions, topics: Mapping[str, str], options: LiveOptions
) -> Seen:
    seen, ending = Seen(), threading.Event()
    _wait(family, loaded)
    population = Population(Market(world), options.shown, 1.0, 0)
    with kafka_of(loaded.config).courier() as courier:
        people = threading.Thread(
            target=_noting, args=(seen, _people, population, courier, topics, options, ending)
        )
        asking = threading.Thread(target=_noting, args=(seen, _ask, loaded, population, ending))
        people.start()
        asking.start()
        try:
            end = time.monotonic() + options.seconds
            while asking.is_alive() and not seen.failed:
                family.check()
                _note_snapshots(loaded, seen)
                time.sleep(0.2)
                if time.monotonic() > end:
                    ending.set()
        finally:
            ending.set()
            people.join()
            asking.join()
    if seen.failed:
        raise StreamMtlError(f"the bench of a live stream failed: {seen.failed[0]!r}") from seen.failed[0]
    return seen


def _note_snapshots(loaded: Loaded, seen: Seen) -> None:
    """Note what new snapshots have learned, while they are there: most are kept for seconds."""
    store = SnapshotFolder(loaded.config.publish.path)
    for version in store.versions():
        if version not in seen.learned:
            with suppress(StateError):
                (position,) = store.manifest(version).learned.positions
                seen.learned[version] = position.block, position.row


def _wait(family: Family, loaded: Loaded) -> None:
    end = time.monotonic() + _PATIENCE
    while address_of(loaded.config.run.status) is None:
        family.check()
        if time.monotonic() > end:
            raise Unavailable(f"the server did not answer within {_PATIENCE:.0f} s")
        time.sleep(0.1)


def _noting(seen: Seen, work: Any, *arguments: Any) -> None:
    try:
        work(seen, *arguments)
    except BaseException as error:
        seen.failed.append(error)


def _people(
    seen: Seen,
    population: Population,
    courier: Courier,
    topics: Mapping[str, str],
    options: LiveOptions,
    ending: threading.Event,
) -> None:
    """Send what people do, as it happens; the end of the bench ends new requests, not what follows from them."""
    rng, last = np.random.default_rng(0), system_clock()
    stop: float | None = None
    while stop is None or time.monotonic() < stop:
        time.sleep(_TICK)
        now = system_clock()
        requests = rng.poisson(options.requests * (now - last) / SECOND)
        population.visit(int(requests), last, now, lambda *_: None)
        for kind, record in population.until(now):
            courier.send(topics[kind], line(record), record["exposure_id"].encode(), 0, record["ts"])
            seen.sent.setdefault(kind, []).append((record["ts"], now))
        courier.settle()
        last = now
        if ending.is_set() and stop is None:
            stop = time.monotonic() + _DRAIN


def _ask(seen: Seen, loaded: Loaded, population: Population, ending: threading.Event) -> None:
    """Ask for scores all the time, and note when each snapshot first gave them."""
    parts = urlsplit(address_of(loaded.config.run.status) or "")
    connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=10)
    body = json.dumps({"request_id": "r", "candidates": [_candidate(population)]})
    stop: float | None = None
    while stop is None or time.monotonic() < stop:
        connection.request("POST", "/score", body)
        answer = connection.getresponse()
        found = json.loads(answer.read())
        if answer.status == 200:
            seen.served.setdefault(found["snapshot"], system_clock())
        time.sleep(_TICK)
        if ending.is_set() and stop is None:
            stop = time.monotonic() + _DRAIN
    connection.close()


def _candidate(population: Population) -> Record:
    found: list[Record] = []
    watcher = Population(population.market, 1, 0.0, 1)
    watcher.visit(1, population.market.options.start, population.market.options.start + 1, _keep(found))
    return found[0]


def _keep(found: list[Record]) -> Any:
    def keep(request: str, now: Millis, candidates: Sequence[Record]) -> None:
        found.append(dict(candidates[0]))

    return keep


def _labels(loaded: Loaded, topics: Mapping[str, str], seen: Seen, world: GeneratorOptions) -> Labels:
    """Put together what was seen and what stands in the log and the snapshots."""
    kafka = kafka_of(loaded.config)
    happened, told, places = _told(kafka, topics["transitions"])
    passed = _passed(seen, happened, world.lateness)
    published, served = _learned(kafka, topics["announced"], seen, places)
    return Labels(happened.astype(float), passed, told, published, served)


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


def _entries(kafka: Kafka, topic: str) -> Iterator[Any]:
    with closing(kafka.partition(topic, 0)) as log:
        at = log.begin()
        while entries := log.read(at):
            yield from entries
            at = entries[-1].offset + 1

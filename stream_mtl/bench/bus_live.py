"""From a label to a score that has learned it: join, train and serve as real processes over a stream that lives."""

import http.client
import json
import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from urllib.parse import urlsplit

import numpy as np

from stream_mtl.bench.bus import new_topic
from stream_mtl.bench.bus_labels import Labels, Seen, put_together
from stream_mtl.clock import SECOND, Millis, system_clock
from stream_mtl.config.load import Loaded, load
from stream_mtl.connectors.courier import Courier
from stream_mtl.errors import StateError, StreamMtlError, Unavailable
from stream_mtl.generate.delays import Exponential
from stream_mtl.generate.fields import KINDS
from stream_mtl.generate.live import Population, Record, line
from stream_mtl.generate.market import Market
from stream_mtl.generate.options import GeneratorOptions
from stream_mtl.generate.write import as_toml, declarations
from stream_mtl.processes.bus import kafka_of
from stream_mtl.processes.everything import address_of
from stream_mtl.processes.family import Family
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
            return put_together(kafka_of(loaded.config), topics, seen, world.lateness)


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
                if time.monotonic() > end and not ending.is_set():
                    seen.counts = system_clock()
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
    """Send what people do, as it happens, and go on for a while at the end, so that the watermark does."""
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

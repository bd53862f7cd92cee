"""Visitors of a simulated marketplace on a bus: they ask the scorer, see what it ranked, click and buy late.

They begin some time ago, live fast until they have caught up with the clock, and then by the clock. Who is started
again goes on behind the newest impression on the bus, under other names.
"""

import json
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass

import numpy as np

from stream_mtl.clock import DAY, Clock, Millis
from stream_mtl.config.formats import topic_formats
from stream_mtl.config.load import Loaded
from stream_mtl.config.registry import schema_registry
from stream_mtl.config.sections import Config
from stream_mtl.connectors.base import Format
from stream_mtl.connectors.courier import Courier
from stream_mtl.connectors.kafka import Kafka
from stream_mtl.connectors.keys import record_key
from stream_mtl.errors import ConfigError
from stream_mtl.generate.fields import IDS, KINDS, TIME, avro_schema
from stream_mtl.generate.live import Population, Record, line
from stream_mtl.generate.market import Market
from stream_mtl.generate.options import GeneratorOptions
from stream_mtl.processes.bus import kafka_of
from stream_mtl.processes.demo import Asker, lively
from stream_mtl.processes.outage import Outage
from stream_mtl.processes.rewriting import Rewrite, framed, rewriting
from stream_mtl.processes.stop import Stop

OPENING: Millis = 1_767_225_600_000
"""When the marketplace opened, 2026-01-01: the same one, whenever its visitors are started."""

_ROOT = KINDS[0]
_TICK = 0.1  # real seconds between two looks at what the people do


@dataclass(frozen=True, slots=True)
class PeopleOptions:
    """How busy the marketplace is."""

    requests: float = 10.0  # a real second
    back: Millis = DAY  # how long ago they begin, where the bus is empty
    speed: float = 300.0  # milliseconds of event time in one of real time, until they have caught up
    shown: int = 8  # candidates that a visitor sees
    slate: int = 16  # candidates that are scored for him
    unranked: float = 0.2  # share of the visitors who see them in any order, to compare with
    seed: int = 0


def people(
    loaded: Loaded, url: str, token: str | None, options: PeopleOptions, stop: Stop, clock: Clock
) -> dict[str, int]:
    """Live until `stop` says so; `url` and `token` are the scorer's. Returns how many records of each kind were sent.

    Raises ConfigError where the configuration's topics are not for such a marketplace.
    """
    market = lively(OPENING, options.slate, options.seed)
    topics = _topics(loaded.config)
    outage = Outage(loaded.config.kafka.startup_timeout)
    kafka = kafka_of(loaded.config)
    begin = outage.until_done(lambda: _begin(kafka, topics[_ROOT], clock() - options.back), stop)
    forms = outage.until_done(lambda: _forms(loaded.config, market), stop)
    sent = dict.fromkeys(KINDS, 0)
    if begin is None or forms is None:
        return sent
    population = Population(Market(market), options.shown, options.unranked, options.seed, f"{begin:x}-")
    lives = _Lives(population, options, Asker(url, options.shown, token), begin, clock)
    waiting: list[tuple[str, Record]] = []
    with kafka.courier() as courier:
        while not stop():
            waiting.extend(lives.go_on())
            outage.unless_away(lambda: _send(courier, topics, forms, waiting, sent), stop)
            time.sleep(_TICK)
    return sent


class _Lives:
    """The people's time: fast at first, and never ahead of the clock."""

    def __init__(
        self, population: Population, options: PeopleOptions, ask: Asker, begin: Millis, clock: Clock
    ) -> None:
        self._population, self._options, self._ask, self._clock = population, options, ask, clock
        self._rng = np.random.default_rng(options.seed + 1)
        self._event = begin
        self._real = clock()

    def go_on(self) -> list[tuple[str, Record]]:
        """Let some visitors come, and return what happens meanwhile."""
        now = self._clock()
        passed = max(now - self._real, 0)
        event = max(min(self._event + int(passed * self._options.speed), now), self._event)
        most = max(1, int(4 * self._options.requests * _TICK))
        requests = min(int(self._rng.poisson(self._options.requests * passed / 1_000)), most)
        self._population.visit(requests, self._event, event, self._ask)
        self._event, self._real = event, now
        return list(self._population.until(event))


def _topics(config: Config) -> dict[str, str]:
    """Return the topic of each kind. Raises ConfigError."""
    topics = {}
    for kind in KINDS:
        scheme, _, name = config.events[kind].source.partition(":") if kind in config.events else ("", "", "")
        if scheme != "kafka":
            raise ConfigError(
                f'events.{kind}: people live on topics of impressions, clicks and conversions; write source = "kafka:{kind}s"'
            )
        topics[kind] = name
    return topics


def _begin(kafka: Kafka, topic: str, otherwise: Millis) -> Millis:
    """Return the time behind the newest record. Raises ConfigError without the topic, Unavailable."""
    with closing(kafka.admin()) as admin:
        places = [(topic, number) for number in range(admin.partitions([topic])[topic])]
    newest = otherwise - 1
    with kafka.glance(places) as glance:
        begins, ends = glance.begins(), glance.ends()
        for place in places:
            last = max(ends[place] - 1, begins[place])
            times = [seen.time for seen in glance.records(place, last, ends[place]) if hasattr(seen, "time")]
            newest = max(newest, *times, otherwise - 1)
    return newest + 1


def _forms(config: Config, market: GeneratorOptions) -> dict[str, Rewrite]:
    """Return how a record of each kind is written. Raises ConfigError, Unavailable."""
    registry = schema_registry(config.kafka)
    forms: dict[str, Rewrite] = {}
    for kind in KINDS:
        source = config.events[kind].source
        target = topic_formats(config)[source]
        schema = json.dumps(avro_schema(market, kind))
        forms[kind] = rewriting(Format("json"), {}, target, schema)
        if target == "confluent-avro" and registry is not None:
            number = registry.register(f"{source.partition(':')[2]}-value", schema)
            forms[kind] = framed(forms[kind], number)
    return forms


def _send(
    courier: Courier,
    topics: dict[str, str],
    forms: dict[str, Callable[[bytes], bytes]],
    waiting: list[tuple[str, Record]],
    sent: dict[str, int],
) -> None:
    """Send what waits, and wait until it is there. Raises Unavailable: all is sent again, and known by its ids."""
    for kind, record in waiting:
        key = record_key([record[IDS[_ROOT]]])
        courier.send(topics[kind], forms[kind](line(record)), key, time=record[TIME])
    courier.settle()
    for kind, _ in waiting:
        sent[kind] += 1
    waiting.clear()

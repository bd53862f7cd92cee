"""The plain loop that reads Kafka: kafka-python's `poll`, fastavro for every record, a dict of exposures."""

import io
import json
import struct
from collections.abc import Iterator, Mapping
from typing import Any, Final, TypeAlias

import fastavro
from kafka import KafkaConsumer, KafkaProducer, TopicPartition

from stream_mtl.bench.joins import plain_times
from stream_mtl.bench.measure import Run, timed
from stream_mtl.bench.workload import plan
from stream_mtl.generate.fields import KINDS

Told: TypeAlias = tuple[list[str], bytes]
"""Exposure ids, and clicked and converted of each, a byte each."""

_POLL: Final = {  # as ours are set
    "enable_auto_commit": False,
    "auto_offset_reset": "earliest",
    "isolation_level": "read_committed",
    "metrics_enabled": False,
    "fetch_max_bytes": 32 << 20,
    "max_partition_fetch_bytes": 2 << 20,
    "max_poll_records": 10_000,
}


def plain_join(
    bootstrap: str, topics: Mapping[str, str], impressions: int, windows: str, into: str | None
) -> Run[Told]:
    """Join topics and keep the finals, or send each of them `into` a topic too, a record a row."""
    out: dict[str, tuple[int, int]] = {}
    rows = _rows(bootstrap, topics, impressions, windows)
    run = timed(lambda: out.update(rows if into is None else _sent(rows, bootstrap, into)))
    told = list(out), b"".join(map(bytes, out.values()))
    return Run(told, run.cpu, run.wall)


Row: TypeAlias = tuple[str, tuple[int, int]]


def _rows(bootstrap: str, topics: Mapping[str, str], impressions: int, windows: str) -> Iterator[Row]:
    planned = plan(impressions, windows)
    schemas: Any = {
        number: fastavro.parse_schema(plain_times(json.loads(text)))
        for number, text in planned.schemas.items()
    }
    click_within, conversion_within = (kind.within or 0 for kind in planned.chain.kinds[1:])
    places = {TopicPartition(topics[kind], 0): KINDS.index(kind) for kind in KINDS}
    consumer = KafkaConsumer(bootstrap_servers=bootstrap, **_POLL)
    consumer.assign(list(places))
    left = {place: end for place, end in consumer.end_offsets(list(places)).items() if end}
    greatest = dict.fromkeys(KINDS, 0)  # event time, by kind: topics are not read in step
    read, unpack = fastavro.schemaless_reader, struct.Struct(">bI").unpack_from
    open_: dict[str, list[Any]] = {}  # exposure id -> [time, fields, click time, conversion time]
    early: dict[str, list[Any]] = {}  # the same of those whose impression has not come
    while left:
        for place, records in consumer.poll(timeout_ms=1_000).items():
            newest = greatest[KINDS[places[place]]]
            for record in records:
                message = record.value
                _, number = unpack(message)
                event: Any = read(io.BytesIO(message[5:]), schemas[number], None)
                name, time = event["exposure_id"], event["ts"]
                if time > newest:
                    newest = time
                known = open_.get(name)
                if number == 0:
                    if known is None:
                        open_[name] = [time, event, *early.pop(name, (None, None))]
                    continue
                first = known if known is not None else early.setdefault(name, [None, None])
                if first[number - 3] is None:
                    first[number - 3] = time
            greatest[KINDS[places[place]]] = newest
            if records and records[-1].offset + 1 >= left.get(place, 0):
                left.pop(place, None)
        behind = min((greatest[KINDS[places[place]]] for place in left), default=max(greatest.values()))
        closed = behind - planned.chain.lateness - click_within - conversion_within
        for name in list(_closing(open_, closed)):
            yield name, _labels(open_.pop(name), click_within, conversion_within)
    consumer.close()
    for name, known in open_.items():
        yield name, _labels(known, click_within, conversion_within)


def _closing(open_: dict[str, list[Any]], before: int) -> Iterator[str]:
    """Yield exposures from the oldest on whose windows have closed; a dict keeps the order of arrival."""
    for name, known in open_.items():
        if known[0] >= before:
            return
        yield name


def _labels(known: list[Any], click_within: int, conversion_within: int) -> tuple[int, int]:
    time, _, click, conversion = known
    clicked = click is not None and click - time <= click_within
    converted = clicked and conversion is not None and conversion - click <= conversion_within
    return int(clicked), int(converted)


def _sent(rows: Iterator[Row], bootstrap: str, topic: str) -> Iterator[Row]:
    producer = KafkaProducer(
        bootstrap_servers=bootstrap, linger_ms=5, batch_size=256 << 10, metrics_enabled=False
    )
    for name, (clicked, converted) in rows:
        producer.send(topic, json.dumps({"exposure_id": name, "ctr": clicked, "cvr": converted}).encode())
        yield name, (clicked, converted)
    producer.flush()
    producer.close()

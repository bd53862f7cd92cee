"""Every kind of bad record has one reason, and hurts none of the good ones around it."""

import json
from collections.abc import Iterator, Sequence

import pytest

from stream_mtl.connectors.base import Format, Records
from stream_mtl.connectors.memory import MemorySource
from stream_mtl.connectors.registry import Patience, SchemaRegistry
from stream_mtl.connectors.rest import Endpoint
from stream_mtl.errors import SchemaError
from stream_mtl.events.codec import Codec
from stream_mtl.events.types import Arrivals, Limits
from stream_mtl.testing import ManualClock, drain
from tests.events.poison import (
    NOW,
    PROTOBUF,
    SCHEMAS,
    SPEC,
    WRITERS,
    Poison,
    Writer,
    good,
    poisons,
    schema_of,
)
from tests.services.double import Double

ASK = schema_of(LookupError, lambda number: SchemaError(f"schema {number} is PROTOBUF"))

CASES = [
    pytest.param(writer, poison, id=f"{poison.name}-{writer.name}")
    for writer in WRITERS
    for poison in poisons(writer)
]


def records(values: Sequence[bytes]) -> Records:
    source = MemorySource("s", Format("confluent-avro"))
    source.append(list(values), at=100)
    (batch,) = drain(source, 1 << 30)
    return batch


def decode(values: Sequence[bytes]) -> Arrivals:
    return Codec([SPEC], Limits(), ManualClock(NOW), schema_of=ASK).decode(records(values))


def faults(arrivals: Arrivals) -> list[tuple[int, str]]:
    return list(zip(arrivals.malformed.position.tolist(), arrivals.malformed.reason, strict=True))


@pytest.mark.parametrize(("writer", "poison"), CASES)
def test_a_bad_record_has_one_reason_and_its_neighbours_are_events(writer: Writer, poison: Poison) -> None:
    arrivals = decode([good(writer, "before"), poison.value, good(writer, "after")])
    bad = [] if poison.reason is None else [(101, poison.reason)]
    assert faults(arrivals) == bad
    assert arrivals.malformed.value == [poison.value] * len(bad)
    (events,) = arrivals.events
    assert events.position.tolist() == ([100, 101, 102] if poison.reason is None else [100, 102])
    ids = events.fields.column("id").to_pylist()
    assert (ids[0], ids[-1], arrivals.next) == ("before", "after", 103)


@pytest.mark.parametrize("writer", WRITERS, ids=[writer.name for writer in WRITERS])
def test_all_of_them_together_are_what_each_is_alone(writer: Writer) -> None:
    every = list(poisons(writer))
    values = [value for poison in every for value in (poison.value, good(writer, poison.name))]
    arrivals = decode(values)
    expected = [(100 + 2 * at, poison.reason) for at, poison in enumerate(every) if poison.reason is not None]
    assert faults(arrivals) == expected
    (events,) = arrivals.events
    kept = set(range(100, 100 + len(values))) - {at for at, _ in expected}
    assert events.position.tolist() == sorted(kept)


@pytest.fixture
def double() -> Iterator[Double]:
    double = Double()
    yield double
    double.stop()


def test_a_registry_makes_the_same_of_ids(double: Double) -> None:
    ids = {}
    for number, schema in SCHEMAS.items():
        body = {"schema": json.dumps(schema), "schemaType": "AVRO"}
        double.schemas.texts.append(body)  # as a registry that checks nothing would
        ids[number] = len(double.schemas.texts)
    double.schemas.texts.append({"schema": "syntax = 'proto3';", "schemaType": "PROTOBUF"})
    ids[PROTOBUF] = len(double.schemas.texts)
    client = SchemaRegistry(Endpoint(double.url), patience=Patience(attempts=1))
    codec = Codec([SPEC], Limits(), ManualClock(NOW), schema_of=client.schema_of)
    for writer in WRITERS:
        every = [poison for poison in poisons(writer) if len(poison.value) >= 5 and poison.value[0] == 0]
        values = [_renumbered(poison.value, ids) for poison in every]
        expected = [(100 + at, poison.reason) for at, poison in enumerate(every) if poison.reason is not None]
        assert faults(codec.decode(records(values))) == expected


def _renumbered(value: bytes, ids: dict[int, int]) -> bytes:
    number = int.from_bytes(value[1:5])
    return value[:1] + ids.get(number, number).to_bytes(4) + value[5:]

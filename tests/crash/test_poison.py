"""Every bad record that we know among good ones, through the real joiner that is killed on the way."""

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from stream_mtl.config.load import load
from stream_mtl.connectors.letters import decode_letter
from stream_mtl.processes.digest import digest
from tests.crash.bus import FOREVER, entries_of
from tests.crash.child import Nursery
from tests.crash.site import Site
from tests.events.poison import NOW, PROTOBUF, SCHEMAS, UNKNOWN, WRITERS, good, poisons
from tests.services.double import Double
from tests.topics import Topics

CONFIG = """
[chain]
key = "id"
lateness = "2m"
remember = "1h"

[events.view]
source = "kafka:{views}"
format = "confluent-avro"
time = "ts"
fields = {{ id = "string", price = "double", recent = "array<long>", weights = "array<double>", flag = "boolean", \
count = "long", color = "string", maybe = "double" }}

[events.tap]
source = "kafka:{taps}"
format = "json"
time = "ts"
after = "view"
within = "30m"
fields = {{ id = "string" }}

[tasks.taps]
event = "tap"

[features.price]
type = "numeric"

[join]
path = "kafka:{log}"
poll_rows = 25
tell_rows = 50
block_rows = 20
checkpoint_every = "1ms"

[dead_letters]
path = "kafka:{letters}"

[kafka]
bootstrap_servers = "{bootstrap}"
registry_url = "{registry}"
request_timeout = "10s"
"""


@pytest.fixture
def registry() -> Iterator[Double]:
    made = Double()
    yield made
    made.stop()


def renumbered(value: bytes, ids: dict[int, int]) -> bytes:
    """Return a framed record under the number that a registry gave its schema."""
    if len(value) < 5 or value[0] != 0:
        return value
    number = int.from_bytes(value[1:5])
    return value[:1] + ids.get(number, number).to_bytes(4) + value[5:]


def registered(registry: Double) -> dict[int, int]:
    """Tell a registry all schemas; return their numbers there."""
    ids = {}
    for number, schema in SCHEMAS.items():
        registry.schemas.texts.append({"schema": json.dumps(schema), "schemaType": "AVRO"})
        ids[number] = len(registry.schemas.texts)
    registry.schemas.texts.append({"schema": "syntax = 'proto3';", "schemaType": "PROTOBUF"})
    return ids | {PROTOBUF: len(registry.schemas.texts), UNKNOWN: UNKNOWN}


def records() -> tuple[list[bytes], dict[int, str], list[str]]:
    """Return bad records among good ones, the reason of each that is bad by its offset, and the good ones' names."""
    values: list[bytes] = []
    reasons: dict[int, str] = {}
    names: list[str] = []
    for writer in WRITERS:
        for poison in poisons(writer):
            if "skew" in poison.name or len(poison.value) > 1_048_000:
                continue  # of a clock that the real process does not have; no broker takes it
            if poison.reason is not None:
                reasons[len(values)] = poison.reason
            names.append(f"{writer.name} {poison.name}")
            values += [poison.value, good(writer, names[-1])]
    return values, reasons, names


def test_all_good_ones_are_joined_and_every_bad_one_is_kept_once(
    children: Nursery, topics: Topics, registry: Double, tmp_path: Path
) -> None:
    ids = registered(registry)
    values, reasons, good_names = records()
    values = [renumbered(value, ids) for value in values]
    names = {name: topics.new(1, **FOREVER) for name in ("views", "taps", "log", "letters")}
    topics.write(names["views"], values)
    taps = [json.dumps({"id": name, "ts": NOW + 1_000}).encode() for name in good_names]
    topics.write(names["taps"], taps)
    text = CONFIG.format(**names, bootstrap=topics.options.bootstrap_servers, registry=registry.url)
    site = Site(children, tmp_path / "site", text, ())
    for failing in ("join.after_poll:3:kill", "join.before_append:2:kill", "join.after_append:1:kill"):
        site.die("join", failing)
    site.run("join")
    letters = [decode_letter(entry.value) for entry in entries_of(topics, names["letters"])]
    assert {letter.position: letter.reason for letter in letters} == reasons
    assert {letter.source for letter in letters} == {f"kafka:{names['views']}"}
    for letter in letters:
        value = values[letter.position]
        whole = letter.value == value
        assert whole or (
            len(value) > 500_000 and value.startswith(letter.value)
        )  # no topic takes such a letter
        assert whole or hashlib.sha256(value).hexdigest() in letter.detail
    accounts: Any = digest(load(site.config, {}))["accounts"]
    views = accounts["view"]
    assert views["malformed"] == len(reasons)
    assert views["late"] == len(WRITERS)  # of the time 0
    again = views["duplicate"] + views["conflict"]  # legal ones have one key and one time
    assert views["joined"] + again == len(values) - len(reasons) - len(WRITERS)
    assert accounts["tap"]["joined"] == len(good_names)

"""Visitors on a bus: what they do is what the joiner reads, and who comes again goes on behind those before."""

import uuid
from itertools import count
from pathlib import Path

import pytest

from stream_mtl.clock import DAY, system_clock
from stream_mtl.config.load import Loaded, load
from stream_mtl.errors import ConfigError
from stream_mtl.generate.fields import KINDS
from stream_mtl.processes.declared import declared
from stream_mtl.processes.join import join
from stream_mtl.processes.people import PeopleOptions, people
from stream_mtl.processes.topic_peek import peek
from stream_mtl.processes.topics import create
from tests.services.registry import Registry
from tests.topics import Topics

CONFIG = Path(__file__).parent.parent.parent / "deploy" / "config.toml"
NOBODY = "http://127.0.0.1:9"  # where no scorer answers: then people see anything


def deployed(folder: Path, topics: Topics, registry: Registry) -> Loaded:
    """Load the configuration of the containers, with topics, folders and services of our own."""
    name = uuid.uuid4().hex
    paths = {
        "join.state": "state",
        "learn.path": "learner",
        "publish.path": "snapshots",
        "watch.path": "readings",
    }
    options = [
        *(f"events.{kind}.source=kafka:{kind}-{name}" for kind in (*KINDS, "scored")),
        f"serve.log=kafka:scored-{name}",
        f"join.path=kafka:log-{name}",
        f"dead_letters.path=kafka:dead-{name}",
        f"publish.announce=kafka:snapshots-{name}",
        f"watch.readings=kafka:readings-{name}",
        f"kafka.bootstrap_servers={topics.options.bootstrap_servers}",
        f"kafka.group={name}",
        f"kafka.registry_url={registry.url}",
        f"kafka.registry_cache={folder / 'registry'}",
        f"run.status={folder / 'status'}",
        "run.metrics_host=127.0.0.1",
        "join.metrics_port=0",
        *(f"{key}={folder / path}" for key, path in paths.items()),
    ]
    loaded = load(CONFIG, {}, options)
    create(declared(loaded), None, None, True)
    return loaded


def visit(loaded: Loaded, turns: int) -> dict[str, int]:
    """Let people live for some turns."""
    asked = count(1)
    options = PeopleOptions(requests=100, back=DAY, speed=20_000)
    return people(loaded, NOBODY, None, options, lambda: next(asked) > turns, system_clock)


def test_what_people_do_is_joined_and_those_who_come_again_go_on(
    tmp_path: Path, topics: Topics, registry: Registry
) -> None:
    loaded = deployed(tmp_path, topics, registry)
    first = visit(loaded, 12)
    again = visit(loaded, 12)
    assert min(first["impression"], again["impression"], first["click"]) > 0
    accounts = join(loaded, lambda: False)
    for kind in KINDS:
        assert sum(accounts[kind].values()) == first[kind] + again[kind]
        assert accounts[kind]["malformed"] == accounts[kind]["conflict"] == accounts[kind]["duplicate"] == 0
    assert accounts["impression"]["joined"] == first["impression"] + again["impression"]
    name = loaded.config.events["impression"].source.removeprefix("kafka:")
    seen = list(peek(declared(loaded), name, None, None, 10_000, False))
    assert len({line["key"] for line in seen}) == len(seen) == first["impression"] + again["impression"]


def test_people_need_topics_of_their_own(tmp_path: Path) -> None:
    example = load(CONFIG.parent.parent / "examples" / "quickstart.toml", {})
    with pytest.raises(ConfigError, match=r"events\.impression: people live on topics"):
        people(example, NOBODY, None, PeopleOptions(), lambda: True, system_clock)

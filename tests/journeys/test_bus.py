"""The same events through files and through Kafka: the same transitions, the same weights."""

import uuid
from collections.abc import Sequence
from pathlib import Path

import pytest

from stream_mtl.clock import MINUTE
from stream_mtl.config.load import Loaded, load
from stream_mtl.connectors.letters import decode_letter, distinct
from stream_mtl.connectors.partition import Entry
from stream_mtl.processes.digest import digest
from stream_mtl.processes.join import join
from stream_mtl.processes.train import train
from stream_mtl.publish.announce import announcement_of
from stream_mtl.publish.store import SnapshotFolder
from tests.processes.small import SMALL, market
from tests.services.plugin import needs
from tests.topics import Topics

KINDS = ("impression", "click", "conversion")
WORLD = ("partitions=2", "duplicates=0.05", "malformed=0.01", "disorder=0.2", "late=0.01", "conflicts=0.01")
TWO = (*SMALL, "join.partitions=2", "publish.keep=100")


def on_bus(config: Path, topics: Topics, partitions: int) -> list[str]:
    """Send a market's events to topics, partition by partition; return the options that read them there."""
    made = {kind: topics.new(partitions, retention_ms="-1") for kind in KINDS}
    for kind, topic in made.items():
        for folder in sorted((config.parent / f"{kind}s").iterdir()):
            lines = [line for path in sorted(folder.iterdir()) for line in path.read_bytes().splitlines()]
            topics.write(topic, lines, int(folder.name))
    log, letters, announced = topics.new(2), topics.new(1), topics.new(1)
    return [
        *(f"events.{kind}.source=kafka:{topic}" for kind, topic in made.items()),
        f"kafka.bootstrap_servers={topics.options.bootstrap_servers}",
        f"kafka.group={uuid.uuid4().hex}",
        f"join.path=kafka:{log}",
        f"dead_letters.path=kafka:{letters}",
        f"publish.announce=kafka:{announced}",
    ]


def elsewhere(config: Path, name: str, options: Sequence[str]) -> Loaded:
    """Load a configuration whose folders are its own."""
    home = config.parent.parent / name
    folders = {
        "join.state": "state",
        "learn.path": "learner",
        "publish.path": "snapshots",
        "run.status": "status",
    }
    return load(config, {}, [*options, *(f"{key}={home / folder}" for key, folder in folders.items())])


def entries(topics: Topics, place: str, partition: int = 0) -> list[Entry]:
    log = topics.kafka.partition(place.partition("=kafka:")[2], partition)
    found, at = [], log.begin()
    while some := log.read(at):
        found += some
        at = some[-1].offset + 1
    log.close()
    return found


@needs("end-offsets")
@pytest.mark.slow
def test_files_and_topics_give_the_same_transitions_and_weights(tmp_path: Path, topics: Topics) -> None:
    config = market(tmp_path / "market", format="jsonl", knobs=WORLD)
    files = elsewhere(config, "files", [*TWO, f"join.path={tmp_path / 'files' / 'log'}"])
    options = on_bus(config, topics, 2)
    bus = elsewhere(config, "bus", [*TWO, *options])
    accounts = [join(loaded, stop=lambda: False) for loaded in (files, bus)]
    assert accounts[0] == accounts[1]
    facts = [train(loaded, stop=lambda: False) for loaded in (files, bus)]
    assert facts[0]["examples"] == facts[1]["examples"] != 0
    made = [digest(loaded) for loaded in (files, bus)]
    assert {"transitions", "weights", "optimiser", "measures"} <= made[0].keys()
    assert made[0] == made[1]
    stores = [SnapshotFolder(loaded.config.publish.path) for loaded in (files, bus)]
    hashes = [[store.manifest(v).weights.sha256 for v in store.versions()] for store in stores]
    assert hashes[0] == hashes[1]
    said = [found for entry in entries(topics, options[-1]) if (found := announcement_of(entry)) is not None]
    assert [one.weights for one in said] == hashes[1]
    letters = list(distinct(decode_letter(entry.value) for entry in entries(topics, options[-2])))
    assert len(letters) == sum(c["malformed"] + c["conflict"] for c in accounts[1].values()) > 0


@needs("end-offsets")
def test_one_joiner_reads_all_partitions_of_topics_that_differ(tmp_path: Path, topics: Topics) -> None:
    config = market(tmp_path / "market", 1_000, format="jsonl", knobs=WORLD)
    files = elsewhere(config, "files", [*SMALL, f"join.path={tmp_path / 'files' / 'log'}"])
    bus = elsewhere(config, "bus", [*SMALL, *on_bus(config, topics, 3)])  # the third is empty
    assert join(files, stop=lambda: False) == join(bus, stop=lambda: False)
    made = [digest(loaded) for loaded in (files, bus)]
    assert made[0]["transitions"] == made[1]["transitions"]


@needs("end-offsets")
def test_a_joiner_without_its_state_makes_it_anew_from_the_topics(tmp_path: Path, topics: Topics) -> None:
    config = market(tmp_path / "market", 2_000, format="jsonl", knobs=WORLD)
    whole = elsewhere(config, "whole", [*TWO, f"join.path={tmp_path / 'whole' / 'log'}"])
    join(whole, stop=lambda: False)
    options = [*TWO, *on_bus(config, topics, 2), "join.poll_rows=100", "join.block_every=1ms"]
    steps = iter(range(12))
    join(elsewhere(config, "first", options), stop=lambda: next(steps, None) is None)
    second = elsewhere(config, "second", options)
    assert second.config.chain is not None and second.config.chain.lateness < MINUTE * 60
    join(second, stop=lambda: False)
    assert digest(second)["transitions"] == digest(whole)["transitions"]


@needs("end-offsets")
@pytest.mark.parametrize("named", [True, False], ids=["by the names of the files", "by time"])
def test_history_and_then_the_topic_are_one_stream(tmp_path: Path, topics: Topics, named: bool) -> None:
    config = market(tmp_path / "market", 1_500, format="jsonl", knobs=WORLD)
    whole = elsewhere(config, "whole", [*TWO, f"join.path={tmp_path / 'whole' / 'log'}"])
    options = [*TWO, *on_bus(config, topics, 2)]
    for kind in KINDS:  # the topics hold everything; the files its beginning, as somebody has saved it
        for folder in sorted((config.parent / f"{kind}s").iterdir()):
            lines = [line for path in sorted(folder.iterdir()) for line in path.read_bytes().splitlines(True)]
            saved = tmp_path / "history" / kind / folder.name
            saved.mkdir(parents=True)
            first, then = len(lines) // 3, len(lines) // 2
            (saved / f"t+{folder.name}+{0:010d}.jsonl").write_bytes(b"".join(lines[:first]))
            (saved / f"t+{folder.name}+{first:010d}.jsonl").write_bytes(b"".join(lines[first:then]))
        options.append(f"events.{kind}.history=files:{tmp_path / 'history' / kind}")
    if not named:
        options += [f"events.{kind}.history_until=2038-01-01T00:00:00Z" for kind in KINDS]
    bus = elsewhere(config, "bus", options)
    accounts = join(bus, stop=lambda: False)
    if named:
        assert accounts == join(whole, stop=lambda: False)
        assert digest(bus)["transitions"] == digest(whole)["transitions"]
    else:  # nothing of the topics is so young
        read = sum(sum(counts.values()) for counts in accounts.values())
        paths = (tmp_path / "history").rglob("*.jsonl")
        assert read == sum(len(path.read_bytes().splitlines()) for path in paths)

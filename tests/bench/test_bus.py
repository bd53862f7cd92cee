"""The benches through Kafka run, check what came out, and say as much as they should; nothing here is timed."""

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from stream_mtl.bench import bus
from stream_mtl.bench.broker import broker as started
from stream_mtl.bench.bus_labels import Labels
from stream_mtl.bench.fill import batch_of, fill
from stream_mtl.cli.app import app
from stream_mtl.cli.bench import bench_app
from stream_mtl.errors import ConfigError, StreamMtlError, Unavailable
from tests.services.kafka import Broker
from tests.services.plugin import needs
from tests.topics import Topics

assert bench_app is not None  # importing it gave `app` its commands


def printed(broker: Broker, *arguments: str) -> Any:
    ran = CliRunner().invoke(app, ["bench", "kafka", *arguments, "--json", "--bootstrap", broker.bootstrap])
    assert ran.exit_code == 0, ran.output
    return json.loads(ran.stdout)


@needs("end-offsets")
def test_every_way_to_join_topics_gives_the_truth(broker: Broker) -> None:
    told = printed(broker, "join", "--impressions", "3000", "--rounds", "1")["join"]
    assert len(told["rates"]) == 4
    for rate in told["rates"].values():
        assert all(math.isfinite(value) and value > 0 for value in rate.values())
    assert set(told["spent_cpu_seconds"]) == {"ours", "ours, records one by one"}
    assert {"fetch", "parse", "decode", "join", "send"} < set(told["spent_cpu_seconds"]["ours"])


@needs("end-offsets")
def test_a_join_that_lost_a_label_is_no_result(broker: Broker, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bus, "labels_of", lambda bootstrap, topic: np.zeros((3, 2), np.int8))
    with pytest.raises(StreamMtlError, match="differs from the truth"):
        bus.bench_bus_join(broker.bootstrap, 500, 1)


@needs("end-offsets")
def test_the_topic_teaches_what_memory_teaches(broker: Broker) -> None:
    told = printed(broker, "train", "--learned", "1000", "--rounds", "1")["train"]
    assert list(told["rates"]) == ["from memory", "from the topic"]


@needs("end-offsets")
@pytest.mark.slow
def test_labels_are_followed_from_the_watermark_to_a_score(broker: Broker) -> None:
    told = printed(broker, "live", "--seconds", "5")["live"]
    assert told["labels"] > 0
    waits = told["seconds"]
    assert list(waits) == ["the watermark", "a block", "a snapshot", "a score", "label to served"]
    for name in ("the watermark", "label to served"):
        assert 0 < waits[name]["p50"] <= waits[name]["p99"] <= waits[name]["most"]


@needs("end-offsets")
@pytest.mark.slow
def test_a_joiner_that_was_killed_comes_back(broker: Broker) -> None:
    (restart,) = printed(broker, "restart", "--waiting", "2000", "--rounds", "1")["restart"]["restarts"]
    assert restart["waiting"] > 0
    assert restart["block"] > 0


@needs("end-offsets")
def test_what_is_filled_is_what_any_client_reads(topics: Topics) -> None:
    topic = topics.new(retention_ms="-1")
    values = [bytes([65 + n % 26]) * (n % 300) for n in range(1_000)]
    ends = np.cumsum([len(value) for value in values])
    starts, times = ends - [len(value) for value in values], np.arange(1_000) * 7 % 1_000 + 1_700_000_000_000
    data = np.frombuffer(b"".join(values), np.uint8)
    fill(topics.options.bootstrap_servers, topic, data, starts, ends, times, 2_000)
    log = topics.kafka.partition(topic, 0)
    entries = log.read(0)
    log.close()
    assert [entry.value for entry in entries] == values
    assert [entry.time for entry in entries] == times.tolist()


@needs("end-offsets")
def test_a_topic_that_is_not_there_is_not_filled(broker: Broker) -> None:
    one = np.array([0]), np.array([1]), np.array([0])
    with pytest.raises(Unavailable, match="did not take records for nowhere"):
        fill(broker.bootstrap, "nowhere", np.zeros(1, np.uint8), *one, 100)


def test_a_batch_has_its_size_and_its_count_in_it() -> None:
    batch = batch_of([b"one", b"two"], [5, 3])
    assert int.from_bytes(batch[8:12]) == len(batch) - 12
    assert int.from_bytes(batch[57:61]) == 2


def test_a_bench_without_a_broker_says_how_to_name_one(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="--bootstrap"), started(None, None):
        pass
    with pytest.raises(ConfigError, match="cannot be used"), started(None, tmp_path):
        pass


def test_a_label_that_was_not_served_is_counted_and_not_measured() -> None:
    nan = math.nan
    labels = Labels(
        *map(np.array, ([0, 0, 0], [1_000, 1_000, nan], [2_000] * 3, [3_000, nan, nan], [4_000, nan, nan]))
    )
    assert labels.unserved == 1
    assert labels.waits()["label to served"].tolist() == [3]
    assert labels.waits()["the watermark"].tolist() == [1]

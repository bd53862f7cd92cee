"""Every score that was given becomes an event that the product itself can read, and nothing waits for that."""

import json
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import structlog

from stream_mtl.connectors.append import JsonLinesSink
from stream_mtl.connectors.base import Sink
from stream_mtl.connectors.files import FileSource
from stream_mtl.connectors.memory import MemorySink, MemorySource
from stream_mtl.errors import ConfigError, Unavailable
from stream_mtl.events.codec import Codec
from stream_mtl.events.types import EventSpec, Limits
from stream_mtl.serve.log import ScoreLog
from stream_mtl.serve.requests import Asked
from stream_mtl.serve.scorer import Scores
from stream_mtl.testing import FaultySink, drain

from .world import KEY, NOW, OUTPUTS, RECIPE, candidates, messages

SPEC = EventSpec(
    "scored",
    "scored",
    "ts",
    {
        "exposure_id": "string",
        "request_id": "string",
        "snapshot": "long",
        **dict.fromkeys(OUTPUTS, "double"),
    },
    required=("exposure_id",),
)


def log_to(sink: Sink, hold: int = 1_000) -> ScoreLog:
    return ScoreLog(sink, KEY, messages(), 10, hold)


def serve(log: ScoreLog, rows: list[dict[str, Any]], **options: Any) -> None:
    """Answer a request for these candidates, the later ones with the greater scores, and log it."""
    one = messages()
    asked = one.read(json.dumps({"candidates": rows, "time": NOW - 7, **options}).encode())
    assert isinstance(asked, Asked)
    column = np.arange(len(rows), dtype=np.float32) / 8
    log.add(asked, one.respond(asked, Scores(412, dict.fromkeys(RECIPE.plan.outputs, column))))


def records(sink: MemorySink) -> list[dict[str, Any]]:
    return [json.loads(value) for _, value in sink.records]


def test_a_record_holds_key_time_request_snapshot_and_scores() -> None:
    sink = MemorySink()
    log = log_to(sink)
    serve(log, [{"exposure_id": "a"}, {"exposure_id": "b", "user": 3}], request_id="r1")
    assert log.write()
    assert records(sink)[1] == {
        "exposure_id": "b",
        "ts": NOW - 7,
        "request_id": "r1",
        "snapshot": 412,
        **dict.fromkeys(OUTPUTS, 0.125),
    }
    assert (len(records(sink)), log.written, log.waiting) == (2, 2, 0)


def test_only_what_is_returned_is_logged() -> None:
    sink = MemorySink()
    log = log_to(sink)
    serve(log, candidates(5), by="ctr", top=2)
    log.write()
    assert [record["exposure_id"] for record in records(sink)] == ["e4", "e3"]


def test_a_key_may_be_shared_by_the_request() -> None:
    sink = MemorySink()
    log = ScoreLog(sink, ["user", "ad"], messages())
    serve(log, [{"ad": 1}, {"ad": 2}], shared={"user": 2**60 + 1})
    log.write()
    assert [(one["user"], one["ad"]) for one in records(sink)] == [(2**60 + 1, 1), (2**60 + 1, 2)]


def test_a_candidate_without_a_key_is_counted_and_not_logged() -> None:
    sink = MemorySink()
    log = log_to(sink)
    serve(log, [{"exposure_id": None}, {"exposure_id": "b"}, {}])
    log.write()
    assert [record["exposure_id"] for record in records(sink)] == ["b"]
    assert (log.keyless, log.dropped) == (2, 0)


def test_the_product_reads_its_own_log(tmp_path: Path) -> None:
    folder = tmp_path / "scored"
    log = log_to(JsonLinesSink(folder, roll=1))
    for number in range(3):
        serve(log, candidates(4, number), request_id=f"r{number}")
        log.write()
    log.close()
    assert [path.name for path in sorted(folder.iterdir())] == [f"{i:08d}.jsonl" for i in range(3)]
    codec = Codec([SPEC], Limits(), lambda: NOW)
    arrivals = [codec.decode(one) for one in drain(FileSource("scored", folder))]
    assert sum(len(one.malformed) for one in arrivals) == 0
    table = pa.Table.from_batches([events.fields for one in arrivals for events in one.events])
    assert table.column("exposure_id").to_pylist() == [f"e{i}" for i in range(4)] * 3
    assert table.column("joint_cvr").to_pylist() == [0.0, 0.125, 0.25, 0.375] * 3
    assert table.column("snapshot").to_pylist() == [412] * 12
    assert {time for one in arrivals for events in one.events for time in events.time.tolist()} == {NOW - 7}


def test_a_score_that_is_not_known_is_a_null_that_the_product_reads() -> None:
    source = MemorySource("scored")
    log = log_to(MemorySink(source))
    one = messages()
    asked = one.read(b'{"candidates": [{"exposure_id": "a"}]}')
    assert isinstance(asked, Asked)
    unknown = np.array([np.nan], np.float32)
    log.add(asked, one.respond(asked, Scores(1, dict.fromkeys(RECIPE.plan.outputs, unknown))))
    log.write()
    arrivals = Codec([SPEC], Limits(), lambda: NOW).decode(drain(source)[0])
    assert len(arrivals.malformed) == 0
    assert arrivals.events[0].fields.column("ctr").to_pylist() == [None]


def test_what_finds_no_room_is_dropped_and_counted_request_by_request() -> None:
    sink = MemorySink()
    log = log_to(sink, hold=5)
    for count in (3, 3, 2):
        serve(log, candidates(count))
    assert (log.waiting, log.dropped) == (5, 3)
    log.write()
    serve(log, candidates(4))
    log.write()
    assert (len(sink.records), log.written, log.dropped) == (9, 9, 3)


def test_what_a_failing_sink_was_given_is_kept_and_given_once() -> None:
    sink = MemorySink()
    log = log_to(FaultySink(sink, frozenset({0, 1})))
    serve(log, candidates(3))
    with structlog.testing.capture_logs() as logged:
        assert not log.write()
        serve(log, candidates(2, 1))
        assert not log.write()
        assert (sink.records, log.failures, log.waiting) == ([], 2, 5)
        assert log.write()
    assert [one["event"] for one in logged] == ["scores_unwritten"]
    assert [record["exposure_id"] for record in records(sink)] == ["e0", "e1", "e2", "e0", "e1"]
    assert (log.written, log.waiting, log.dropped) == (5, 0, 0)


def test_while_the_sink_fails_no_more_waits_than_there_is_room() -> None:
    log = log_to(FaultySink(MemorySink(), frozenset(range(100))), hold=10)
    for _ in range(20):
        serve(log, candidates(3))
        log.write()
    assert (log.waiting, log.dropped) == (9, 51)


def test_closing_writes_all_that_waits() -> None:
    sink = MemorySink()
    log = log_to(FaultySink(sink, frozenset({0})))
    serve(log, candidates(3))
    log.start()
    log.close()
    log.close()
    assert (len(sink.records), log.written) == (3, 3)


def test_what_cannot_be_written_at_the_end_is_counted_and_said() -> None:
    log = log_to(FaultySink(MemorySink(), frozenset(range(100))))
    serve(log, candidates(3))
    with structlog.testing.capture_logs() as logged:
        log.close()
        log.close()
    assert (log.dropped, log.waiting) == (3, 0)
    assert [one["records"] for one in logged if one["event"] == "scores_lost"] == [3]


def test_a_thread_writes_by_itself(tmp_path: Path) -> None:
    log = log_to(JsonLinesSink(tmp_path))
    log.start()
    serve(log, candidates(3))
    for _ in range(3_000):
        if list(tmp_path.glob("*.jsonl")):
            break
        threading.Event().wait(0.01)
    log.close()
    lines = [line for path in sorted(tmp_path.glob("*.jsonl")) for line in path.read_text().splitlines()]
    assert [json.loads(line)["exposure_id"] for line in lines] == ["e0", "e1", "e2"]


def test_an_add_that_fails_loses_nothing() -> None:
    class Full(MemorySink):
        def add(self, value: bytes, key: bytes | None = None) -> None:
            super().add(value, key)
            if len(self._held) == 2:
                raise Unavailable("the disk is full")

    sink = Full()
    log = log_to(sink)
    serve(log, candidates(4))
    assert not log.write()
    assert log.waiting == 4
    while not log.write():
        pass
    assert [record["exposure_id"] for record in records(sink)] == ["e0", "e1", "e2", "e3"]


def test_names_that_would_clash_are_found_at_the_start() -> None:
    with pytest.raises(ConfigError, match='"shop"'):
        ScoreLog(MemorySink(), ["shop"], messages())

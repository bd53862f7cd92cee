"""What a client gets: scores, or a problem that says what to do; and what an operator sees of it."""

import json
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import structlog
from litestar import Litestar
from litestar.testing import TestClient
from prometheus_client.parser import text_string_to_metric_families

from stream_mtl.connectors.memory import MemorySink
from stream_mtl.errors import ConfigError
from stream_mtl.publish.store import MemorySnapshots
from stream_mtl.serve.http import Service, application
from stream_mtl.serve.log import ScoreLog
from stream_mtl.serve.reload import Reloader
from stream_mtl.serve.scorer import Scorer
from stream_mtl.serve.tokens import Tokens, read_tokens
from stream_mtl.testing import ManualClock
from tests.learn.small import fields

from .world import KEY, NOW, OTHER_RECIPE, OUTPUTS, RECIPE, SCHEMA, candidates, expected, messages, snapshot

PROBLEM = "application/problem+json"
Client = TestClient[Litestar]


@dataclass
class World:
    """A scorer whose reloader is looked after by hand."""

    store: MemorySnapshots = field(default_factory=MemorySnapshots)
    sink: MemorySink = field(default_factory=MemorySink)
    clock: ManualClock = field(default_factory=lambda: ManualClock(NOW))

    def __post_init__(self) -> None:
        of = messages(max_rows=150, clock=self.clock)
        scorer = Scorer(RECIPE)
        self.reloader = Reloader(self.store, scorer, 3_600_000, self.clock)
        self.log = ScoreLog(self.sink, KEY, of, 3_600_000)
        self.service = Service(scorer, self.reloader, of, self.log, clock=self.clock)

    def publish(self, version: int, **options: Any) -> None:
        self.store.put(snapshot(version, **options))
        self.reloader.look()


@pytest.fixture
def world() -> World:
    one = World()
    one.publish(3)
    return one


@pytest.fixture
def client(world: World) -> Iterator[Client]:
    with TestClient(application(world.service, max_body=100_000)) as one:
        yield one


def metrics(client: Client) -> dict[str, float]:
    text = client.get("/metrics").text
    return {
        sample.name + "".join(f",{value}" for _, value in sorted(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def assert_problem(answer: Any, status: int) -> str:
    assert (answer.status_code, answer.headers["content-type"]) == (status, PROBLEM)
    body = answer.json()
    assert body.keys() == {"type", "title", "status", "detail"}
    assert body["status"] == status
    assert "Traceback" not in answer.text
    return str(body["detail"])


@pytest.mark.parametrize("count", [0, 1, 2, 100])
def test_candidates_get_the_scores_of_the_snapshot(client: Client, count: int) -> None:
    answer = client.post("/score", json={"candidates": candidates(count), "request_id": "r1"})
    assert (answer.status_code, answer.headers["content-type"]) == (200, "application/json")
    found = answer.json()
    assert (found["snapshot"], found["request_id"], found["outputs"]) == (3, "r1", OUTPUTS)
    assert [score["candidate"] for score in found["scores"]] == list(range(count))
    for output, column in expected(3, fields(count)).items():
        got = [score[output.replace(".", "_")] for score in found["scores"]]
        np.testing.assert_allclose(got, column, atol=1e-6, rtol=1e-6)


def test_an_answer_may_be_ordered_and_cut(client: Client) -> None:
    everything = client.post("/score", json={"candidates": candidates(20)}).json()["scores"]
    some = client.post("/score", json={"candidates": candidates(20), "by": "joint_cvr", "top": 4})
    assert some.json()["scores"] == sorted(everything, key=lambda one: -one["joint_cvr"])[:4]


def test_what_all_candidates_share_is_said_once(client: Client) -> None:
    rows = candidates(3)
    for row in rows:
        row["user"] = 5
    apart = [{name: value for name, value in row.items() if name != "user"} for row in rows]
    long = client.post("/score", json={"candidates": rows}).json()
    assert client.post("/score", json={"candidates": apart, "shared": {"user": 5}}).json() == long


def test_before_the_first_snapshot_a_client_is_asked_to_come_again() -> None:
    world = World()
    with TestClient(application(replace(world.service, log=None))) as client:
        answer = client.post("/score", json={"candidates": [{}]})
        assert "no snapshot" in assert_problem(answer, 503)
        assert int(answer.headers["retry-after"]) >= 1
        ready = client.get("/readyz")
        assert (ready.status_code, ready.json()["snapshot"]) == (503, None)
        assert client.get("/healthz").status_code == 200


@pytest.mark.parametrize(
    ("body", "says"),
    [
        (b"", "not JSON"),
        (b"{", "not JSON"),
        (b'{"candidates": [{"price": NaN}]}', "not JSON"),
        (b'{"candidates": [{"price": -Infinity}]}', "not JSON"),
        (b"\x80\x81", "not JSON"),
        (b'{"candidates": {}}', "$.candidates"),
        (b'{"candidates": [{}, {"user": "7"}]}', "`int | null`, got `str` - at `$.candidates[1].user`"),
        (b'{"candidates": [{"user": 9223372036854775808}]}', "$.candidates[0].user"),
        (b'{"candidates": [{}], "by": "price"}', "by can be ctr, cvr, order_value, joint_cvr"),
        (b'{"candidates": [{}], "top": 1}', "by which output"),
    ],
)
def test_nonsense_is_a_problem_of_the_client(client: Client, body: bytes, says: str) -> None:
    assert says in assert_problem(client.post("/score", content=body), 400)
    assert client.post("/score", json={"candidates": [{}]}).status_code == 200


def test_too_many_candidates_are_too_much(client: Client) -> None:
    assert client.post("/score", json={"candidates": [{}] * 150}).status_code == 200
    detail = assert_problem(client.post("/score", json={"candidates": [{}] * 151}), 413)
    assert "151" in detail and "150" in detail


def test_too_large_a_body_is_too_much(client: Client) -> None:
    body = b'{"candidates": []' + b" " * 100_000 + b"}"
    assert "100000" in assert_problem(client.post("/score", content=body), 413)

    def stream() -> Iterator[bytes]:
        yield from (body[:60_000], body[60_000:])

    assert "100000" in assert_problem(client.post("/score", content=stream()), 413)


def test_other_routes_and_methods_are_problems_too(client: Client) -> None:
    assert_problem(client.get("/nothing"), 404)
    for method in ("GET", "PUT", "OPTIONS", "DELETE"):
        answer = client.request(method, "/score")
        assert_problem(answer, 405)
        assert answer.headers["allow"] == "POST"


def test_a_fault_of_the_scorer_says_nothing_of_its_inside(world: World, client: Client) -> None:
    class Broken:
        def predict(self, rows: object) -> None:
            raise ZeroDivisionError("secret")

    loaded = world.service.scorer.loaded
    assert loaded is not None
    world.service.scorer.swap(replace(loaded, predictor=Broken()))  # type: ignore[arg-type]
    with structlog.testing.capture_logs() as logged:
        answer = client.post("/score", json={"candidates": [{}]})
    assert "secret" not in assert_problem(answer, 500)
    assert (logged[0]["event"], logged[0]["route"]) == ("request_failed", "/score")
    assert isinstance(logged[0]["exc_info"], ZeroDivisionError)


def test_readiness_says_the_snapshot_its_age_and_what_is_wrong_with_a_newer_one(
    world: World, client: Client
) -> None:
    assert client.get("/readyz").json() == {
        "ready": True,
        "draining": False,
        "snapshot": 3,
        "age_seconds": 5.0,
        "problem": None,
    }
    world.clock.advance(1_000)
    world.publish(4, of=OTHER_RECIPE)
    answer = client.get("/readyz")
    assert answer.status_code == 200
    found = answer.json()
    assert (found["snapshot"], found["age_seconds"]) == (3, 6.0)
    problem = found["problem"]
    assert (problem["version"], problem["reason"], problem["time"]) == (4, "fingerprint", NOW + 1_000)
    assert "model" in problem["detail"]


def test_who_is_draining_is_not_ready_but_answers(client: Client) -> None:
    client.app.state.draining = True
    ready = client.get("/readyz")
    assert (ready.status_code, ready.json()["draining"]) == (503, True)
    assert client.post("/score", json={"candidates": [{}]}).status_code == 200
    assert client.get("/healthz").text == "alive\n"


def test_scores_that_were_returned_are_logged_before_the_application_has_closed(world: World) -> None:
    with TestClient(application(world.service)) as client:
        body = {"candidates": candidates(5), "by": "ctr", "top": 2, "request_id": "r9"}
        found = client.post("/score", json=body).json()["scores"]
        client.post("/score", json={"candidates": [{"user": "no"}]})
    logged = [json.loads(value) for _, value in world.sink.records]
    assert [one["exposure_id"] for one in logged] == [f"e{score['candidate']}" for score in found]
    assert [{name: one[name] for name in OUTPUTS} for one in logged] == [
        {name: score[name] for name in OUTPUTS} for score in found
    ]
    assert {(one["request_id"], one["snapshot"], one["ts"]) for one in logged} == {("r9", 3, NOW)}


def test_metrics_count_what_was_asked_and_answered(world: World, client: Client) -> None:
    client.post("/score", json={"candidates": candidates(5)})
    client.post("/score", content=b"{")
    client.post("/score", json={"candidates": [{"user": 1}]})
    client.get("/no/such/route")
    client.request("BREW", "/score")
    world.clock.advance(2_000)
    world.publish(4, of=OTHER_RECIPE)
    world.log.write()
    found = metrics(client)
    wanted = {
        "http_requests_total,200,POST,/score": 2,
        "http_requests_total,400,POST,/score": 1,
        "http_requests_total,404,GET,other": 1,
        "http_requests_total,405,other,/score": 1,
        "score_duration_seconds_count": 3,
        "score_rows_total,joint_cvr": 6,
        "score_nonfinite_total,ctr": 0,
        "prediction_value_count,ctr": 6,
        "prediction_value_bucket,1.0,ctr": 6,
        "model_version_active": 3,
        "model_age_seconds": 7,
        "model_reloads_total,,swapped": 1,
        "model_reloads_total,fingerprint,refused": 1,
        "inflight_requests": 0,
        "score_log_written_total": 5,
        "score_log_waiting": 0,
        "score_log_failures_total": 0,
        "score_log_dropped_total,full": 0,
        "score_log_dropped_total,no_key": 1,
        "start_time_seconds": NOW / 1_000,
    }
    assert {name: found["streammtl_" + name] for name in wanted} == wanted
    assert any(name.startswith("streammtl_build_info") for name in found)


def test_metrics_of_two_scorers_are_apart() -> None:
    one, other = World(), World()
    one.publish(3)
    with TestClient(application(one.service)) as a, TestClient(application(other.service)) as b:
        a.post("/score", json={"candidates": [{}]})
        assert "streammtl_model_version_active" in metrics(a)
        assert "streammtl_model_version_active" not in metrics(b)
        assert metrics(b)["streammtl_score_rows_total,ctr"] == 0


def test_without_a_token_nothing_is_scored(world: World) -> None:
    guarded = replace(world.service, tokens=Tokens(["old", "new"]))
    body = {"candidates": [{}]}
    with TestClient(application(guarded)) as client:
        for header in (None, "Bearer", "Bearer other", "Basic old", "old", "Bearer öld"):
            headers = {} if header is None else {"Authorization": header.encode()}
            answer = client.post("/score", json=body, headers=headers)
            assert "Bearer" in assert_problem(answer, 401)
            assert answer.headers["www-authenticate"] == "Bearer"
        for token in ("old", "new"):
            answer = client.post("/score", json=body, headers={"Authorization": f"Bearer {token}"})
            assert answer.status_code == 200
        assert client.get("/readyz").status_code == 200
        score = client.get("/openapi.json").json()["paths"]["/score"]["post"]
        assert score["security"] == [{"bearer": []}]


def test_tokens_are_read_one_a_line(tmp_path: Path) -> None:
    path = tmp_path / "tokens"
    path.write_text("# the old one\nabc\n\n  def  \n")
    tokens = read_tokens(path)
    assert [tokens.accepts(f"Bearer {one}") for one in ("abc", "def", "", "# the old one")] == [
        True,
        True,
        False,
        False,
    ]


@pytest.mark.parametrize("content", [None, b"", b"# none\n", b"\xff"])
def test_a_file_without_tokens_is_found_at_the_start(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "tokens"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ConfigError, match="tokens"):
        read_tokens(path)


def test_the_openapi_document_names_every_field_and_every_output(client: Client) -> None:
    answer = client.get("/openapi.json")
    assert answer.headers["content-type"] == "application/json"
    found = answer.json()
    assert found["openapi"] == "3.1.0"
    assert found["info"]["title"] and found["info"]["version"]
    schemas = found["components"]["schemas"]
    assert list(schemas["Candidate"]["properties"]) == SCHEMA.names
    assert list(schemas["Score"]["properties"]) == ["candidate", *OUTPUTS]
    for name in ("Candidate", "Score"):
        assert all(one["description"] for one in schemas[name]["properties"].values())
    assert set(found["paths"]) == {"/score", "/healthz", "/readyz", "/metrics"}
    for reference in references(found):
        assert reference.removeprefix("#/components/schemas/") in schemas


def references(node: Any) -> Iterator[str]:
    if isinstance(node, dict):
        if "$ref" in node:
            yield node["$ref"]
        node = list(node.values())
    if isinstance(node, list):
        for one in node:
            yield from references(one)

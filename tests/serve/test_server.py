"""The server takes a port, says which, and at its end answers what it was asked."""

import gc
import http.client
import json
import queue
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from stream_mtl.connectors.memory import MemorySink
from stream_mtl.errors import Unavailable
from stream_mtl.publish.store import MemorySnapshots
from stream_mtl.serve.http import Service, application
from stream_mtl.serve.log import ScoreLog
from stream_mtl.serve.reload import Reloader
from stream_mtl.serve.scorer import Scorer
from stream_mtl.serve.server import YOUNG, calm_collector, run

from .world import KEY, NOW, RECIPE, candidates, messages, snapshot

BODY = json.dumps({"candidates": candidates(3)}).encode()


@dataclass
class Running:
    """A server in a thread."""

    host: str
    port: int
    sink: MemorySink
    stop: threading.Event

    def connect(self) -> http.client.HTTPConnection:
        return http.client.HTTPConnection(self.host, self.port, timeout=30)


def service(sink: MemorySink) -> Service:
    store, scorer, of = MemorySnapshots(), Scorer(RECIPE), messages()
    store.put(snapshot(2))
    reloader = Reloader(store, scorer, 50, lambda: NOW)
    reloader.look()
    return Service(scorer, reloader, of, ScoreLog(sink, KEY, of, 50), clock=lambda: NOW)


@contextmanager
def running(timeout: int = 30_000, drain: int = 0) -> Iterator[Running]:
    sink, stop = MemorySink(), threading.Event()
    told: queue.Queue[tuple[str, int]] = queue.Queue()
    app = application(service(sink), timeout=timeout)
    thread = threading.Thread(
        target=run,
        args=(app, "127.0.0.1", 0, stop.is_set, lambda host, port: told.put((host, port)), drain),
    )
    thread.start()
    try:
        yield Running(*told.get(timeout=30), sink, stop)
    finally:
        stop.set()
        thread.join(timeout=30)
    assert not thread.is_alive()


def ask(connection: http.client.HTTPConnection, body: bytes = BODY) -> tuple[int, Any]:
    connection.request("POST", "/score", body)
    answer = connection.getresponse()
    return answer.status, json.loads(answer.read())


def begin(host: str, port: int) -> socket.socket:
    """Send all of a request but its last byte."""
    one = socket.create_connection((host, port), timeout=30)
    head = f"POST /score HTTP/1.1\r\nHost: here\r\nContent-Length: {len(BODY)}\r\n\r\n"
    one.sendall(head.encode() + BODY[:-1])
    return one


def end(one: socket.socket) -> http.client.HTTPResponse:
    one.sendall(BODY[-1:])
    answer = http.client.HTTPResponse(one)
    answer.begin()
    return answer


def test_a_connection_may_ask_again_and_again() -> None:
    with running() as server:
        connection = server.connect()
        answers = [ask(connection) for _ in range(20)]
        assert {status for status, _ in answers} == {200}
        assert {len(found["scores"]) for _, found in answers} == {3}
        connection.close()
    assert len(server.sink.records) == 60


def test_many_connections_are_answered_each_its_own() -> None:
    found: dict[int, Any] = {}

    def client(number: int) -> None:
        connection = server.connect()
        body = json.dumps({"candidates": [{}] * number, "request_id": f"r{number}"}).encode()
        found[number] = [ask(connection, body) for _ in range(10)]
        connection.close()

    with running() as server:
        threads = [threading.Thread(target=client, args=(number,)) for number in range(1, 6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    for number, answers in found.items():
        assert all(status == 200 for status, _ in answers)
        assert all(one["request_id"] == f"r{number}" and len(one["scores"]) == number for _, one in answers)


def test_a_request_that_has_begun_is_answered_though_the_server_stops() -> None:
    with running() as server:
        begun = begin(server.host, server.port)
        idle = server.connect()
        assert ask(idle)[0] == 200
        server.stop.set()
        wait_for_refusal(server.host, server.port)
        answer = end(begun)
        assert (answer.status, len(json.loads(answer.read())["scores"])) == (200, 3)
        answer.close()
        begun.close()
        idle.close()
    assert len(server.sink.records) == 6


def test_before_the_port_closes_the_server_says_that_it_will() -> None:
    with running(drain=3_000) as server:
        connection = server.connect()
        server.stop.set()
        for _ in range(100):
            connection.request("GET", "/readyz")
            answer = connection.getresponse()
            if (answer.status, json.loads(answer.read())["draining"]) == (503, True):
                break
            threading.Event().wait(0.01)
        else:
            raise AssertionError("it did not say so")
        assert ask(connection)[0] == 200
        connection.close()


def test_a_body_that_does_not_come_is_waited_for_so_long_and_no_longer() -> None:
    with running(timeout=100) as server:
        begun = begin(server.host, server.port)
        answer = http.client.HTTPResponse(begun)
        answer.begin()
        assert (answer.status, answer.headers["content-type"]) == (408, "application/problem+json")
        answer.close()
        begun.close()


def test_a_client_who_goes_away_harms_nobody() -> None:
    with running() as server:
        for _ in range(3):
            begin(server.host, server.port).close()
        connection = server.connect()
        assert ask(connection)[0] == 200
        connection.request("GET", "/metrics")
        text = connection.getresponse().read().decode()
        assert "streammtl_inflight_requests 0.0" in text
        assert 'code="500"' not in text
        connection.close()


def test_a_port_that_is_taken_is_said() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken, pytest.raises(Unavailable, match="another port"):
        run(application(service(MemorySink())), "127.0.0.1", taken.getsockname()[1], lambda: False)


def test_requests_after_the_collector_was_calmed_are_not_interrupted_by_it() -> None:
    before, looks = gc.get_threshold(), []
    calm_collector()
    with running() as server:
        connection = server.connect()
        ask(connection)
        gc.callbacks.append(lambda phase, info: looks.append(info))
        try:
            assert gc.get_freeze_count() > YOUNG
            assert {ask(connection)[0] for _ in range(50)} == {200}
        finally:
            gc.callbacks.pop()
            gc.set_threshold(*before)
            gc.unfreeze()
        connection.close()
    assert len(looks) <= 2


PROGRAM = """
import sys
from stream_mtl.connectors.append import JsonLinesSink
from stream_mtl.serve.http import application
from stream_mtl.serve.server import YOUNG, calm_collector, run
from tests.serve.test_server import service
from pathlib import Path
app = application(service(JsonLinesSink(Path(sys.argv[1]))))
try:
    run(app, "127.0.0.1", 0, lambda: False, lambda host, port: print(port, flush=True))
except KeyboardInterrupt:
    print("interrupted")
"""


def test_an_interrupt_ends_the_server_after_its_requests(tmp_path: Path) -> None:
    root = Path(__file__).parents[2]
    process = subprocess.Popen(
        [sys.executable, "-c", PROGRAM, str(tmp_path)], cwd=root, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    try:
        port = next(int(line) for line in process.stdout if line.strip().isdecimal())
        begun = begin("127.0.0.1", port)
        probe = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
        assert ask(probe)[0] == 200
        probe.close()
        process.send_signal(signal.SIGINT)
        wait_for_refusal("127.0.0.1", port)
        answer = end(begun)
        assert answer.status == 200
        answer.close()
        begun.close()
        rest, code = process.stdout.read(), process.wait(30)
    finally:
        process.kill()
        process.stdout.close()
    assert ("interrupted" in rest, code) == (True, 0)
    logged = [line for path in sorted(tmp_path.glob("*.jsonl")) for line in path.read_text().splitlines()]
    assert len(logged) == 6


def wait_for_refusal(host: str, port: int) -> None:
    """Wait until the port is closed."""
    for _ in range(3_000):
        try:
            socket.create_connection((host, port), timeout=1).close()
        except OSError:
            return
        threading.Event().wait(0.01)
    raise AssertionError("the port stays open")

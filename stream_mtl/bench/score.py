"""The latency of whole requests: a server in a process of its own, over loopback, and what its parts cost here."""

import http.client
import json
import os
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from urllib.parse import urlsplit

import pyarrow as pa
import torch

from stream_mtl.bench.measure import Latency, timed
from stream_mtl.bench.replays import market
from stream_mtl.clock import system_clock
from stream_mtl.config.load import Loaded, load
from stream_mtl.errors import StreamMtlError, Unavailable
from stream_mtl.processes.declared import Declared, declared
from stream_mtl.processes.everything import address_of
from stream_mtl.processes.family import Family
from stream_mtl.processes.join import join
from stream_mtl.processes.recipe import recipe_of
from stream_mtl.processes.status import read_status
from stream_mtl.processes.train import train
from stream_mtl.publish.store import SnapshotFolder
from stream_mtl.serve.requests import Messages, Refused
from stream_mtl.serve.scorer import Scorer
from stream_mtl.serve.scorer import load as load_snapshot

CANDIDATES = (1, 20, 100)

_WARM = 30  # requests before those that count
_PATIENCE = 60.0  # seconds for a server to begin


def bench_score(impressions: int, requests: int, candidates: Sequence[int] = CANDIDATES) -> list[Latency]:
    """Learn a market of so many impressions, serve it, and ask so many times for each number of candidates."""
    torch.set_num_threads(1)
    with TemporaryDirectory() as name:
        folder = Path(name)
        rows = market(folder, impressions).impressions.table.drop_columns("ts")
        loaded = load(folder / "config.toml", {}, ["serve.port=0"])
        join(loaded, lambda: False)
        train(loaded, lambda: False)
        made = declared(loaded)
        answering = Answering(made)
        with _server(folder, loaded) as server:
            return [_latency(rows, size, requests, answering, server) for size in candidates]


class Answering:
    """What a server does with a request, in this process."""

    def __init__(self, made: Declared) -> None:
        recipe, store = recipe_of(made), SnapshotFolder(made.config.publish.path)
        version = store.latest()
        if version is None:
            raise StreamMtlError("nothing was learned that could be served; take more impressions")
        self.scorer = Scorer(recipe)
        self.scorer.swap(load_snapshot(store, recipe, version))
        schema = made.specs[0].schema
        self.messages = Messages(recipe, schema, made.config.serve.max_rows, system_clock, lambda: "r")

    def fields(self, body: bytes) -> pa.Table:
        """Return the rows of fields that a request asks about."""
        asked = self.messages.read(body)
        if isinstance(asked, Refused):
            raise StreamMtlError(f"a request of the bench was refused: {asked.detail}")
        return asked.fields

    def answer(self, body: bytes) -> bytes:
        """Return the body of an answer."""
        asked = self.messages.read(body)
        assert not isinstance(asked, Refused)
        return self.messages.write(self.messages.respond(asked, self.scorer.score(asked.fields)))


class Server:
    """A server of another process, and one connection to it."""

    def __init__(self, address: str, pid: int) -> None:
        parts = urlsplit(address)
        self._connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=10)
        self._stat = Path(f"/proc/{pid}/stat")

    def ready(self) -> bool:
        """Return whether a snapshot answers."""
        self._connection.request("GET", "/readyz")
        answer = self._connection.getresponse()
        answer.read()
        return answer.status == 200

    def ask(self, body: bytes) -> bytes:
        """Return the body of the answer. Raises Unavailable for one that is none."""
        self._connection.request("POST", "/score", body)
        answer = self._connection.getresponse()
        found = answer.read()
        if answer.status != 200:
            raise Unavailable(f"the server says {answer.status}: {found[:200]!r}")
        return found

    def cpu_seconds(self) -> float:
        """Return the CPU seconds of its process so far, to the tick of the system; nan where that is not told."""
        if not self._stat.is_file():
            return float("nan")
        fields = self._stat.read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def close(self) -> None:
        """Close the connection. Asking opens another."""
        self._connection.close()


@contextmanager
def _server(folder: Path, loaded: Loaded) -> Iterator[Server]:
    """Run `stream-mtl run serve` until the end of the block."""
    with Family(folder / "config.toml", ("-X", "serve.port=0"), logs=folder) as family:
        family.start("serve")
        status = loaded.config.run.status
        _wait(family, lambda: address_of(status) is not None)
        said = read_status(status, "serve")
        server = Server(address_of(status) or "", 0 if said is None else said.pid)
        try:
            _wait(family, server.ready)
            yield server
        finally:
            server.close()


def _wait(family: Family, until: Callable[[], bool]) -> None:
    end = time.monotonic() + _PATIENCE
    while not until():
        family.check()
        if time.monotonic() > end:
            raise Unavailable(f"the server did not answer within {_PATIENCE:.0f} s")
        time.sleep(0.05)


def _latency(rows: pa.Table, size: int, requests: int, answering: Answering, server: Server) -> Latency:
    bodies = [_body(rows, number, size) for number in range(requests)]
    server.close()  # a connection that has rested since the last size may be closed by the server: begin anew
    for body in (bodies * _WARM)[:_WARM]:
        _compare(server.ask(body), answering.answer(body))
    before = server.cpu_seconds()
    wall = tuple(timed_request(server, body) for body in bodies)
    spent = server.cpu_seconds() - before
    fields = [answering.fields(body) for body in bodies]
    alone = timed(lambda: [answering.scorer.score(one) for one in fields])
    whole = timed(lambda: [answering.answer(body) for body in bodies])
    cpu = (alone.cpu, whole.cpu, spent)
    return Latency(size, wall, *(1_000 * seconds / requests for seconds in cpu))


def timed_request(server: Server, body: bytes) -> float:
    """Return the seconds of one request."""
    begun = time.perf_counter()
    server.ask(body)
    return time.perf_counter() - begun


def _body(rows: pa.Table, number: int, size: int) -> bytes:
    """Return a request about other candidates than the one before, as far as there are others."""
    places = [(number * size + i) % rows.num_rows for i in range(size)]
    return json.dumps({"request_id": "r", "candidates": rows.take(pa.array(places)).to_pylist()}).encode()


def _compare(theirs: bytes, ours: bytes) -> None:
    """Raise StreamMtlError if two answers differ: both come from one snapshot."""
    one: Any = json.loads(theirs)
    other: Any = json.loads(ours)
    if one != other:
        raise StreamMtlError("the server and the scorer alone give different answers; this is a bug")

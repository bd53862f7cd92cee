"""Schema registries for tests: an address in STREAM_MTL_TEST_REGISTRY; the one in SCHEMA_REGISTRY_HOME; our double."""

import json
import os
import urllib.request
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.services import apache
from tests.services.double import Double
from tests.services.server import NotStarted, Server, free_port
from tests.services.session import alive, run_folder

ADDRESS = "STREAM_MTL_TEST_REGISTRY"
HOME = "SCHEMA_REGISTRY_HOME"


@dataclass(frozen=True, slots=True)
class Registry:
    """A registry that many tests use: name subjects so that nobody else has them."""

    url: str
    name: str

    def register(self, subject: str, schema: str | Mapping[str, Any], **rest: Any) -> int:
        """Return the id of a schema that is now a version of a subject."""
        text = schema if isinstance(schema, str) else json.dumps(schema)
        answer = self._sent("POST", f"/subjects/{subject}/versions", {"schema": text, **rest})
        number = answer["id"]
        assert isinstance(number, int)
        return number

    def be_strict(self, subject: str) -> None:
        """Refuse from now on what cannot read the rows of the version before."""
        if self.name != DOUBLE:  # which always does
            self._sent("PUT", f"/config/{subject}", {"compatibility": "BACKWARD"})

    def _sent(self, method: str, path: str, body: Any) -> Any:
        headers = {"Content-Type": "application/json"}
        request = urllib.request.Request(self.url + path, json.dumps(body).encode(), headers, method=method)
        with urllib.request.urlopen(request, timeout=30) as response:
            return json.load(response)


DOUBLE = "a double of a schema registry"


@dataclass(frozen=True, slots=True)
class OwnRegistry(Registry):
    """A registry of one test. A real one forgets its schemas when it is stopped; the double keeps them."""

    start: Callable[[], None]
    stop: Callable[[], None]


def installed() -> Path | None:
    """Return the installation that SCHEMA_REGISTRY_HOME names, if it can run here."""
    named = os.environ.get(HOME)
    home = Path(named) if named else None
    there = home is not None and _command(home, 0)[0] and Path(_command(home, 0)[0]).exists()
    return home if there and apache.has_java() else None


def start_shared(home: Path, folder: Path) -> str:
    """Start a registry for the whole run; return its address. Raises NotStarted."""
    for attempt in range(3):
        port = free_port(run_folder())
        try:
            server_of(home, folder, port).start()
        except NotStarted:
            if attempt == 2:
                raise
            continue
        return _url(port)
    raise AssertionError


def own(home: Path | None, folder: Path) -> OwnRegistry:
    """Return a registry that is started: a real one, or the double."""
    if home is None:
        double = Double()
        return OwnRegistry(double.url, DOUBLE, double.start, double.stop)
    port = free_port(run_folder())
    server = server_of(home, folder, port)
    server.start()
    return OwnRegistry(_url(port), NAME, server.start, server.stop)


NAME = "the registry in SCHEMA_REGISTRY_HOME"


def server_of(home: Path, folder: Path, port: int) -> Server:
    return Server(_command(home, port), folder, alive(), lambda: _answers(port))


def _command(home: Path, port: int) -> list[str]:
    return [str(home / "bin" / "schema-registry-start.sh"), str(port)]


def _url(port: int) -> str:
    return f"http://127.0.0.1:{port}/apis/ccompat/v7"


def _answers(port: int) -> bool:
    try:
        with urllib.request.urlopen(f"{_url(port)}/subjects", timeout=5) as response:
            return response.status == 200
    except OSError:
        return False

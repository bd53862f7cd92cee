"""A schema registry of a few lines: the routes of Confluent's REST API, over HTTP or HTTPS, and what may go wrong."""

import json
import ssl
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, TypeAlias
from urllib.parse import unquote, urlsplit

import fastavro
from fastavro.schema import SchemaParseException

Reply: TypeAlias = tuple[int, Any]
"""A status, and what is sent as JSON; bytes are sent as they are."""

Fault: TypeAlias = Callable[[str, str], Reply | None]
"""What to answer to a method and path instead of the truth; None for the truth."""


@dataclass
class Schemas:
    """What a registry knows. Ids count from 1; the same text has the same id."""

    texts: list[dict[str, Any]] = field(default_factory=list)
    subjects: dict[str, list[int]] = field(default_factory=dict)  # the ids of its versions

    def answer(self, method: str, path: str, body: Any) -> Reply:
        match [method, *map(unquote, path.strip("/").split("/"))]:
            case ["GET", "subjects"]:
                return 200, sorted(self.subjects)
            case ["GET", "schemas", "ids", number] if 0 < int(number) <= len(self.texts):
                return 200, self.texts[int(number) - 1]
            case ["GET", "schemas", "ids", _]:
                return error(40403, "Schema not found")
            case ["POST", "subjects", subject, "versions"]:
                return self._registered(subject, body)
            case ["GET", "subjects", subject, "versions", version]:
                return self._version(subject, version)
            case ["POST", "compatibility", "subjects", subject, "versions", "latest"]:
                return self._judged(subject, body)
        return 404, {"error_code": 404, "message": "HTTP 404 Not Found"}

    def _registered(self, subject: str, body: Any) -> Reply:
        if not self._readable(body):
            return error(42201, "Invalid schema")
        versions = self.subjects.get(subject, [])
        if versions and not _can_follow(self.texts[versions[-1] - 1]["schema"], body["schema"]):
            return error(409, "Schema being registered is incompatible with an earlier schema")
        if body not in self.texts:
            self.texts.append(body)
        number = self.texts.index(body) + 1
        if number not in versions:
            self.subjects[subject] = [*versions, number]
        return 200, {"id": number}

    def _version(self, subject: str, version: str) -> Reply:
        versions = self.subjects.get(subject)
        if versions is None:
            return error(40401, f"Subject '{subject}' not found.")
        at = len(versions) if version == "latest" else int(version)
        if not 0 < at <= len(versions):
            return error(40402, f"Version {version} not found.")
        number = versions[at - 1]
        return 200, {"subject": subject, "version": at, "id": number, **self.texts[number - 1]}

    def _judged(self, subject: str, body: Any) -> Reply:
        if subject not in self.subjects:
            return error(40401, f"Subject '{subject}' not found.")
        if not self._readable(body):
            return error(42201, "Invalid schema")
        latest = self.texts[self.subjects[subject][-1] - 1]["schema"]
        return 200, {"is_compatible": _can_follow(latest, body["schema"])}

    def _readable(self, body: Any) -> bool:
        if body.get("schemaType", "AVRO") != "AVRO" or body.get("references"):
            return True
        try:
            fastavro.parse_schema(json.loads(body["schema"]))
        except (ValueError, SchemaParseException):
            return False
        return True


def error(code: int, message: str) -> Reply:
    return code if code < 1_000 else code // 100, {"error_code": code, "message": message}


def _can_follow(old: str, new: str) -> bool:
    """Return whether a reader of the new schema understands rows of the old: BACKWARD, in its simplest form."""
    before, after = _fields(old), _fields(new)
    return all(
        one["type"] == before[name]["type"] if name in before else "default" in one
        for name, one in after.items()
    )


def _fields(schema: str) -> dict[str, Any]:
    return {one["name"]: one for one in json.loads(schema).get("fields", [])}


class Double:
    """The server. `fault` may be set while it runs; `asked` has every question; `stop` and `start` keep what it knows."""

    def __init__(self, tls: ssl.SSLContext | None = None) -> None:
        self.schemas, self.fault = Schemas(), no_fault
        self.asked: list[tuple[str, str, dict[str, str]]] = []
        self._tls, self._port = tls, 0
        self._server: ThreadingHTTPServer | None = None
        self.start()

    @property
    def url(self) -> str:
        return f"{'https' if self._tls else 'http'}://127.0.0.1:{self._port}"

    def start(self) -> None:
        if self._server is None:
            self._server = _Server(("127.0.0.1", self._port), _handler(self))
            if self._tls is not None:
                self._server.socket = self._tls.wrap_socket(
                    self._server.socket, server_side=True, do_handshake_on_connect=False
                )
            self._port = self._server.server_address[1]
            threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()

    def stop(self) -> None:
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()
            self._server = None


class _Server(ThreadingHTTPServer):
    def handle_error(self, request: Any, client_address: Any) -> None:
        pass  # clients that hang up, or show no certificate, are what is tested


def no_fault(method: str, path: str) -> Reply | None:
    return None


def faults(*replies: Reply) -> Fault:
    """Give these answers, one after the other, and then the truth."""
    left: Iterator[Reply] = iter(replies)
    return lambda method, path: next(left, None)


def _handler(double: Double) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self._answer("GET", None)

        def do_POST(self) -> None:
            self._answer("POST", json.loads(self.rfile.read(int(self.headers["Content-Length"]))))

        def _answer(self, method: str, body: Any) -> None:
            path = urlsplit(self.path).path
            double.asked.append((method, path, dict(self.headers)))
            status, content = double.fault(method, path) or double.schemas.answer(method, path, body)
            data = content if isinstance(content, bytes) else json.dumps(content).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, format: str, *args: Any) -> None:
            pass

    return Handler

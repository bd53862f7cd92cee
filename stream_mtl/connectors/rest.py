"""One question to a service that speaks JSON over HTTP, and its answer; whatever else comes back is `Unavailable`."""

import base64
import http.client
import json
import ssl
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final
from urllib.parse import SplitResult, urlsplit

from stream_mtl.clock import Millis
from stream_mtl.errors import ConfigError, Unavailable

_LARGEST: Final = 16 << 20  # bytes of an answer
_CHUNK: Final = 64 << 10
_LOOPBACK: Final = ("127.0.0.1", "::1", "localhost")
_MEANT: Final = range(400, 500)
_NOT_MEANT: Final = (401, 403, 407, 408, 429)  # of those: says nothing about what was asked


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where a service is, and who we are there. Raises ConfigError when it cannot be as it is.

    `user` and `password` go together; `token` is sent as a bearer's. Both need https, except to this machine.
    `timeout` (ms) is for the connection, for each sign of life, and for a whole answer from its first byte on.
    """

    url: str
    user: str | None = None
    password: str | None = field(default=None, repr=False)
    token: str | None = field(default=None, repr=False)
    ca_path: Path | None = None
    cert_path: Path | None = None
    key_file: Path | None = None
    timeout: Millis = 5_000

    def __post_init__(self) -> None:
        parts = _split(self.url)
        if (
            not _printable(self.url)
            or parts.scheme not in ("http", "https")
            or not parts.hostname
            or parts.query
            or parts.fragment
        ):
            raise ConfigError(f"{self.url!r} is no address; write one like https://registry:8081")
        if parts.username is not None or parts.password is not None:
            raise ConfigError(
                f"the address of {parts.hostname} holds a user; set user and password apart from it"
            )
        if (self.user is None) != (self.password is None):
            raise ConfigError(f"{self.url}: a user needs a password, and a password a user")
        if self.user is not None and (self.token is not None or ":" in self.user):
            raise ConfigError(
                f"{self.url}: a user has no colon, and either a user or a token says who we are"
            )
        if self.token is not None and not _printable(self.token):
            raise ConfigError(f"{self.url}: a token has only printable letters of ASCII, and no blanks")
        if (self.user or self.token) and parts.scheme == "http" and parts.hostname not in _LOOPBACK:
            raise ConfigError(f"{self.url}: without https the password could be read on the wire")


@dataclass(frozen=True, slots=True)
class Answer:
    """What a service said to a question that it understood: `status` is 2xx or 4xx, `content` JSON."""

    status: int
    content: Any

    @property
    def good(self) -> bool:
        """Whether it is what was asked for."""
        return self.status < 300


class Rest:
    """Asks one service; every question has a connection of its own."""

    def __init__(self, endpoint: Endpoint) -> None:
        """Raises ConfigError when certificates cannot be read."""
        self._endpoint, self._parts = endpoint, _split(endpoint.url)
        self._tls = _tls(endpoint) if self._parts.scheme == "https" else None
        self._headers = {"Accept": "application/json", "User-Agent": "stream-mtl", **_identity(endpoint)}

    def ask(self, method: str, path: str, body: Any = None) -> Answer:
        """Return the answer. Raises Unavailable: none came, or none of JSON, or one that is not about the question."""
        status, data = self._sent(method, path, None if body is None else json.dumps(body).encode())
        if status in (401, 403):
            raise self._unavailable(f"answers {status}: this user, token or certificate may not ask")
        if not (200 <= status < 300 or (status in _MEANT and status not in _NOT_MEANT)):
            raise self._unavailable(f"answers {status}{_said(data)}")
        try:
            return Answer(status, json.loads(data))
        except (ValueError, RecursionError):
            raise self._unavailable(
                f"answers {status} and no JSON{_said(data)}; is it the right address?"
            ) from None

    def _sent(self, method: str, path: str, body: bytes | None) -> tuple[int, bytes]:
        connection = self._connection()
        headers = self._headers if body is None else {**self._headers, "Content-Type": "application/json"}
        try:
            connection.request(method, self._parts.path.rstrip("/") + path, body, headers)
            with connection.getresponse() as response:
                return response.status, self._read(response)
        except (OSError, http.client.HTTPException) as error:
            raise self._unavailable(f"does not answer ({type(error).__name__}: {error})") from error
        finally:
            connection.close()

    def _read(self, response: http.client.HTTPResponse) -> bytes:
        end = time.monotonic() + self._endpoint.timeout / 1_000
        data = bytearray()
        while chunk := response.read1(_CHUNK):
            data += chunk
            if len(data) > _LARGEST:
                raise self._unavailable(f"answers with more than {_LARGEST >> 20} MiB")
            if time.monotonic() > end:
                raise self._unavailable(f"has not said all after {self._endpoint.timeout} ms")
        return bytes(data)

    def _connection(self) -> http.client.HTTPConnection:
        host, timeout = self._parts.hostname or "", self._endpoint.timeout / 1_000
        if self._tls is None:
            return http.client.HTTPConnection(host, self._parts.port, timeout=timeout)
        return http.client.HTTPSConnection(host, self._parts.port, timeout=timeout, context=self._tls)

    def _unavailable(self, what: str) -> Unavailable:
        return Unavailable(f"{self._endpoint.url} {what}")


def _printable(text: str) -> bool:
    return text != "" and all("!" <= letter <= "~" for letter in text)


def _split(url: str) -> SplitResult:
    """Return the parts of an address. Raises ConfigError."""
    try:
        parts = urlsplit(url)
        _ = parts.port
    except ValueError as error:
        raise ConfigError(f"{url!r} is no address: {error}") from None
    return parts


def _identity(endpoint: Endpoint) -> dict[str, str]:
    if endpoint.token is not None:
        return {"Authorization": f"Bearer {endpoint.token}"}
    if endpoint.user is not None:
        pair = f"{endpoint.user}:{endpoint.password}".encode()
        return {"Authorization": f"Basic {base64.b64encode(pair).decode()}"}
    return {}


def _tls(endpoint: Endpoint) -> ssl.SSLContext:
    try:
        context = ssl.create_default_context(cafile=endpoint.ca_path)
        if endpoint.cert_path is not None:
            context.load_cert_chain(endpoint.cert_path, endpoint.key_file)
    except (OSError, ssl.SSLError) as error:
        paths = ", ".join(str(p) for p in (endpoint.ca_path, endpoint.cert_path, endpoint.key_file) if p)
        raise ConfigError(f"{endpoint.url}: certificates cannot be used: {error} ({paths})") from error
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    return context


def _said(data: bytes) -> str:
    """Return the beginning of an answer, to be shown behind its status."""
    text = data[:80].decode(errors="replace").strip()
    return f" ({text!r})" if text else ""

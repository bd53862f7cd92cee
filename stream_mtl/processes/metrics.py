"""What Prometheus may know of a process: a page that the process renews every second, and its pulse beside it.

The server runs in a thread of its own and never touches what the process works on: it shows what was said last.
"""

import platform
import threading
from collections.abc import Callable, Iterable, Iterator
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Final, Self, TypeAlias

import structlog
from prometheus_client import CollectorRegistry, Gauge, Info
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector
from prometheus_client.samples import Sample

from stream_mtl import __version__
from stream_mtl.clock import SECOND, Clock, Millis
from stream_mtl.errors import Unavailable
from stream_mtl.processes.top import STALE

Key: TypeAlias = tuple[str, frozenset[tuple[str, str]]]
"""Name and labels of one series."""

_P: Final = "streammtl_"


class Since:
    """Makes counts that outlive processes counters as Prometheus wants them: from zero at the start of each.

    A count that is kept goes on where its last checkpoint was, which is a little behind what a process that was killed
    had shown. Prometheus would take that for a new beginning, and count the whole life again.
    """

    def __init__(self) -> None:
        self._begun: dict[Key, float] = {}

    def begin(self, metrics: Iterable[Metric]) -> None:
        """Take what there is for zero."""
        for metric in metrics:
            if metric.type == "counter":
                self._begun.update((_key(sample), sample.value) for sample in metric.samples)

    def __call__(self, metrics: Iterable[Metric]) -> Iterator[Metric]:
        """Give the metrics, counters from their beginning."""
        for metric in metrics:
            if metric.type == "counter":
                metric.samples = [self._since(sample) for sample in metric.samples]
            yield metric

    def _since(self, sample: Sample) -> Sample:
        return sample._replace(value=max(sample.value - self._begun.get(_key(sample), 0), 0))


class MetricsPage(Collector):
    """Answers GET /metrics, /healthz and /readyz on a port; without one it does nothing, and costs nothing."""

    def __init__(self, role: str, host: str, port: int | None, clock: Clock, every: Millis = SECOND) -> None:
        """Port 0 is any free one. Nothing is answered before it is entered."""
        self.registry = CollectorRegistry()
        self._role, self._host, self._port = role, host, port
        self._clock, self._every, self._due = clock, every, clock()
        self._since = Since()
        self._said: tuple[Metric, ...] = ()
        self._pulse: Millis | None = None  # when something was said last
        self._problem: str | None = None  # what was said then
        self._server: ThreadingHTTPServer | None = None
        build = Info(_P + "build", "What runs here.", registry=self.registry)
        build.info({"version": __version__, "python": platform.python_version()})
        start = Gauge(_P + "start_time_seconds", "When this process began.", registry=self.registry)
        start.set(clock() / 1_000)
        self.registry.register(self)

    @property
    def address(self) -> str | None:
        """Where it is answered."""
        if self._server is None:
            return None
        host, port = self._server.server_address[:2]
        return f"http://{host!s}:{port}"

    def __enter__(self) -> Self:
        """Begin to answer. Raises Unavailable if the port cannot be had."""
        if self._port is not None:
            self._server = _listen(self._host, self._port, self)
            threading.Thread(target=self._server.serve_forever, name="metrics", daemon=True).start()
            structlog.get_logger().info("metrics_served", address=self.address)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()

    def begin(self, metrics: Callable[[], Iterable[Metric]]) -> None:
        """Take the counters that there are for zero: what was counted by processes before."""
        if self._port is not None:
            self._since.begin(metrics())

    def say(self, metrics: Callable[[], Iterable[Metric]], problem: str | None = None) -> None:
        """Renew the page, unless that was done within the last second."""
        now = self._clock()
        if self._port is None or now < self._due:
            return
        self._due = now + self._every
        self._said = (*self._since(metrics()), _problem(self._role, problem))
        self._pulse, self._problem = now, problem

    def collect(self) -> Iterator[Metric]:
        """Give what was said last."""
        yield from self._said

    def answer(self, path: str, accept: str) -> tuple[HTTPStatus, str, bytes]:
        """Return status, type and body of an answer."""
        plain = "text/plain; charset=utf-8"
        if path == "/metrics":
            encode, media = choose_encoder(accept)
            return HTTPStatus.OK, media, encode(self.registry)
        if path not in ("/healthz", "/readyz"):
            return HTTPStatus.NOT_FOUND, plain, b"there are /metrics, /healthz and /readyz\n"
        words = self._lack() if path == "/healthz" else self._unready()
        if words is not None:
            return HTTPStatus.SERVICE_UNAVAILABLE, plain, f"{words}\n".encode()
        return HTTPStatus.OK, plain, b"alive\n" if path == "/healthz" else b"ready\n"

    def _unready(self) -> str | None:
        """Return why this process does not do its work, though it may be alive."""
        return "it is starting" if self._pulse is None else self._lack() or self._problem

    def _lack(self) -> str | None:
        """Return why this is no live process; one that starts is alive, however long it reads what was."""
        if self._pulse is None or (still := self._clock() - self._pulse) <= STALE:
            return None
        return f"nothing was done for {still // 1_000} s"


def _listen(host: str, port: int, page: MetricsPage) -> ThreadingHTTPServer:
    class Handler(BaseHTTPRequestHandler):
        timeout = 5  # seconds for a request to arrive

        def do_GET(self) -> None:
            path = self.path.partition("?")[0]
            status, media, body = page.answer(path, self.headers.get("Accept", ""))
            self.send_response(status)
            self.send_header("Content-Type", media)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def version_string(self) -> str:
            return "stream-mtl"

        def log_message(self, format: str, *args: Any) -> None:
            pass

    try:
        return ThreadingHTTPServer((host, port), Handler)
    except OSError as error:
        raise Unavailable(
            f"{host}:{port} cannot be listened on: {error}; stop what does, or choose another metrics_port"
        ) from error


def _problem(role: str, problem: str | None) -> Metric:
    family = GaugeMetricFamily(
        _P + "problem", "1 while something that the process needs does not answer.", labels=("role",)
    )
    family.add_metric((role,), problem is not None)
    return family


def _key(sample: Sample) -> Key:
    return sample.name, frozenset(sample.labels.items())

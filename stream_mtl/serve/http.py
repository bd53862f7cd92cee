"""Scores over HTTP: the routes, their limits, and what is said when something is wrong."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from http import HTTPStatus
from time import perf_counter
from typing import Any, Final, TypeAlias, cast

import msgspec
import structlog
from litestar import Litestar, Request, Response, asgi, get
from litestar.datastructures import State
from litestar.exceptions import HTTPException, MethodNotAllowedException
from litestar.handlers import ASGIRouteHandler, HTTPRouteHandler
from litestar.types import HTTPScope, Message, Receive, Scope, Send
from prometheus_client.exposition import choose_encoder

from stream_mtl.clock import SECOND, Clock, Millis, system_clock
from stream_mtl.errors import Unavailable
from stream_mtl.serve.log import ScoreLog
from stream_mtl.serve.metrics import Metrics, age_seconds
from stream_mtl.serve.openapi import PROBLEM, ProblemDetails, Readiness, ReloadProblem, document
from stream_mtl.serve.reload import Reloader
from stream_mtl.serve.requests import Messages, Refused
from stream_mtl.serve.scorer import Scorer
from stream_mtl.serve.timings import Timings
from stream_mtl.serve.tokens import Tokens

Asking: TypeAlias = Request[Any, Any, State]

_JSON: Final = "application/json"
_ROUTES: Final = frozenset({"/score", "/healthz", "/readyz", "/metrics", "/openapi.json"})
_METHODS: Final = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
_STATUS: Final[Mapping[str, HTTPStatus]] = {
    "wrong": HTTPStatus.BAD_REQUEST,
    "too_many": HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
}


@dataclass(frozen=True, slots=True)
class Service:
    """What answers, and what it needs; started and closed with the application."""

    scorer: Scorer
    reloader: Reloader
    messages: Messages
    log: ScoreLog | None = None
    tokens: Tokens | None = None  # None: anyone may ask
    clock: Clock = system_clock
    timings: Timings = field(default_factory=Timings)


def application(service: Service, max_body: int = 1 << 20, timeout: Millis = 5 * SECOND) -> Litestar:
    """Return the application: a body has at most `max_body` bytes, and `timeout` to arrive.

    Every request is answered in the event loop without a pause, so they are served one after the other.
    `state.draining`, when it is set, makes the application say that it is not ready; it goes on answering.
    """
    metrics = Metrics(service.scorer, service.reloader, service.log, service.clock)

    @asynccontextmanager
    async def lifespan(app: Litestar) -> AsyncIterator[None]:
        _start(service)
        try:
            yield
        finally:
            await asyncio.to_thread(_close, service)

    async def count(message: Message, scope: Scope) -> None:
        if message["type"] == "http.response.start":
            method = cast(HTTPScope, scope)["method"]
            metrics.requests.labels(*_labels(scope["path"], method), message["status"]).inc()

    return Litestar(
        [_score(service, metrics, max_body, timeout), *_looks(service, metrics)],
        lifespan=[lifespan],
        before_send=[count],
        exception_handlers={HTTPException: _refuse, Exception: _fail},
        state=State({"draining": False}),
        openapi_config=None,
        logging_config=None,
        debug=False,
    )


def _start(service: Service) -> None:
    service.reloader.start()
    if service.log is not None:
        service.log.start()


def _close(service: Service) -> None:
    service.reloader.close()
    if service.log is not None:
        service.log.close()


def _score(service: Service, metrics: Metrics, max_body: int, timeout: Millis) -> ASGIRouteHandler:
    """Return the route that is asked all the time: what it does not need of Litestar, it does without."""

    async def score(scope: Scope, receive: Receive, send: Send) -> None:
        with metrics.inflight.track_inprogress():
            _admit(service.tokens, cast(HTTPScope, scope))
            body = await _body(receive, max_body, timeout)
            begun = perf_counter()
            try:
                answer = _answer(service, metrics, body)
            finally:
                took = perf_counter() - begun
                metrics.duration.observe(took)
                service.timings.add(took)
            await _send(send, answer)

    return asgi("/score", copy_scope=False)(score)


def _answer(service: Service, metrics: Metrics, body: bytes) -> bytes:
    """Return the answer to a request. Raises HTTPException where there is none."""
    asked = service.messages.read(body)
    if isinstance(asked, Refused):
        raise HTTPException(asked.detail, status_code=_STATUS[asked.reason])
    try:
        scores = service.scorer.score(asked.fields)
    except Unavailable as error:
        wait = max(1, service.reloader.poll_every // SECOND)
        raise HTTPException(
            str(error), status_code=HTTPStatus.SERVICE_UNAVAILABLE, headers={"Retry-After": str(wait)}
        ) from error
    metrics.scored(scores)
    answer = service.messages.respond(asked, scores)
    if service.log is not None:
        service.log.add(asked, answer)
    return service.messages.write(answer)


def _admit(tokens: Tokens | None, scope: HTTPScope) -> None:
    if scope["method"] != "POST":
        raise MethodNotAllowedException(headers={"Allow": "POST"})
    if tokens is not None and not tokens.accepts(_authorization(scope)):
        raise HTTPException(
            "a token is needed: Authorization: Bearer TOKEN",
            status_code=HTTPStatus.UNAUTHORIZED,
            headers={"WWW-Authenticate": "Bearer"},
        )


def _authorization(scope: HTTPScope) -> str | None:
    found = dict(scope["headers"]).get(b"authorization")
    return None if found is None else found.decode("latin-1")


async def _body(receive: Receive, most: int, timeout: Millis) -> bytes:
    try:
        async with asyncio.timeout(timeout / 1_000):
            return await _whole(receive, most)
    except TimeoutError as error:
        text = f"the body did not come within {timeout} ms; send it again"
        raise HTTPException(text, status_code=HTTPStatus.REQUEST_TIMEOUT) from error


async def _whole(receive: Receive, most: int) -> bytes:
    body = bytearray()
    while True:
        message = await receive()
        if message["type"] != "http.request":
            text = "the client went away before its request was whole"
            raise HTTPException(text, status_code=HTTPStatus.BAD_REQUEST)
        body += message.get("body", b"")
        if len(body) > most:
            text = f"a body has at most {most} bytes; ask in parts"
            raise HTTPException(text, status_code=HTTPStatus.REQUEST_ENTITY_TOO_LARGE)
        if not message.get("more_body", False):
            return bytes(body)


async def _send(send: Send, body: bytes) -> None:
    headers = [(b"content-type", _JSON.encode()), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": HTTPStatus.OK, "headers": headers})
    await send({"type": "http.response.body", "body": body, "more_body": False})


def _looks(service: Service, metrics: Metrics) -> list[HTTPRouteHandler]:
    described = msgspec.json.encode(document(service.messages, service.tokens is not None))

    @get("/healthz", media_type="text/plain", sync_to_thread=False)
    def healthz() -> str:
        return "alive\n"

    @get("/readyz", sync_to_thread=False)
    def readyz(request: Asking) -> Response[bytes]:
        found = _readiness(service, request.app.state.draining)
        status = HTTPStatus.OK if found.ready else HTTPStatus.SERVICE_UNAVAILABLE
        return Response(msgspec.json.encode(found), status_code=status, media_type=_JSON)

    @get("/metrics", sync_to_thread=False)
    def read_metrics(request: Asking) -> Response[bytes]:
        encode, media = choose_encoder(request.headers.get("accept", ""))
        return Response(encode(metrics.registry), headers={"Content-Type": media})

    @get("/openapi.json", sync_to_thread=False)
    def openapi() -> Response[bytes]:
        return Response(described, media_type=_JSON)

    return [healthz, readyz, read_metrics, openapi]


def _readiness(service: Service, draining: bool) -> Readiness:
    loaded, problem = service.scorer.loaded, service.reloader.problem
    return Readiness(
        ready=loaded is not None and not draining,
        draining=draining,
        snapshot=None if loaded is None else loaded.version,
        age_seconds=None if loaded is None else age_seconds(service.clock(), loaded.manifest.learned.upto),
        problem=None
        if problem is None
        else ReloadProblem(problem.version, problem.reason, problem.detail, problem.time),
    )


def _refuse(request: Asking, error: HTTPException) -> Response[bytes]:
    return _problem(HTTPStatus(error.status_code), error.detail, error.headers)


def _fail(request: Asking, error: Exception) -> Response[bytes]:
    structlog.get_logger().error(
        "request_failed", route=_labels(request.url.path, request.method)[0], exc_info=error
    )
    return _problem(HTTPStatus.INTERNAL_SERVER_ERROR, "the scorer failed; its own log says how")


def _problem(status: HTTPStatus, detail: str, headers: Mapping[str, str] | None = None) -> Response[bytes]:
    body = msgspec.json.encode(ProblemDetails(status.phrase, status, detail))
    return Response(body, status_code=status, media_type=PROBLEM, headers=dict(headers or {}))


def _labels(path: str, method: str) -> tuple[str, str]:
    """Return route and method as a metric may be labelled with them: from a closed set, whatever is asked."""
    route = path.rstrip("/")
    return route if route in _ROUTES else "other", method if method in _METHODS else "other"

"""The OpenAPI 3.1 document of the scorer: made from the very types that requests are read with."""

from typing import Annotated, Any, Final

import msgspec

from stream_mtl import __version__
from stream_mtl.clock import Millis
from stream_mtl.publish.snapshot import Version
from stream_mtl.serve.requests import Messages

PROBLEM: Final = "application/problem+json"


class ProblemDetails(msgspec.Struct, frozen=True):
    """What went wrong with a request (RFC 9457)."""

    title: str
    status: int
    detail: str
    type: str = "about:blank"


class ReloadProblem(msgspec.Struct, frozen=True):
    """Why the latest snapshot does not serve."""

    version: Annotated[
        Version | None, msgspec.Meta(description="null: the store did not say which is the latest.")
    ]
    reason: str
    detail: str
    time: Annotated[Millis, msgspec.Meta(description="When that was first seen, ms since the epoch.")]


class Readiness(msgspec.Struct, frozen=True):
    """Whether requests are answered, and from what."""

    ready: bool
    draining: bool
    snapshot: Version | None
    age_seconds: Annotated[
        float | None,
        msgspec.Meta(description="Since the newest event time that the snapshot has learned from."),
    ]
    problem: ReloadProblem | None


def document(messages: Messages, guarded: bool) -> dict[str, Any]:
    """Return the document; `guarded` says that scoring needs a token."""
    types = (messages.request, messages.answer, Readiness, ProblemDetails)
    refs, schemas = msgspec.json.schema_components(types, ref_template="#/components/schemas/{name}")
    request, answer, readiness, problem = refs
    score: dict[str, Any] = {
        "summary": "Score candidates",
        "operationId": "score",
        "requestBody": {"required": True, "content": {"application/json": {"schema": request}}},
        "responses": {
            "200": _answer("The scores.", answer),
            **{code: _answer(text, problem, PROBLEM) for code, text in _problems(guarded)},
        },
    }
    components: dict[str, Any] = {"schemas": schemas}
    if guarded:
        score["security"] = [{"bearer": []}]
        components["securitySchemes"] = {"bearer": {"type": "http", "scheme": "bearer"}}
    return {
        "openapi": "3.1.0",
        "info": {"title": "stream_mtl scorer", "version": __version__},
        "paths": {
            "/score": {"post": score},
            "/healthz": {"get": _look("healthz", "Whether the process is alive", {"200": _text("It is.")})},
            "/readyz": {"get": _look("readyz", "Whether requests are answered", _readiness(readiness))},
            "/metrics": {"get": _look("metrics", "Metrics for Prometheus", {"200": _text("All metrics.")})},
        },
        "components": components,
    }


def _problems(guarded: bool) -> list[tuple[str, str]]:
    return [
        ("400", "The request is not JSON, or a value is of a wrong type."),
        *([("401", "The token is missing or unknown.")] if guarded else []),
        ("408", "The body did not come in time."),
        ("413", "The body is too large, or there are too many candidates."),
        ("500", "The scorer failed; its own log says how."),
        ("503", "No snapshot is loaded yet; Retry-After says when to ask again."),
    ]


def _readiness(schema: dict[str, Any]) -> dict[str, Any]:
    return {"200": _answer("They are.", schema), "503": _answer("They are not.", schema)}


def _look(name: str, summary: str, responses: dict[str, Any]) -> dict[str, Any]:
    return {"summary": summary, "operationId": name, "responses": responses}


def _answer(text: str, schema: dict[str, Any], media: str = "application/json") -> dict[str, Any]:
    return {"description": text, "content": {media: {"schema": schema}}}


def _text(text: str) -> dict[str, Any]:
    return {"description": text, "content": {"text/plain": {"schema": {"type": "string"}}}}

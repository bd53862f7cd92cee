"""The schema registry: what the id in front of a record means, in the words of Confluent's REST API."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, TypeVar
from urllib.parse import quote

from stream_mtl.clock import SECOND, Clock, Millis, system_clock
from stream_mtl.connectors.references import written_out
from stream_mtl.connectors.registry_cache import SchemaCache
from stream_mtl.connectors.rest import Answer, Endpoint, Rest
from stream_mtl.errors import SchemaError, Unavailable

HIGHEST: Final = 2**31 - 1
"""The highest id there is."""

_UNKNOWN: Final = 40403
_NO_SUBJECT: Final = (40401, 40402)
_MOST_REFERENCES: Final = 100

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Patience:
    """How often something is asked before it counts as unavailable or unknown, and how long is waited in between (ms).

    Waits double. An unknown id is waited for at most once in `rest`: garbage that looks like many ids must not
    hold up what is behind it.
    """

    attempts: int = 3
    wait: Millis = 200
    rest: Millis = 30 * SECOND


@dataclass(frozen=True, slots=True)
class Version:
    """One version of a subject."""

    subject: str
    version: int
    id: int
    schema: str


class SchemaRegistry:
    """Asks one registry, and remembers what it said: in memory, and in the folder `cache` if there is one.

    `SchemaRegistry(Endpoint("https://registry:8081"), Path("schemas")).schema_of` is what a `Codec` asks. If ids come
    to mean something else, because the registry at this address was made anew, the folder must be deleted.
    """

    def __init__(
        self,
        endpoint: Endpoint,
        cache: Path | None = None,
        patience: Patience = Patience(),
        clock: Clock = system_clock,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._rest, self._url = Rest(endpoint), endpoint.url
        self._cache = SchemaCache(cache, endpoint.url) if cache is not None else None
        self._patience, self._clock, self._sleep = patience, clock, sleep
        self._known: dict[int, str] = {}
        self._down = False  # the last question had no answer: the next is asked once only
        self._unknown_until: Millis | None = None

    def schema_of(self, number: int) -> str:
        """Return the Avro schema of an id, those that it refers to written out in it.

        Raises LookupError if the registry does not know the id, SchemaError if it is one of JSON Schema or Protobuf,
        Unavailable if it cannot be asked: then the same may be asked again.
        """
        if number not in self._known:
            self._known[number] = self._kept(number) or self._fetched(number)
        return self._known[number]

    def register(self, subject: str, schema: str) -> int:
        """Make a schema a version of a subject, unless it is one; return its id. Raises SchemaError, Unavailable."""
        answer = self._answer("POST", f"{_path(subject)}/versions", {"schema": schema})
        if not answer.good:
            raise SchemaError(f"{self._url} refuses the schema for {subject}: {_message(answer)}")
        return _get(answer, "id", int, self._url)

    def latest(self, subject: str) -> Version:
        """Return the newest version. Raises LookupError if there is no such subject, SchemaError, Unavailable."""
        return self._version(subject, "latest")

    def compatible(self, subject: str, schema: str) -> bool:
        """Return whether a schema may follow the newest of a subject, by the registry's rule; the first always may.

        Raises SchemaError if it is no schema, Unavailable.
        """
        path = f"/compatibility{_path(subject)}/versions/latest"
        answer = self._answer("POST", path, {"schema": schema})
        if _code(answer) in _NO_SUBJECT:
            return True
        if not answer.good:
            raise SchemaError(f"{self._url} cannot judge the schema for {subject}: {_message(answer)}")
        return _get(answer, "is_compatible", bool, self._url)

    def _kept(self, number: int) -> str | None:
        return self._cache.read(number) if self._cache is not None else None

    def _fetched(self, number: int) -> str:
        if not 0 <= number <= HIGHEST:
            raise LookupError(f"ids end at {HIGHEST}")
        answer = self._waited_for(number)
        _refuse_others(answer, f"schema {number}")
        schema = _get(answer, "schema", str, self._url)
        references = answer.content.get("references")
        if references:
            schema = written_out(schema, self._definitions(references, {}))
        if not _is_text(schema):
            raise SchemaError("it is no text: it holds half a letter")
        if self._cache is not None:
            self._cache.write(number, schema)
        return schema

    def _waited_for(self, number: int) -> Answer:
        """Return the answer for an id, after waiting for one that is not known yet. Raises LookupError."""
        now = self._clock()
        resting = self._unknown_until is not None and now < self._unknown_until
        for attempt in range(1 if resting else self._patience.attempts):
            if attempt:
                self._sleep(self._wait(attempt))
            answer = self._answer("GET", f"/schemas/ids/{number}")
            if answer.good:
                return answer
            if _code(answer) != _UNKNOWN:  # a 404 of a wrong path must not make every record a bad one
                raise Unavailable(
                    f"{self._url} answers {answer.status} for schema {number} ({_message(answer)}), and not by the "
                    "rules of a schema registry; is its address whole?"
                )
        if not resting:
            self._unknown_until = self._clock() + self._patience.rest
        raise LookupError(f"{self._url} does not know it")

    def _definitions(self, references: Any, found: dict[str, str]) -> dict[str, str]:
        """Return the schemas that are referred to, and those that they refer to, by name."""
        for name, subject, version in _references(references):
            if name in found:
                continue
            if len(found) >= _MOST_REFERENCES:
                raise SchemaError(f"a schema refers to more than {_MOST_REFERENCES} others")
            answer = self._about(subject, str(version))
            found[name] = _get(answer, "schema", str, self._url)
            self._definitions(answer.content.get("references") or [], found)
        return found

    def _version(self, subject: str, version: str) -> Version:
        answer = self._about(subject, version)
        number, schema = _get(answer, "id", int, self._url), _get(answer, "schema", str, self._url)
        return Version(subject, _get(answer, "version", int, self._url), number, schema)

    def _about(self, subject: str, version: str) -> Answer:
        answer = self._answer("GET", f"{_path(subject)}/versions/{quote(version, safe='')}")
        if _code(answer) in _NO_SUBJECT:
            raise LookupError(f"{self._url} has no version {version} of {subject}")
        if not answer.good:
            raise Unavailable(
                f"{self._url} answers {answer.status} for subject {subject} ({_message(answer)})"
            )
        _refuse_others(answer, f"subject {subject}")
        return answer

    def _answer(self, method: str, path: str, body: Any = None) -> Answer:
        """Return the answer to a question that may be asked several times. Raises Unavailable."""
        for attempt in range(1, 1 if self._down else self._patience.attempts):
            try:
                return self._rest.ask(method, path, body)
            except Unavailable:
                self._sleep(self._wait(attempt))
        self._down = True
        answer = self._rest.ask(method, path, body)
        self._down = False
        return answer

    def _wait(self, attempt: int) -> float:
        """Return for how many seconds to wait before the attempt of this number, from 1 on."""
        return self._patience.wait * 2.0 ** (attempt - 1) / 1_000


def _is_text(schema: str) -> bool:
    """Return whether UTF-8 can hold it: JSON's escapes can make half letters."""
    return not any("\ud800" <= letter <= "\udfff" for letter in schema)


def _path(subject: str) -> str:
    return f"/subjects/{quote(subject, safe='')}"


def _refuse_others(answer: Answer, what: str) -> None:
    """Raise SchemaError for a schema that is not Avro's."""
    kind = answer.content.get("schemaType", "AVRO") if isinstance(answer.content, dict) else "AVRO"
    if kind not in ("AVRO", None):
        raise SchemaError(f"{what} is {kind}; only Avro is read")


def _references(references: Any) -> list[tuple[str, str, int]]:
    try:
        return [(str(one["name"]), str(one["subject"]), int(one["version"])) for one in references]
    except (TypeError, KeyError, ValueError) as error:
        raise SchemaError(f"references that are none: {references!r:.200}") from error


def _get(answer: Answer, name: str, kind: type[T], url: str) -> T:
    """Return a value of an answer. Raises Unavailable if it is not there: a registry would have said it."""
    value = answer.content.get(name) if isinstance(answer.content, dict) else None
    if type(value) is not kind:
        raise Unavailable(f"{url} answers without {name!r}, unlike a schema registry; is its address right?")
    return value


def _code(answer: Answer) -> int | None:
    return answer.content.get("error_code") if isinstance(answer.content, dict) else None


def _message(answer: Answer) -> str:
    said = answer.content.get("message") if isinstance(answer.content, dict) else None
    return str(said or f"it says {answer.status}")[:200]

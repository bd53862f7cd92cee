"""What is asked of a scorer and what it answers: messages, and their way to columns and back."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Final, Generic, Literal, TypeAlias, TypeVar

import msgspec
import numpy as np
import pyarrow as pa
from msgspec.structs import astuple

from stream_mtl.clock import Clock, Millis
from stream_mtl.errors import ConfigError
from stream_mtl.events.types import ARROW_TYPES, Limits
from stream_mtl.learn.recipe import Recipe
from stream_mtl.serve.scorer import Scores

CandidateT = TypeVar("CandidateT")
ScoreT = TypeVar("ScoreT")


def _described(kind: Any, text: str) -> Any:
    return Annotated[kind, msgspec.Meta(description=text)]


_Long: TypeAlias = Annotated[int, msgspec.Meta(ge=-(2**63), le=2**63 - 1)]
_Time: TypeAlias = Annotated[int, msgspec.Meta(ge=0, le=Limits().newest)]
_Name: TypeAlias = Annotated[str, msgspec.Meta(min_length=1, max_length=256)]
_Top: TypeAlias = Annotated[int, msgspec.Meta(ge=1, le=2**63 - 1)]

_JSON_TYPES: Final[Mapping[pa.DataType, Any]] = {
    ARROW_TYPES["long"]: _Long,
    ARROW_TYPES["double"]: float,
    ARROW_TYPES["boolean"]: bool,
    ARROW_TYPES["string"]: str,
    ARROW_TYPES["array<long>"]: list[_Long | None],
    ARROW_TYPES["array<double>"]: list[float | None],
    ARROW_TYPES["array<string>"]: list[str | None],
}


class ScoreRequest(msgspec.Struct, Generic[CandidateT], frozen=True, kw_only=True):
    """Candidates to be scored."""

    candidates: Annotated[
        list[CandidateT],
        msgspec.Meta(description="What is to be scored. Names that are no fields are ignored."),
    ]
    shared: Annotated[
        CandidateT | None,
        msgspec.Meta(description="Fields of all candidates that do not have their own."),
    ] = None
    request_id: Annotated[
        _Name | None,
        msgspec.Meta(description="Names the request in the answer and in the log; else one is made."),
    ] = None
    time: Annotated[
        _Time | None, msgspec.Meta(description="Event time, ms since the epoch; absent: the scorer's clock.")
    ] = None
    by: Annotated[
        str | None, msgspec.Meta(description="An output: the answer is ordered by it, the greatest first.")
    ] = None
    top: Annotated[
        _Top | None,
        msgspec.Meta(description="Only so many of that order are returned, and count as shown. Needs `by`."),
    ] = None


class ScoreAnswer(msgspec.Struct, Generic[ScoreT], frozen=True, kw_only=True):
    """Scores of one snapshot."""

    snapshot: Annotated[int, msgspec.Meta(description="The version that gave all of these scores.")]
    request_id: Annotated[str, msgspec.Meta(description="The request's own, or one that was made for it.")]
    outputs: Annotated[tuple[str, ...], msgspec.Meta(description="The names of what every score holds.")]
    scores: Annotated[list[ScoreT], msgspec.Meta(description="In the order of the request, or by `by`.")]


@dataclass(frozen=True, slots=True)
class Asked:
    """A request that can be answered."""

    request_id: str
    time: Millis
    fields: pa.Table  # n rows
    by: str | None  # an output, as the plan names it
    top: int | None


@dataclass(frozen=True, slots=True)
class Refused:
    """A request that cannot be answered, and what is wrong with it."""

    reason: Literal["wrong", "too_many"]
    detail: str


class Messages:
    """Reads requests and writes answers, for one recipe and the types of the fields that its features read.

    `schema` may hold further fields: keys, which the log of served scores wants. Raises ConfigError if a feature's
    field is not in it or of a type that does not fit.
    """

    def __init__(
        self, recipe: Recipe, schema: pa.Schema, max_rows: int, clock: Clock, new_id: Callable[[], str]
    ) -> None:
        _check(recipe, schema)
        self.schema = schema
        self.outputs = {json_name(output): output for output in recipe.plan.outputs}
        refuse_twins([*map(json_name, recipe.plan.outputs), _PLACE])
        self.request: Any = ScoreRequest[candidate_type(schema)]  # type: ignore[misc]
        self.score = score_type(tuple(self.outputs))
        self._decoder: msgspec.json.Decoder[ScoreRequest[Any]] = msgspec.json.Decoder(self.request)
        self._encoder = msgspec.json.Encoder()
        self._max_rows, self._clock, self._new_id = max_rows, clock, new_id

    @property
    def answer(self) -> Any:
        """The type of an answer."""
        return ScoreAnswer[self.score]  # type: ignore[name-defined]

    def read(self, body: bytes) -> Asked | Refused:
        """Return what is asked, or why it cannot be answered."""
        try:
            request = self._decoder.decode(body)
        except msgspec.ValidationError as error:
            return Refused("wrong", str(error))
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            return Refused("wrong", f"the body is not JSON that can be read: {error}")
        fault = self._fault(request)
        return self._asked(request) if fault is None else fault

    def respond(self, asked: Asked, scores: Scores) -> ScoreAnswer[Any]:
        """Return the answer: all candidates as they were asked, or the first ones by an output."""
        rows = zip(*(column.tolist() for column in scores.columns.values()), strict=True)
        found = [self.score(place, *row) for place, row in enumerate(rows)]
        if asked.by is not None:
            order = np.argsort(-scores.columns[asked.by], kind="stable")
            found = [found[place] for place in order[: asked.top].tolist()]
        return ScoreAnswer(
            snapshot=scores.version,
            request_id=asked.request_id,
            outputs=tuple(self.outputs),
            scores=found,
        )

    def write(self, answer: ScoreAnswer[Any]) -> bytes:
        """Return an answer as JSON; a score that is not known (nan) is null."""
        return self._encoder.encode(answer)

    def _fault(self, request: ScoreRequest[Any]) -> Refused | None:
        rows = len(request.candidates)
        if rows > self._max_rows:
            return Refused(
                "too_many",
                f"{rows} candidates, and at most {self._max_rows} are scored at once; ask in parts",
            )
        if request.by is not None and request.by not in self.outputs:
            return Refused("wrong", f'there is no output "{request.by}"; by can be {", ".join(self.outputs)}')
        if request.top is not None and request.by is None:
            return Refused("wrong", "top says how many, but nothing says of which order; say by which output")
        return None

    def _asked(self, request: ScoreRequest[Any]) -> Asked:
        return Asked(
            self._new_id() if request.request_id is None else request.request_id,
            self._clock() if request.time is None else request.time,
            to_table(request.candidates, request.shared, self.schema),
            None if request.by is None else self.outputs[request.by],
            request.top,
        )


def json_name(output: str) -> str:
    """Return the name that an output of the plan has in answers and in the log: joint.cvr is joint_cvr."""
    return output.replace(".", "_")


def refuse_twins(names: Sequence[str]) -> None:
    """Raise ConfigError if two things that are told side by side have one name."""
    for place, name in enumerate(names):
        if name in names[:place]:
            raise ConfigError(f'two fields of a served score are named "{name}"; give the task another name')


def candidate_type(schema: pa.Schema) -> Any:
    """Return the type of a candidate: every field may be missing. Raises ConfigError for a type without a JSON one."""
    return msgspec.defstruct(
        "Candidate",
        [
            (f"f{i}", _described(_json_type(field) | None, _about(field)), None)
            for i, field in enumerate(schema)
        ],
        rename={f"f{i}": name for i, name in enumerate(schema.names)},
        frozen=True,
        gc=False,
    )


def score_type(outputs: Sequence[str]) -> Any:
    """Return the type of one candidate's scores."""
    number = _described(float | None, "null: the model has no number for this candidate")
    return msgspec.defstruct(
        "Score",
        [("f", _described(int, "The candidate's place in the request, from 0."))]
        + [(f"f{i}", number) for i in range(len(outputs))],
        rename={"f": _PLACE, **{f"f{i}": name for i, name in enumerate(outputs)}},
        frozen=True,
        gc=False,
    )


def to_table(candidates: Sequence[Any], shared: Any | None, schema: pa.Schema) -> pa.Table:
    """Return candidates as columns; what one of them has not, or has as null, is taken from `shared`."""
    common = (None,) * len(schema) if shared is None else astuple(shared)
    rows = map(astuple, candidates)
    columns: Iterable[Sequence[Any]] = zip(*rows, strict=True) if candidates else ((),) * len(schema)
    arrays = [
        pa.array(column if other is None else [other if value is None else value for value in column], kind)
        for column, other, kind in zip(columns, common, schema.types, strict=True)
    ]
    return pa.Table.from_arrays(arrays, schema=schema)


_PLACE = "candidate"


def _check(recipe: Recipe, schema: pa.Schema) -> None:
    for name, feature in recipe.features.features.items():
        field = feature.field or name
        if field not in schema.names:
            raise ConfigError(
                f'features.{name}: reads "{field}", and requests have no such field; declare it'
            )
    recipe.features.encode(schema.empty_table())


def _json_type(field: pa.Field) -> Any:
    if field.type not in _JSON_TYPES:
        raise ConfigError(f"{field.name}: a request cannot carry values of type {field.type}")
    return _JSON_TYPES[field.type]


def _about(field: pa.Field) -> str:
    kind = next(name for name, arrow in ARROW_TYPES.items() if arrow == field.type)
    return f"{kind}; null or absent: not known"

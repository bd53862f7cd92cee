"""What every section is, and the plain numbers that several hold."""

from typing import Annotated, TypeAlias

from pydantic import BaseModel, ConfigDict, Field, WithJsonSchema

from stream_mtl.config.values import Listed, Several, SeveralLists

Count: TypeAlias = Annotated[int, Field(ge=1, le=1 << 40)]
Rate: TypeAlias = Annotated[float, Field(gt=0)]
Widths: TypeAlias = Annotated[tuple[Count, ...], Listed]
Counts: TypeAlias = Annotated[
    tuple[Annotated[int, Field(ge=0, le=1 << 40)], ...],
    Several,
    WithJsonSchema({"anyOf": [{"type": "integer"}, {"type": "array", "items": {"type": "integer"}}]}),
]
"""One number for all levels, or one for each."""

LevelWidths: TypeAlias = Annotated[
    tuple[Widths, ...],
    SeveralLists,
    WithJsonSchema({"type": "array", "items": {"type": ["integer", "array"], "items": {"type": "integer"}}}),
]
"""Widths for all levels, [64, 32], or for each, [[64, 32], [32]]."""

Floats: TypeAlias = Annotated[tuple[float, ...], Listed]


class Section(BaseModel):
    """A table of the configuration: nothing unknown, nothing converted, nothing changed afterwards."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", strict=True, allow_inf_nan=False, hide_input_in_errors=True
    )

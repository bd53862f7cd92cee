"""What every section is, and the plain numbers that several hold."""

from typing import Annotated, TypeAlias

from pydantic import BaseModel, ConfigDict, Field

from stream_mtl.config.values import Listed

Count: TypeAlias = Annotated[int, Field(ge=1, le=1 << 40)]
Rate: TypeAlias = Annotated[float, Field(gt=0)]
Widths: TypeAlias = Annotated[tuple[Count, ...], Listed]
Floats: TypeAlias = Annotated[tuple[float, ...], Listed]


class Section(BaseModel):
    """A table of the configuration: nothing unknown, nothing converted, nothing changed afterwards."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", strict=True, allow_inf_nan=False, hide_input_in_errors=True
    )

"""State as arrays under dotted names: what a part gives is put under its name, and taken back from under it."""

from collections.abc import Mapping
from typing import Any, TypeAlias

import numpy.typing as npt

Arrays: TypeAlias = dict[str, npt.NDArray[Any]]


def put_under(**parts: Mapping[str, npt.NDArray[Any]]) -> Arrays:
    """Return the arrays of several parts, each name with its part's before it: a=..., b=... to "a.x", "b.y"."""
    return {f"{part}.{name}": array for part, arrays in parts.items() for name, array in arrays.items()}


def under(arrays: Mapping[str, npt.NDArray[Any]], part: str) -> Arrays:
    """Return the arrays of one part, by the names that it knows them by."""
    prefix = f"{part}."
    return {n.removeprefix(prefix): array for n, array in arrays.items() if n.startswith(prefix)}

"""Cells: the sums of one output, each under the name of the examples that it counts."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt

from stream_mtl.measures import BINS, BinarySums, Sums, ValueSums

Arrays: TypeAlias = Mapping[str, npt.NDArray[Any]]

NEWEST = 50
"""Snapshots that are told apart; the ones before them are added up under OLDER."""
OLDER = "older"
SNAPSHOT = "snapshot"


class Cell(NamedTuple):
    """Which examples: all of a life, of a part of a window, of a snapshot, of a value of a slice."""

    group: str
    name: str


Cells: TypeAlias = dict[Cell, Sums]


def add(cells: Cells, cell: Cell, sums: Sums) -> None:
    """Add sums to a cell, which may be new."""
    cells[cell] = cells[cell] + sums if cell in cells else sums  # type: ignore[operator]


def merge(into: Cells, cells: Cells) -> None:
    """Add every cell to its namesake."""
    for cell, sums in cells.items():
        add(into, cell, sums)


def total(sums: Sequence[Sums]) -> Sums | None:
    """Return the sum of sums; None of none."""
    if not sums:
        return None
    whole = sums[0]
    for one in sums[1:]:
        whole = whole + one  # type: ignore[operator]
    return whole


def versions(cells: Cells) -> list[int]:
    """Return the snapshots that are told apart, the oldest first."""
    return sorted(int(cell.name) for cell in cells if cell.group == SNAPSHOT and cell.name != OLDER)


def merge_older(cells: Cells) -> None:
    """Keep the newest snapshots apart and add up the rest: which ones depends only on those ever seen."""
    for version in versions(cells)[:-NEWEST]:
        add(cells, Cell(SNAPSHOT, OLDER), cells.pop(Cell(SNAPSHOT, str(version))))


def pack(sums: Sequence[Sums]) -> dict[str, npt.NDArray[Any]]:
    """Return sums of one type as arrays; of yes-or-no sums only the bins that are not empty."""
    if not sums or isinstance(sums[0], ValueSums):
        return {"values": np.array([list(one.arrays().values()) for one in sums], np.float64)}
    counts = np.stack([one.counts for one in sums if isinstance(one, BinarySums)])  # (sums, 2, BINS)
    predicted = np.stack([one.predicted for one in sums])  # (sums, BINS)
    place = np.flatnonzero(counts.sum(axis=1))
    return {
        "place": place,
        "counts": counts.transpose(1, 0, 2).reshape(2, -1)[:, place],
        "predicted": predicted.reshape(-1)[place],
        "loss": np.array([one.loss for one in sums if isinstance(one, BinarySums)]),
    }


def unpack(arrays: Arrays) -> list[Sums]:
    """Take back what `pack` gave."""
    if "values" in arrays:
        return [ValueSums(*(np.asarray(value) for value in row)) for row in arrays["values"]]
    number = len(arrays["loss"])
    counts = np.zeros((2, number * BINS), np.int64)
    counts[:, arrays["place"]] = arrays["counts"]
    predicted = np.zeros(number * BINS)
    predicted[arrays["place"]] = arrays["predicted"]
    each = counts.reshape(2, number, BINS).transpose(1, 0, 2)
    masses = predicted.reshape(number, BINS)
    return [
        BinarySums(each[i].copy(), masses[i].copy(), np.asarray(arrays["loss"][i])) for i in range(number)
    ]

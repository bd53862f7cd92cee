"""Examples: rows of features with what they teach each lesson, as columns."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from stream_mtl.label.base import Emitted
from stream_mtl.label.told import Ints

Matrix = npt.NDArray[np.float32]  # (m, lessons)


@dataclass(frozen=True, slots=True)
class Targets:
    """What some examples teach one lesson. (m,) each."""

    label: npt.NDArray[np.float32]  # 0 or 1, or a value; 0 where nothing is told
    weight: npt.NDArray[np.float32]  # 0: nothing is told
    elapsed: npt.NDArray[np.float32]  # seconds
    kind: npt.NDArray[np.int8]  # Kind


@dataclass(frozen=True, slots=True)
class Examples:
    """Examples in the order in which they are told. The matrices have a column for each lesson."""

    lessons: tuple[str, ...]
    telling: Ints  # (m,) row of the transitions, ascending
    row: npt.NDArray[np.int32]  # (m,) place of the features in Transitions.fields
    exposure: Ints  # (m,)
    told: Ints  # (m,) ms
    label: Matrix
    weight: Matrix
    elapsed: Matrix
    kind: npt.NDArray[np.int8]  # (m, lessons)

    def __len__(self) -> int:
        return len(self.row)

    @classmethod
    def untold(
        cls,
        lessons: tuple[str, ...],
        telling: Ints,
        row: npt.NDArray[np.int32],
        exposure: Ints,
        told: Ints,
    ) -> "Examples":
        """Return examples that teach nothing yet."""
        shape = (len(row), len(lessons))
        label, weight, elapsed = (np.zeros(shape, np.float32) for _ in range(3))
        return cls(lessons, telling, row, exposure, told, label, weight, elapsed, np.zeros(shape, np.int8))

    def tell(self, lesson: int, places: Ints, emission: Emitted) -> None:
        """Fill in, with weight 1, what one lesson (by number) tells at these examples."""
        self.label[places, lesson] = emission.label
        self.weight[places, lesson] = 1
        self.elapsed[places, lesson] = emission.elapsed
        self.kind[places, lesson] = emission.kind

    def of(self, lesson: str) -> Targets:
        """Return what is told of one lesson. Raises ValueError for an unknown one."""
        i = self.lessons.index(lesson)
        return Targets(self.label[:, i], self.weight[:, i], self.elapsed[:, i], self.kind[:, i])

    @property
    def targets(self) -> Mapping[str, Targets]:
        """What is told, by lesson."""
        return {lesson: self.of(lesson) for lesson in self.lessons}


@dataclass(frozen=True, slots=True)
class Merged:
    """Where the emissions of several lessons stand in common examples."""

    row: Ints  # (m,) row of the transitions
    places: tuple[Ints, ...]  # per lesson, (its emissions,): which example each belongs to


def merge(emissions: Sequence[Emitted], rows: int) -> Merged:
    """Let the lessons' first emissions of a row share one example, their second ones another, and so on."""
    ordinals = [_ordinal(emission.row) for emission in emissions]
    deep = 1 + max((int(ordinal.max(initial=0)) for ordinal in ordinals), default=0)
    keys = [emission.row * deep + ordinal for emission, ordinal in zip(emissions, ordinals, strict=True)]
    taken = np.zeros(rows * deep, np.bool_)
    for key in keys:
        taken[key] = True
    number = np.cumsum(taken) - 1
    return Merged(np.flatnonzero(taken) // deep, tuple(number[key] for key in keys))


def _ordinal(rows: Ints) -> Ints:
    """Return the place of each entry among its equals, of an ascending column."""
    if len(rows) == 0:
        return rows
    starts = np.flatnonzero(np.concatenate([[True], rows[1:] != rows[:-1]]))
    return np.arange(len(rows)) - np.repeat(starts, np.diff(np.append(starts, len(rows))))

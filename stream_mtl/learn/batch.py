"""Batches: encoded features with what they teach, as columns that can be cut and put together."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from stream_mtl.label.examples import Examples
from stream_mtl.learn.arrays import Arrays, put_under, under
from stream_mtl.learn.encoded import Encoded, concat

Matrix = npt.NDArray[np.float32]  # (n, lessons)

_TARGETS = ("label", "weight", "elapsed", "kind", "told", "truth")


@dataclass(frozen=True, slots=True)
class Batch:
    """Rows that teach; columns of the matrices are lessons, of `truth` outputs."""

    features: Encoded
    label: Matrix
    weight: Matrix  # 0: not told
    elapsed: Matrix  # seconds
    kind: npt.NDArray[np.int8]  # (n, lessons) Kind
    told: npt.NDArray[np.int64]  # (n,) ms
    truth: npt.NDArray[
        np.float64
    ]  # (n, outputs) what to score a prediction made just before by; nan: nothing

    def __len__(self) -> int:
        return len(self.told)

    @property
    def scored(self) -> bool:
        """Whether any row is to be predicted just before it is learned."""
        return bool((self.truth == self.truth).any())

    def arrays(self) -> Arrays:
        """Return the columns by name, to be saved."""
        targets = {name: getattr(self, name) for name in _TARGETS}
        return put_under(features=self.features.arrays()) | targets

    @classmethod
    def of_arrays(cls, arrays: Mapping[str, npt.NDArray[Any]]) -> "Batch":
        """Take back what `arrays` gave."""
        features = Encoded.of_arrays(under(arrays, "features"))
        return cls(features, *(arrays[name] for name in _TARGETS))


def collate(
    features: Encoded, examples: Examples, start: int, stop: int, truth: npt.NDArray[np.float64]
) -> Batch:
    """Put examples [start, stop) beside their features. A row with a bad cell teaches nothing.

    `features` are those of all places that `examples.row` speaks of, `truth` (stop - start, outputs).
    """
    some = slice(start, stop)
    rows = features.take(examples.row[some])
    weight = examples.weight[some]
    if rows.bad.any():
        weight = np.where(rows.bad[:, None], np.float32(0), weight)
    return Batch(
        rows,
        examples.label[some],
        weight,
        examples.elapsed[some],
        examples.kind[some],
        examples.told[some],
        truth,
    )


def join(batches: Sequence[Batch]) -> Batch:
    """Put batches one after another; there is at least one."""
    if len(batches) == 1:
        return batches[0]
    columns = (np.concatenate([getattr(batch, name) for batch in batches]) for name in _TARGETS)
    return Batch(concat([batch.features for batch in batches]), *columns)

"""Scores from one snapshot at a time: whatever is loaded meanwhile, an answer is of one version."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from stream_mtl.errors import StateCorrupt, Unavailable
from stream_mtl.learn.predict import Predictor
from stream_mtl.learn.recipe import Recipe
from stream_mtl.publish.snapshot import Manifest, Version
from stream_mtl.publish.store import SnapshotStore

Column = npt.NDArray[np.float32]  # (n,)


@dataclass(frozen=True, slots=True)
class Loaded:
    """A snapshot that verified and predicts."""

    version: Version
    manifest: Manifest
    predictor: Predictor


@dataclass(frozen=True, slots=True)
class Scores:
    """What one snapshot says of n rows."""

    version: Version
    columns: Mapping[
        str, Column
    ]  # by output of the plan, finite or nan: the model has no number for this row


class Scorer:
    """Answers from the snapshot that was swapped in last. Any number of threads may score and swap."""

    def __init__(self, recipe: Recipe) -> None:
        self.recipe = recipe
        self._loaded: Loaded | None = None

    @property
    def loaded(self) -> Loaded | None:
        """What answers now; None before the first snapshot."""
        return self._loaded

    def swap(self, loaded: Loaded) -> None:
        """Answer from this snapshot from now on. Requests that have begun end with the one before."""
        self._loaded = loaded

    def score(self, fields: pa.Table) -> Scores:
        """Return the scores of rows of fields. Raises Unavailable before the first snapshot."""
        loaded = self._loaded
        if loaded is None:
            raise Unavailable("no snapshot is loaded yet; ask again in a moment")
        found = loaded.predictor.predict(fields)
        return Scores(loaded.version, {name: _known(column) for name, column in found.items()})


def load(store: SnapshotStore, recipe: Recipe, version: Version) -> Loaded:
    """Return a snapshot that may serve: it verifies, is of this recipe, and a row of nothing can be predicted.

    Raises StateCorrupt, FingerprintMismatch, StateError if there is no such version, Unavailable.
    """
    snapshot = store.open(version)
    recipe.check(snapshot.manifest.recipe)
    try:
        loaded = Loaded(version, snapshot.manifest, Predictor(recipe, snapshot.weights))
        faults = _try(loaded.predictor)
    except (LookupError, ValueError, RuntimeError, TypeError) as error:
        raise StateCorrupt(f"snapshot {version}: the weights do not fit the model: {error}") from error
    if faults:
        raise StateCorrupt(
            f"snapshot {version}: of a row without features it says {', '.join(faults)}; delete this snapshot"
        )
    return loaded


def _try(predictor: Predictor) -> list[str]:
    """Return what is wrong with the prediction for one row of missing values."""
    found = predictor.predict(_nothing(predictor.recipe))
    labels = {
        name
        for lesson in predictor.recipe.plan.lessons
        if not lesson.task.regression
        for name in (lesson.task.name, lesson.name)
    }
    return [
        f"{name} = {column[0]}"
        for name, column in found.items()
        if not np.isfinite(column[0]) or (name in labels and not 0 <= column[0] <= 1)
    ]


def _nothing(recipe: Recipe) -> pa.Table:
    """Return one row in which every feature is missing."""
    return pa.table(
        {feature.field or name: pa.nulls(1) for name, feature in recipe.features.features.items()}
    )


def _known(column: Column) -> Column:
    finite = np.isfinite(column)
    return column if finite.all() else np.where(finite, column, np.float32(np.nan))

"""A small recipe, snapshots of it, and what is asked of them: for the tests of serving."""

import shutil
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from stream_mtl.learn.learner import Learner
from stream_mtl.learn.recipe import Recipe
from stream_mtl.learn.sharing import ModelOptions
from stream_mtl.publish.snapshot import Learned, Manifest, Snapshot
from stream_mtl.publish.store import unsealed
from stream_mtl.serve.requests import Messages
from stream_mtl.serve.scorer import Scores
from tests.learn.small import batch, fields, recipe

RECIPE = recipe(ModelOptions(relation="esmm", bottom=(8, 6), towers=(5,)))
OTHER_RECIPE = recipe(ModelOptions(relation="esmm", bottom=(9, 6), towers=(5,)))
SCHEMA = pa.schema([("exposure_id", pa.string()), *fields(1).schema])
KEY = ["exposure_id"]
OUTPUTS = ["ctr", "cvr", "order_value", "joint_cvr"]
NOW = 1_700_000_000_000


def learned(of: Recipe, steps: int) -> Learner:
    one = Learner(of)
    for step in range(steps):
        one.learn(batch(of, 16, step))
    return one


@cache
def learner(version: int) -> Learner:
    """Return the learner that a version is published from."""
    return learned(RECIPE, 1 + version)


def weights(version: int) -> Mapping[str, Any]:
    return learner(version).weights()


def snapshot(version: int, of: Recipe = RECIPE, arrays: Mapping[str, Any] | None = None) -> Snapshot:
    manifest = Manifest(
        version=version,
        parent=None,
        weights=unsealed(),
        recipe=of.fingerprint(),
        chain="c",
        learned=Learned(1, 16, {}, NOW - 5_000, (), ()),
        metrics={},
    )
    return Snapshot(manifest, arrays or (weights(version) if of is RECIPE else learned(of, 1).weights()))


def expected(version: int, rows: pa.Table) -> dict[str, np.ndarray]:
    """Return what the learner that a version was published from predicts itself."""
    found = learner(version).predict(RECIPE.features.encode(rows))
    return dict(zip(RECIPE.plan.outputs, found.T, strict=True))


def assert_of_its_version(scores: Scores, rows: pa.Table) -> None:
    for name, column in expected(scores.version, rows).items():
        np.testing.assert_allclose(scores.columns[name], column, atol=1e-6, rtol=1e-6)


def messages(max_rows: int = 1_000, schema: pa.Schema = SCHEMA, clock: Any = lambda: NOW) -> Messages:
    return Messages(RECIPE, schema, max_rows, clock, lambda: "made")


def candidates(count: int, seed: int = 0) -> list[dict[str, Any]]:
    """Return candidates as JSON has them, with the features of `fields(count, seed)`."""
    return [{"exposure_id": f"e{i}", **row} for i, row in enumerate(fields(count, seed).to_pylist())]


def damage(folder: Path, version: int) -> None:
    """Change one bit of the weights of a snapshot."""
    path = folder / f"{version:06d}" / "weights.safetensors"
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)


def point(folder: Path, version: int) -> None:
    """Make a version the latest, as a rollback does."""
    beside = folder / "LATEST.new"
    beside.write_text(f"{version:06d}\n")
    beside.rename(folder / "LATEST")


def remove(folder: Path, version: int) -> None:
    shutil.rmtree(folder / f"{version:06d}")

"""Every answer is of one whole version, and what that version's learner would have said."""

import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from stream_mtl.errors import FingerprintMismatch, StateCorrupt, StateError, Unavailable
from stream_mtl.publish.store import MemorySnapshots, SnapshotFolder
from stream_mtl.serve.scorer import Loaded, Scorer, load
from tests.learn.small import fields

from .world import OTHER_RECIPE, RECIPE, assert_of_its_version, damage, expected, snapshot, weights


def store_of(*versions: int) -> MemorySnapshots:
    store = MemorySnapshots()
    for version in versions:
        store.put(snapshot(version))
    return store


def test_before_the_first_snapshot_there_are_no_scores() -> None:
    with pytest.raises(Unavailable, match="no snapshot"):
        Scorer(RECIPE).score(fields(2))


@pytest.mark.parametrize("rows", [0, 1, 2, 100])
def test_a_score_is_what_the_learner_itself_predicts(rows: int) -> None:
    scorer = Scorer(RECIPE)
    scorer.swap(load(store_of(3), RECIPE, 3))
    scores = scorer.score(fields(rows, seed=9))
    assert (scores.version, tuple(scores.columns)) == (3, RECIPE.plan.outputs)
    assert {column.dtype.name for column in scores.columns.values()} == {"float32"}
    assert_of_its_version(scores, fields(rows, seed=9))


def test_a_row_is_scored_the_same_alone_and_among_others() -> None:
    scorer = Scorer(RECIPE)
    scorer.swap(load(store_of(3), RECIPE, 3))
    rows = fields(100, seed=4)
    together, alone = scorer.score(rows), scorer.score(rows.slice(41, 1))
    for name, column in together.columns.items():
        assert alone.columns[name][0] == pytest.approx(column[41], abs=1e-6)


def test_while_snapshots_are_swapped_every_answer_is_of_one_version() -> None:
    store = store_of(0, 4)
    loaded = [load(store, RECIPE, version) for version in (0, 4)]
    rows = fields(40, seed=2)
    assert not np.allclose(expected(0, rows)["ctr"], expected(4, rows)["ctr"], atol=1e-3)
    scorer, ended = Scorer(RECIPE), threading.Event()
    scorer.swap(loaded[0])

    def swap() -> None:
        while not ended.is_set():
            for one in loaded:
                scorer.swap(one)

    def score() -> set[int]:
        seen = set()
        for _ in range(60):
            scores = scorer.score(rows)
            assert_of_its_version(scores, rows)
            seen.add(scores.version)
        return seen

    swapping = threading.Thread(target=swap)
    swapping.start()
    try:
        with ThreadPoolExecutor(4) as pool:
            seen = [future.result() for future in [pool.submit(score) for _ in range(4)]]
    finally:
        ended.set()
        swapping.join()
    assert set().union(*seen) <= {0, 4}


def test_a_number_that_is_none_leaves_as_not_known() -> None:
    class Wild:
        def predict(self, rows: object) -> dict[str, np.ndarray]:
            return {"ctr": np.array([0.5, np.inf, -np.inf, np.nan], np.float32)}

    scorer = Scorer(RECIPE)
    scorer.swap(Loaded(1, snapshot(1).manifest, Wild()))  # type: ignore[arg-type]
    column = scorer.score(fields(4)).columns["ctr"]
    np.testing.assert_array_equal(column, np.array([0.5, np.nan, np.nan, np.nan], np.float32))


def test_a_snapshot_of_another_recipe_is_not_loaded() -> None:
    store = MemorySnapshots()
    store.put(snapshot(0, OTHER_RECIPE))
    with pytest.raises(FingerprintMismatch, match="model"):
        load(store, RECIPE, 0)


def test_a_snapshot_that_does_not_verify_is_not_loaded(tmp_path: Path) -> None:
    store = SnapshotFolder(tmp_path)
    store.put(snapshot(0))
    damage(tmp_path, 0)
    with pytest.raises(StateCorrupt, match="000000"):
        load(store, RECIPE, 0)


def test_a_snapshot_that_is_not_there_is_not_loaded() -> None:
    with pytest.raises(StateError, match="no snapshot 7"):
        load(store_of(0), RECIPE, 7)


@pytest.mark.parametrize("name", ["dense.", "table.", "scale."])
def test_weights_that_lack_a_part_are_not_loaded(name: str) -> None:
    arrays = dict(weights(0))
    del arrays[next(one for one in arrays if one.startswith(name))]
    store = MemorySnapshots()
    store.put(snapshot(0, arrays=arrays))
    with pytest.raises(StateCorrupt):
        load(store, RECIPE, 0)


def test_finite_weights_whose_predictions_are_none_are_not_loaded() -> None:
    huge = {
        name: np.full_like(array, 3e38) if name.startswith("dense.") else array
        for name, array in weights(0).items()
    }
    store = MemorySnapshots()
    store.put(snapshot(0, arrays=huge))
    with pytest.raises(StateCorrupt, match="row without features"):
        load(store, RECIPE, 0)

"""The latest snapshot serves, unless it cannot; what serves is never taken away."""

import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import structlog

from stream_mtl.errors import Unavailable
from stream_mtl.publish.snapshot import Snapshot
from stream_mtl.publish.store import MemorySnapshots, SnapshotFolder, SnapshotStore
from stream_mtl.serve.reload import Problem, Reloader
from stream_mtl.serve.scorer import Scorer
from stream_mtl.testing import ManualClock
from tests.learn.small import fields

from .world import (
    NOW,
    OTHER_RECIPE,
    RECIPE,
    assert_of_its_version,
    damage,
    point,
    remove,
    snapshot,
)


class Watched(MemorySnapshots):
    """Snapshots in memory that notes what is opened, and may do something before it."""

    def __init__(self) -> None:
        super().__init__()
        self.opened: list[int] = []
        self.before: Callable[[int], None] = lambda version: None

    def open(self, version: int) -> Snapshot:
        self.opened.append(version)
        self.before(version)
        return super().open(version)


def reloader_of(store: SnapshotStore) -> tuple[Scorer, Reloader]:
    scorer = Scorer(RECIPE)
    return scorer, Reloader(store, scorer, 10, ManualClock(NOW))


def version_of(scorer: Scorer) -> int | None:
    return None if scorer.loaded is None else scorer.loaded.version


def test_an_empty_store_gives_nothing_and_no_problem() -> None:
    scorer, reloader = reloader_of(MemorySnapshots())
    reloader.look()
    assert (version_of(scorer), reloader.problem, reloader.counts) == (None, None, {})


def test_the_latest_is_loaded_once() -> None:
    store = Watched()
    scorer, reloader = reloader_of(store)
    for version in (0, 1):
        store.put(snapshot(version))
        reloader.look()
        reloader.look()
        assert version_of(scorer) == version
    assert store.opened == [0, 1]
    assert reloader.counts == {("swapped", ""): 2}


def test_a_corrupt_newer_snapshot_displaces_nothing_and_is_said_once(tmp_path: Path) -> None:
    store = SnapshotFolder(tmp_path)
    store.put(snapshot(0))
    scorer, reloader = reloader_of(store)
    reloader.look()
    store.put(snapshot(1))
    damage(tmp_path, 1)
    with structlog.testing.capture_logs() as logged:
        for _ in range(3):
            reloader.look()
    assert version_of(scorer) == 0
    assert_of_its_version(scorer.score(fields(5)), fields(5))
    assert reloader.problem is not None
    assert (reloader.problem.version, reloader.problem.reason, reloader.problem.time) == (1, "corrupt", NOW)
    assert [(one["event"], one["version"], one["serving"]) for one in logged] == [("snapshot_refused", 1, 0)]
    assert reloader.counts["refused", "corrupt"] == 1


def test_a_refused_snapshot_is_tried_again_when_the_latest_has_changed(tmp_path: Path) -> None:
    store = SnapshotFolder(tmp_path)
    store.put(snapshot(0))
    scorer, reloader = reloader_of(store)
    reloader.look()
    store.put(snapshot(1))
    damage(tmp_path, 1)
    reloader.look()
    damage(tmp_path, 1)  # the same bit again: it is whole now
    reloader.look()
    assert version_of(scorer) == 0
    point(tmp_path, 0)
    reloader.look()
    assert reloader.problem is None
    point(tmp_path, 1)
    reloader.look()
    assert version_of(scorer) == 1


def test_a_newer_good_snapshot_ends_the_problem() -> None:
    store = MemorySnapshots()
    store.put(snapshot(0))
    scorer, reloader = reloader_of(store)
    reloader.look()
    store.put(snapshot(1, OTHER_RECIPE))
    reloader.look()
    assert reloader.problem is not None
    assert (version_of(scorer), reloader.problem.reason) == (0, "fingerprint")
    store.put(snapshot(2))
    reloader.look()
    assert (version_of(scorer), reloader.problem) == (2, None)


def test_moving_the_latest_back_is_a_rollback(tmp_path: Path) -> None:
    store = SnapshotFolder(tmp_path)
    store.put(snapshot(0))
    store.put(snapshot(1))
    scorer, reloader = reloader_of(store)
    reloader.look()
    assert version_of(scorer) == 1
    point(tmp_path, 0)
    reloader.look()
    assert version_of(scorer) == 0
    assert_of_its_version(scorer.score(fields(5)), fields(5))


def test_a_snapshot_that_is_pruned_while_it_is_read_gives_way_to_the_newest() -> None:
    store = Watched()
    store.put(snapshot(0))
    scorer, reloader = reloader_of(store)

    def publish_and_prune(version: int) -> None:
        if version == 0:
            store.put(snapshot(1))
            store.prune(1)

    store.before = publish_and_prune
    reloader.look()
    assert (version_of(scorer), store.opened, reloader.problem) == (1, [0, 1], None)


def test_a_snapshot_that_is_overtaken_while_it_is_loaded_is_followed_by_the_newest() -> None:
    store = Watched()
    store.put(snapshot(0))
    scorer, reloader = reloader_of(store)
    store.before = lambda version: store.put(snapshot(1)) if version == 0 else None
    reloader.look()
    assert (version_of(scorer), store.opened) == (1, [0, 1])


def test_a_latest_that_is_not_there_is_looked_for_again(tmp_path: Path) -> None:
    store = SnapshotFolder(tmp_path)
    store.put(snapshot(0))
    scorer, reloader = reloader_of(store)
    reloader.look()
    point(tmp_path, 1)
    with structlog.testing.capture_logs() as logged:
        reloader.look()
        reloader.look()
    assert (version_of(scorer), len(logged)) == (0, 1)
    assert reloader.problem is not None and reloader.problem.reason == "missing"
    store.put(snapshot(1))
    reloader.look()
    assert (version_of(scorer), reloader.problem) == (1, None)


@pytest.mark.parametrize("error", [Unavailable("the store is away"), PermissionError("no")])
def test_a_store_that_does_not_answer_is_asked_again(error: Exception) -> None:
    store = Watched()
    store.put(snapshot(0))
    scorer, reloader = reloader_of(store)

    def fail(version: int) -> None:
        raise error

    store.before = fail
    reloader.look()
    assert reloader.problem == Problem(0, "unavailable", str(error), NOW)
    store.before = lambda version: None
    reloader.look()
    assert (version_of(scorer), reloader.problem) == (0, None)


def test_a_latest_that_names_no_version_is_a_problem_of_the_store(tmp_path: Path) -> None:
    store = SnapshotFolder(tmp_path)
    store.put(snapshot(0))
    scorer, reloader = reloader_of(store)
    reloader.look()
    (tmp_path / "LATEST").write_text("nonsense")
    reloader.look()
    assert version_of(scorer) == 0
    assert reloader.problem is not None
    assert (reloader.problem.version, reloader.problem.reason) == (None, "corrupt")
    point(tmp_path, 0)
    reloader.look()
    assert reloader.problem is None


def test_a_fault_that_nobody_foresaw_does_not_end_the_looking() -> None:
    store = Watched()
    store.put(snapshot(0))
    scorer, reloader = reloader_of(store)

    def fail(version: int) -> None:
        if version == 0:
            raise ZeroDivisionError

    store.before = fail
    with structlog.testing.capture_logs() as logged:
        reloader.look()
    assert isinstance(logged[0]["exc_info"], ZeroDivisionError)
    store.put(snapshot(1))
    reloader.look()
    assert version_of(scorer) == 1


def test_a_scorer_that_starts_takes_the_newest_that_verifies_and_says_so(tmp_path: Path) -> None:
    store = SnapshotFolder(tmp_path)
    for version in range(4):
        store.put(snapshot(version))
    damage(tmp_path, 3)
    remove(tmp_path, 2)
    scorer, reloader = reloader_of(store)
    reloader.look()
    assert version_of(scorer) == 1
    assert reloader.problem is not None
    assert (reloader.problem.version, reloader.problem.reason) == (3, "corrupt")


def test_after_a_rollback_a_scorer_that_starts_never_takes_what_was_rolled_back(tmp_path: Path) -> None:
    store = SnapshotFolder(tmp_path)
    for version in range(3):
        store.put(snapshot(version))
    point(tmp_path, 1)
    damage(tmp_path, 1)
    scorer, reloader = reloader_of(store)
    reloader.look()
    assert version_of(scorer) == 0


def test_snapshots_arrive_by_themselves_while_others_score(tmp_path: Path) -> None:
    store = SnapshotFolder(tmp_path)
    store.put(snapshot(0))
    scorer, reloader = reloader_of(store)
    rows, ended, faults = fields(20), threading.Event(), []

    def score() -> None:
        while not ended.is_set():
            try:
                if scorer.loaded is not None:
                    assert_of_its_version(scorer.score(rows), rows)
            except BaseException as error:
                faults.append(error)
                return

    threads = [threading.Thread(target=score) for _ in range(3)]
    reloader.start()
    for thread in threads:
        thread.start()
    try:
        for version in range(4):
            store.put(snapshot(version))
            store.prune(1)
            wait_for(lambda wanted=version: version_of(scorer) == wanted)
    finally:
        ended.set()
        for thread in threads:
            thread.join()
        reloader.close()
    assert faults == []
    assert reloader.counts == {("swapped", ""): 4}


def wait_for(reached: Callable[[], bool]) -> None:
    for _ in range(3_000):
        if reached():
            return
        time.sleep(0.01)
    raise AssertionError("it did not come")

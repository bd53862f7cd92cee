"""A full disk: a process goes on when there is space again, or ends with exit code 6 and goes on when it is started."""

import resource
from collections.abc import Callable
from typing import Any

import pytest

from stream_mtl.processes.status import read_status
from tests.crash.child import until
from tests.crash.site import Site

JOINING = (
    "log.beside",
    "log.renamed",
    "files.unsynced",
    "state.after_table",
    "state.before_manifest",
    "state.after_manifest",
    "join.before_append",
    "join.before_checkpoint",
)
LEARNING = (
    "checkpoint.tensors",
    "checkpoint.manifest",
    "snapshot.weights",
    "snapshot.manifest",
    "snapshot.renamed",
    "files.unsynced",
)


@pytest.mark.parametrize("name", JOINING)
def test_a_joiner_on_a_full_disk(site: Callable[..., Site], wholly_joined: Any, name: str) -> None:
    hurt = site()
    child = hurt.start("join", failing=f"{name}:5:enospc")
    assert child.wait() in (0, 6), child.said
    assert hurt.hits == [f"{name}:5:enospc"]
    if child.code == 6:
        assert "No space left on device" in child.said
        hurt.run("join")
    assert hurt.joined() == wholly_joined


@pytest.mark.parametrize("name", LEARNING)
def test_a_trainer_on_a_full_disk(
    site: Callable[..., Site], whole: Site, wholly_learned: Any, name: str
) -> None:
    hurt = site(whole)
    child = hurt.start("train", failing=f"{name}:3:enospc")
    assert child.wait() in (0, 6), child.said
    assert hurt.hits == [f"{name}:3:enospc"]
    if child.code == 6:
        assert "No space left on device" in child.said
        hurt.run("train")
    assert hurt.learned() == wholly_learned


def test_a_joiner_whose_files_may_not_grow(site: Callable[..., Site], wholly_joined: Any) -> None:
    hurt = site()
    said = hurt.run("join", code=6, file_bytes=30_000)
    assert "File too large" in said
    hurt.run("join")
    assert hurt.joined() == wholly_joined


def test_a_trainer_goes_on_by_itself_when_its_files_may_grow_again(
    site: Callable[..., Site], whole: Site, wholly_learned: Any
) -> None:
    hurt = site(whole)
    child = hurt.start("train", file_bytes=30_000)

    def troubled() -> bool:
        said = read_status(hurt.folder / "status", "train")
        return child.ended() or (said is not None and "File too large" in (said.problem or ""))

    until(troubled, "a trainer that says what is wrong")
    assert hurt.published() == {} and not child.ended()
    resource.prlimit(child.pid, resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    assert child.wait() == 0
    assert hurt.learned() == wholly_learned


def test_a_flush_that_cannot_be_noted_is_not_done(
    site: Callable[..., Site], whole: Site, wholly_learned: Any
) -> None:
    hurt = site(whole)
    hurt.run("train", code=6, failing="notes.unsynced:1:enospc")
    hurt.run("train")
    assert hurt.learned() == wholly_learned

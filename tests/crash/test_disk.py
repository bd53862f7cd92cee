"""A full disk: a process says so, waits, and goes on by itself when there is space again; what it makes is the same."""

import resource
from collections.abc import Callable
from typing import Any

import pytest

from stream_mtl.processes.status import read_status
from tests.crash.child import Child, until
from tests.crash.site import Site

BORNE = (
    "log.beside",
    "log.renamed",
    "files.unsynced",
    "state.after_table",
    "state.before_manifest",
    "state.after_manifest",
)
FATAL = ("join.before_append", "join.before_checkpoint")  # an error that no disk says
LEARNING = (
    "checkpoint.tensors",
    "checkpoint.manifest",
    "snapshot.weights",
    "snapshot.manifest",
    "snapshot.renamed",
    "files.unsynced",
)
SMALL = 30_000  # bytes of the largest file that is allowed


def grow(child: Child) -> None:
    """Let the files of a child be as large as they like."""
    resource.prlimit(child.pid, resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))


def troubled(site: Site, role: str, child: Child, by: str = "File too large") -> Callable[[], bool]:
    """Return whether a process says that its disk is full, or has ended."""

    def look() -> bool:
        said = read_status(site.folder / "status", role)
        return child.ended() or (said is not None and by in (said.problem or ""))

    return look


@pytest.mark.parametrize("name", BORNE)
def test_a_joiner_on_a_full_disk_goes_on(site: Callable[..., Site], wholly_joined: Any, name: str) -> None:
    hurt = site()
    hurt.run("join", failing=f"{name}:5:enospc,{name}:6:enospc")
    assert hurt.hits == [f"{name}:5:enospc", f"{name}:6:enospc"]
    assert hurt.joined() == wholly_joined


@pytest.mark.parametrize("name", FATAL)
def test_a_joiner_that_ended_by_an_error_goes_on_when_it_is_started(
    site: Callable[..., Site], wholly_joined: Any, name: str
) -> None:
    hurt = site()
    assert "No space left on device" in hurt.run("join", code=6, failing=f"{name}:5:enospc")
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


@pytest.mark.parametrize("full", ["log.beside", "state.after_table"])
def test_a_joiner_whose_disk_stays_full_says_so_and_ends_when_it_is_told_to(
    site: Callable[..., Site], wholly_joined: Any, full: str
) -> None:
    hurt = site()
    child = hurt.start("join", "--follow", failing=f"{full}:5+:enospc")
    until(troubled(hurt, "join", child, "No space left on device"), "a joiner that says what is wrong")
    assert not child.ended(), child.said
    assert child.end() in (0, 6), child.said
    hurt.run("join")
    assert hurt.joined() == wholly_joined


def test_a_joiner_that_cannot_even_write_how_it_is_waits_all_the_same(
    site: Callable[..., Site], wholly_joined: Any
) -> None:
    hurt = site()
    child = hurt.start("join", "--follow", failing="files.unsynced:5+:enospc")
    until(lambda: child.ended() or '"status_not_written"' in child.said, "a full disk")
    assert child.end() == 6, child.said
    hurt.run("join")
    assert hurt.joined() == wholly_joined


def test_a_joiner_goes_on_by_itself_when_its_files_may_grow_again(
    site: Callable[..., Site], wholly_joined: Any
) -> None:
    hurt = site()
    blocks = ("join.block_rows=100000", "join.tell_rows=100000")  # larger than the limit
    child = hurt.start("join", file_bytes=SMALL, overrides=blocks)
    until(troubled(hurt, "join", child), "a joiner that says what is wrong")
    assert not child.ended(), child.said
    assert not [*(hurt.folder / "log").rglob("*.block*")]
    grow(child)
    assert child.wait() == 0, child.said
    assert hurt.joined() == wholly_joined


def test_a_trainer_goes_on_by_itself_when_its_files_may_grow_again(
    site: Callable[..., Site], whole: Site, wholly_learned: Any
) -> None:
    hurt = site(whole)
    child = hurt.start("train", file_bytes=SMALL)
    until(troubled(hurt, "train", child), "a trainer that says what is wrong")
    assert hurt.published() == {} and not child.ended()
    grow(child)
    assert child.wait() == 0
    assert hurt.learned() == wholly_learned


def test_a_watcher_goes_on_by_itself_when_its_files_may_grow_again(
    site: Callable[..., Site], whole: Site
) -> None:
    hurt = site(whole)
    child = hurt.start("watch", "--follow", file_bytes=2_000)
    until(troubled(hurt, "watch", child), "a watcher that says what is wrong")
    assert not child.ended(), child.said
    grow(child)
    until(lambda: child.ended() or (hurt.folder / "readings" / "latest.json").is_file(), "readings")
    assert child.end() == 0, child.said
    assert hurt.watched()[0] == whole.watched()[0]


def test_a_flush_that_cannot_be_noted_is_not_done(
    site: Callable[..., Site], whole: Site, wholly_learned: Any
) -> None:
    hurt = site(whole)
    hurt.run("train", code=6, failing="notes.unsynced:1:enospc")
    hurt.run("train")
    assert hurt.learned() == wholly_learned

"""Damaged checkpoints: the one before is taken; without one the joiner is made anew, and the trainer refuses."""

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.crash.site import Site


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1])


def grow(path: Path) -> None:
    path.write_bytes(path.read_bytes() + b"\0")


def blank(path: Path) -> None:
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 2] + bytes(len(data) - len(data) // 2))


def flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 3] ^= 16
    path.write_bytes(data)


DAMAGES = (cut, grow, blank, flip)


def of_joiner(site: Site, number: int = 0) -> Iterator[list[Path]]:
    """Yield the files of each of a joiner's checkpoints, the newest first."""
    folder = site.folder / "state" / str(number)
    for manifest in sorted(folder.glob("checkpoint-*.json"), reverse=True):
        own = manifest.stem.partition("-")[2]
        yield [manifest, *sorted(folder.glob(f"*.{own}.arrow"))]


def of_trainer(site: Site) -> Iterator[list[Path]]:
    for folder in sorted((site.folder / "learner").glob("ckpt-*"), reverse=True):
        yield sorted(folder.iterdir())


@pytest.fixture
def half_joined(site: Callable[..., Site]) -> Site:
    """A site whose joiner was killed in the middle."""
    hurt = site()
    hurt.die("join", "join.after_append:9:kill")
    return hurt


@pytest.fixture
def half_learned(site: Callable[..., Site], whole: Site) -> Site:
    """A site whose trainer was killed in the middle."""
    hurt = site(whole)
    hurt.die("train", "learn.after_step:45:kill")
    return hurt


def copied(site: Site, name: str) -> Site:
    """Return a site that is what this one is."""
    shutil.copytree(site.folder, site.folder.with_name(name))
    made = object.__new__(Site)
    made.__dict__.update(site.__dict__ | {"folder": site.folder.with_name(name)})
    return made


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_joiner_falls_back_by_one_checkpoint(
    half_joined: Site, wholly_joined: Any, damage: Callable[[Path], None], request: pytest.FixtureRequest
) -> None:
    files = next(of_joiner(half_joined))
    assert len(files) > 2
    every = request.config.getoption("--all-failpoints")
    for place, file in enumerate(files if every else files[:2]):
        hurt = copied(half_joined, f"hurt-{place}")
        damage(hurt.folder / file.relative_to(half_joined.folder))
        hurt.run("join")
        assert hurt.joined() == wholly_joined, file


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_trainer_falls_back_by_one_checkpoint(
    half_learned: Site, wholly_learned: Any, damage: Callable[[Path], None]
) -> None:
    files = next(of_trainer(half_learned))
    assert len(files) == 2
    for place, file in enumerate(files):
        hurt = copied(half_learned, f"hurt-{place}")
        damage(hurt.folder / file.relative_to(half_learned.folder))
        hurt.run("train")
        assert hurt.learned() == wholly_learned, file


def test_a_joiner_without_a_checkpoint_that_verifies_is_made_anew(
    half_joined: Site, wholly_joined: Any
) -> None:
    for number in (0, 1):
        for files in of_joiner(half_joined, number):
            flip(files[-1])
    half_joined.run("join")
    assert half_joined.joined() == wholly_joined


def test_a_trainer_without_a_checkpoint_that_verifies_refuses(half_learned: Site) -> None:
    published = half_learned.published()
    for files in of_trainer(half_learned):
        flip(files[-1])
    said = half_learned.run("train", code=4)
    assert "no checkpoint in" in said and "tensors do not verify" in said
    assert half_learned.published() == published


def test_a_joiner_whose_last_block_is_torn_writes_it_again(half_joined: Site, wholly_joined: Any) -> None:
    for number in ("0", "1"):
        cut(max((half_joined.folder / "log" / number).glob("*.block")))
    half_joined.run("join")
    assert half_joined.joined() == wholly_joined

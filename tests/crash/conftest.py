"""One market, and what undisturbed processes make of it, for all tests of the crash suite."""

import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.crash.child import Nursery, nursery
from tests.crash.site import Site, configuration, write_market


@pytest.fixture(scope="session")
def _nursery() -> Iterator[Nursery]:
    with nursery() as made:
        yield made


@pytest.fixture
def children(_nursery: Nursery) -> Iterator[Nursery]:
    """Where processes come from; what a test leaves running is ended."""
    yield _nursery
    _nursery.clear()


@pytest.fixture(scope="session")
def events(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A market of two partitions."""
    folder = tmp_path_factory.mktemp("crash") / "market"
    write_market(folder)
    return folder


@pytest.fixture(scope="session")
def on_files(events: Path) -> str:
    """The configuration of a site on files, with a joiner for each partition."""
    source = {"scored": "scoreds"}
    text = configuration(events, lambda kind: f"files:{events / source.get(kind, f'{kind}s')}")
    return f"{text}\n[join]\npartitions = 2\n"


@pytest.fixture(scope="session")
def whole(_nursery: Nursery, on_files: str, tmp_path_factory: pytest.TempPathFactory) -> Site:
    """A site on files where joiner, trainer and watcher ran undisturbed."""
    site = Site(_nursery, tmp_path_factory.mktemp("crash") / "whole", on_files)
    for role in ("join", "train", "watch"):
        site.run(role)
    return site


@pytest.fixture(scope="session")
def wholly_joined(whole: Site) -> Any:
    return whole.joined()


@pytest.fixture(scope="session")
def wholly_learned(whole: Site) -> Any:
    return whole.learned()


@pytest.fixture
def site(children: Nursery, on_files: str, tmp_path: Path) -> Callable[..., Site]:
    """Make a site on files; over the log of another one, where that is given."""

    def make(log: Site | None = None, text: str = "") -> Site:
        made = Site(children, tmp_path / uuid.uuid4().hex[:8], on_files + text)
        if log is not None:
            made.overrides = (*made.overrides, f"join.path={log.folder / 'log'}")
        return made

    return make

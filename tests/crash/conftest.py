"""One market, and what undisturbed processes make of it, for all tests of the crash suite."""

import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.crash.bus import BusSite, announced, filled
from tests.crash.child import Nursery, nursery
from tests.crash.site import Site, configuration, write_market
from tests.topics import Topics, all_topics, topics

__all__ = ["all_topics", "topics"]


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


@pytest.fixture(scope="session")
def _bus() -> dict[str, dict[str, str]]:
    """Topics that hold the market, by broker."""
    return {}


@pytest.fixture
def bus(
    children: Nursery, topics: Topics, events: Path, _bus: dict[str, dict[str, str]], tmp_path: Path
) -> Callable[..., BusSite]:
    """Make a site on the bus that all tests share; over the log of another one, or over topics of its own."""
    bootstrap = topics.options.bootstrap_servers
    names = _bus[bootstrap] if bootstrap in _bus else _bus.setdefault(bootstrap, filled(topics, events))

    def make(log: BusSite | None = None, own: dict[str, str] | None = None) -> BusSite:
        folder = tmp_path / uuid.uuid4().hex[:8]
        return BusSite(topics, own or names, children, folder, events, "" if log is None else log.log)

    return make


@pytest.fixture
def bus_joined(bus: Callable[..., BusSite], _done: dict[str, Any]) -> Any:
    """What an undisturbed joiner makes on the bus."""
    if "joined" not in _done:
        made = bus()
        made.run("join")
        _done.update(joined=made.joined(), site=made)
    return _done["joined"]


@pytest.fixture
def bus_learned(bus: Callable[..., BusSite], bus_joined: Any, _done: dict[str, Any]) -> Any:
    """What an undisturbed trainer makes on the bus."""
    if "learned" not in _done:
        made = bus(_done["site"])
        made.run("train")
        _done.update(learned=made.learned() | {"announced": announced(made)})
    return _done["learned"]


@pytest.fixture
def bus_whole(bus_learned: Any, _done: dict[str, Any]) -> BusSite:
    """The site of the undisturbed processes on the bus."""
    site: BusSite = _done["site"]
    return site


@pytest.fixture(scope="session")
def _done() -> dict[str, Any]:
    return {}

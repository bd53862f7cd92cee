"""A market, and a bus of its own for each test: the example's topics under names that nobody else has."""

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.cli.site import Site, market_in
from tests.topics import Topics, all_topics, topics

__all__ = ["all_topics", "topics"]


@pytest.fixture(scope="session")
def market(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Event files of a small market, with everything that goes wrong in it."""
    return market_in(tmp_path_factory.mktemp("market"))


@pytest.fixture
def site(topics: Topics, tmp_path: Path) -> Site:
    """The example, on topics of its own."""
    return Site(topics, tmp_path)


@pytest.fixture
def sites(topics: Topics, tmp_path: Path) -> Callable[..., Site]:
    """Make it otherwise."""
    return lambda **changes: Site(topics, tmp_path, **changes)

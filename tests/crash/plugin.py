"""Options of the crash suite."""

import random

import pytest


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("crash")
    group.addoption(
        "--all-failpoints", action="store_true", help="every failpoint, and long random schedules"
    )
    group.addoption("--crash-seed", type=int, default=None, help="of the random schedules; it is printed")


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "whole_crash: of the crash suite, run by --all-failpoints only")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out what only the whole suite has."""
    if config.getoption("--all-failpoints"):
        return
    left_out = [item for item in items if item.get_closest_marker("whole_crash")]
    if left_out:
        config.hook.pytest_deselected(items=left_out)
        items[:] = [item for item in items if not item.get_closest_marker("whole_crash")]


@pytest.fixture
def seed(request: pytest.FixtureRequest) -> int:
    """Of a random schedule. Say it again by --crash-seed."""
    given = request.config.getoption("--crash-seed")
    chosen: int = random.randrange(1 << 32) if given is None else given
    print(f"--crash-seed {chosen}")
    return chosen

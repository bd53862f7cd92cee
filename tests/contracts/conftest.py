"""Topics of a broker, for the implementations that need one; a disk that is full when a test says so."""

from collections.abc import Callable, Iterator

import pytest

from stream_mtl.failpoints import arm
from tests.topics import all_topics, own_topics, topics

__all__ = ["all_topics", "own_topics", "topics"]


@pytest.fixture
def full() -> Iterator[Callable[[str], None]]:
    """Let a failpoint, counted from now, say what a full disk says."""
    yield lambda place: arm({"STREAM_MTL_FAILPOINT": f"{place}:enospc"}, True)
    arm({}, False)

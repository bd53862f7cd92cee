"""Records that are no events, as dead letters."""

from collections.abc import Iterator

from stream_mtl.connectors.base import DeadLetter
from stream_mtl.events.types import Arrivals


def letters_of(arrivals: Arrivals) -> Iterator[DeadLetter]:
    """Give a letter for every malformed record of a batch."""
    bad = arrivals.malformed
    for position, reason, detail, value in zip(bad.position, bad.reason, bad.detail, bad.value, strict=True):
        yield DeadLetter(arrivals.source, arrivals.partition, int(position), reason, value, detail)

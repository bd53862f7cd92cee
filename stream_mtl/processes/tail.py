"""The newest block of a log, without reading the log: for tools that ask how far a joiner has come."""

from collections.abc import Iterator
from typing import Final

from stream_mtl.connectors.base import Unreadable
from stream_mtl.connectors.glance import Glance
from stream_mtl.connectors.kafka_reader import Place
from stream_mtl.join.block import Header, decode_header
from stream_mtl.join.log import FileLog
from stream_mtl.join.topic import Following, Whole

_FIRST: Final = 64  # records that are looked at
_SURE: Final = 3  # blocks that must follow each other, so that what is void cannot be taken for the newest


def last_in_folder(log: FileLog) -> Header | None:
    """Return the header of the newest block file; None if there is none. Nothing is put aside or repaired."""
    return next(iter(log.headers(max(log.next() - 1, 0))), None)


def last_on_topic(glance: Glance, place: Place, begin: int, end: int) -> Header | None:
    """Return the header of the newest whole block of a log on a topic; None if there is none. Raises Unavailable."""
    size = _FIRST
    while True:
        start = max(begin, end - size)
        wholes = list(_wholes(glance, place, start, end))
        if len(wholes) >= _SURE or start == begin:
            return decode_header(wholes[-1].data, f"{place[0]}/{place[1]}") if wholes else None
        size *= 4


def _wholes(glance: Glance, place: Place, start: int, end: int) -> Iterator[Whole]:
    following = Following(f"{place[0]}/{place[1]}")
    for seen in glance.records(place, start, end):
        if not isinstance(seen, Unreadable) and (whole := following.feed(seen)) is not None:
            yield whole

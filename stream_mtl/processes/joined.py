"""Recorded events joined as fast as they can be read, once through, with nothing kept."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeAlias

from stream_mtl.clock import system_clock
from stream_mtl.connectors.append import JsonLinesSink
from stream_mtl.join.block import Header
from stream_mtl.join.log import PassingLog
from stream_mtl.join.store import MemoryStore
from stream_mtl.join.transitions import Transitions
from stream_mtl.processes.bus import file_sources
from stream_mtl.processes.declared import Declared
from stream_mtl.processes.join import join_worker
from stream_mtl.processes.stop import Stop

Progress: TypeAlias = Callable[[int, int, int], None]
"""Is told, now and then: bytes read, bytes there are, records read."""


def joined(
    made: Declared, letters: Path, stop: Stop, progress: Progress
) -> Iterator[tuple[Header, Transitions]]:
    """Give the blocks that all events of a configuration make; records that are no events go to `letters`."""
    log, opened = PassingLog(), file_sources(made)
    with join_worker(made, opened, log, MemoryStore(), JsonLinesSink(letters), system_clock) as worker:
        worker.recover()
        records = 0
        while not worker.ended() and not stop():
            records += worker.step()
            parts = [source.progress() for source in opened]
            progress(sum(read for read, _ in parts), sum(size for _, size in parts), records)
            yield from log.take()
        worker.finish()
        yield from log.take()

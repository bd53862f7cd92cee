"""Listens for announcements of snapshots, so that a scorer need not wait until it looks by itself."""

import threading
from collections.abc import Callable

import structlog

from stream_mtl.clock import SECOND, Millis
from stream_mtl.connectors.partition import PartitionLog
from stream_mtl.errors import PositionOutOfRange, Unavailable
from stream_mtl.publish.announce import announcement_of

_LOOK: Millis = 100
_REST: Millis = 5 * SECOND


class Listener:
    """Calls `nudge` for announcements that come from now on, in a thread of its own. They are hints: none is needed."""

    def __init__(self, open_log: Callable[[], PartitionLog], nudge: Callable[[], None]) -> None:
        """`open_log` may raise Unavailable; it is tried again."""
        self._open, self._nudge = open_log, nudge
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._run, name="announcements", daemon=True)

    def start(self) -> None:
        """Begin to listen."""
        self._thread.start()

    def close(self) -> None:
        """Listen no more."""
        self._closing.set()
        if self._thread.is_alive():
            self._thread.join()

    def _run(self) -> None:
        while not self._closing.is_set():
            try:
                log = self._open()
                try:
                    self._listen(log)
                finally:
                    log.close()
            except (Unavailable, PositionOutOfRange) as error:
                structlog.get_logger().warning("announcements_unheard", detail=str(error))
                self._closing.wait(_REST / 1_000)

    def _listen(self, log: PartitionLog) -> None:
        at = log.end()
        while not self._closing.is_set():
            entries = log.read(at)
            if any(announcement_of(entry) is not None for entry in entries):
                self._nudge()
            if entries:
                at = entries[-1].offset + 1
            else:
                self._closing.wait(_LOOK / 1_000)

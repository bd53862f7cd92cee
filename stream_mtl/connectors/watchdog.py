"""What ends a process that hangs in a call which should have returned: its stacks are shown, and it is gone."""

import faulthandler
import os
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

from stream_mtl.errors import HUNG

GRACE: Final = 10.0  # seconds a call may take beyond its own timeout
_LOOK = 0.5  # seconds between two looks


def die() -> None:
    """Show where every thread stands and end the process, without cleaning up: that would hang too."""
    print("a poll of Kafka hangs; this is where every thread stands:", file=sys.stderr, flush=True)
    faulthandler.dump_traceback(all_threads=True)
    os._exit(HUNG)


class Watchdog:
    """Watches the calls of one thread. `bark` is what it does about one that takes too long."""

    def __init__(self, grace: float = GRACE, bark: Callable[[], None] = die) -> None:
        self._grace, self._bark = grace, bark
        self._deadline: float | None = None  # one word, which one thread writes and the other reads
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None

    @contextmanager
    def watching(self, timeout: float) -> Iterator[None]:
        """Watch what is done inside, which should take no longer than `timeout` seconds."""
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="watchdog", daemon=True)
            self._thread.start()
        self._deadline = time.monotonic() + timeout + self._grace
        try:
            yield
        finally:
            self._deadline = None

    @contextmanager
    def resting(self) -> Iterator[None]:
        """Do not count what is done inside, within a call that is watched: by the thread which that call waits for."""
        began, deadline = time.monotonic(), self._deadline
        self._deadline = None
        try:
            yield
        finally:
            if deadline is not None:
                self._deadline = deadline + time.monotonic() - began

    def close(self) -> None:
        """Stop watching. May be called twice."""
        self._stop.set()
        if self._thread is not None:
            self._thread.join()

    def _run(self) -> None:
        while not self._stop.wait(min(_LOOK, self._grace)):
            deadline = self._deadline
            if deadline is not None and time.monotonic() > deadline:
                self._bark()
                return

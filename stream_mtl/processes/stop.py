"""How a process is told to end: the first signal asks, the second one ends it at once."""

import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import TypeAlias

from stream_mtl.clock import Millis

Stop: TypeAlias = Callable[[], bool]
"""Asked between steps: should the process end now?"""

PARENT = "STREAM_MTL_PARENT"
"""Environment variable that names the process without which this one is to end: a child's parent."""

IDLE: Millis = 20
"""How long a process rests when a step found nothing to do."""

IDLE_ON_BUS: Millis = 100
"""The same where looking for something to do is a question to a broker."""


@contextmanager
def stopped_by_signals() -> Iterator[Stop]:
    """Give a `Stop` that the first SIGTERM or SIGINT sets, or the death of `PARENT`; a second one ends the process."""
    asked = threading.Event()
    parent = os.environ.get(PARENT)

    def ask(number: int, _: FrameType | None) -> None:
        asked.set()
        for one in (signal.SIGTERM, signal.SIGINT):
            signal.signal(one, signal.SIG_DFL)

    before = {one: signal.signal(one, ask) for one in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield lambda: asked.is_set() or (parent is not None and str(os.getppid()) != parent)
    finally:
        for one, handler in before.items():
            signal.signal(one, handler)

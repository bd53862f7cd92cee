"""Event time is milliseconds since the epoch, as an int; wall time comes in as a function."""

import time
from collections.abc import Callable
from typing import TypeAlias

Millis: TypeAlias = int
Clock: TypeAlias = Callable[[], Millis]

SECOND: Millis = 1_000
MINUTE: Millis = 60 * SECOND
HOUR: Millis = 60 * MINUTE
DAY: Millis = 24 * HOUR

# Beyond every event time that is accepted, and far enough from the int64 limit to add windows to.
BEGINNING: Millis = -(2**60)
END: Millis = 2**60


def system_clock() -> Millis:
    """Return the wall clock's time."""
    return time.time_ns() // 1_000_000

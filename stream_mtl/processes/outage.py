"""What a process does while something outside does not answer: it says so, waits longer and longer, and tries again."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TypeVar

import structlog

from stream_mtl.clock import MINUTE, SECOND, Millis
from stream_mtl.errors import Unavailable
from stream_mtl.processes.stop import Stop

T = TypeVar("T")

_FIRST: Millis = SECOND // 4
_LONGEST: Millis = 10 * SECOND
_LOOK: Millis = 100


def _nothing(problem: str) -> None:
    """Tell nobody."""


@dataclass(slots=True)
class Outage:
    """How long something has been away. `patience` is how long that is borne before anything has worked; None: for ever.

    `says` is told what is away, again and again while that is waited for.
    """

    patience: Millis | None = 5 * MINUTE
    says: Callable[[str], object] = _nothing
    problem: str | None = None  # what is away, None: nothing is
    _waits: Millis = field(default=_FIRST)
    _waited: Millis = 0
    _worked: bool = False

    def over(self) -> None:
        """Note that everything answers."""
        if self.problem is not None:
            structlog.get_logger().info("available_again", waited_ms=self._waited)
        self.problem, self._waits, self._waited, self._worked = None, _FIRST, 0, True

    def unless_away(self, work: Callable[[], T], stop: Stop) -> T | None:
        """Do something and return what comes of it; None if something is away: then that was waited for a while."""
        try:
            done = work()
        except Unavailable as error:
            self.wait(error, stop)
            return None
        self.over()
        return done

    def until_done(self, work: Callable[[], T], stop: Stop) -> T | None:
        """Do something, again and again while something is away; None if `stop` said so before it was done."""
        while not stop():
            try:
                done = work()
            except Unavailable as error:
                self.wait(error, stop)
            else:
                self.over()
                return done
        return None

    def wait(self, error: Unavailable, stop: Stop) -> None:
        """Note that something is away, and wait. Raises the error if it has been away too long since the start."""
        if self.problem is None:
            structlog.get_logger().warning("unavailable", detail=str(error))
        self.problem = str(error)
        if not self._worked and self.patience is not None and self._waited >= self.patience:
            raise error
        left = self._waits
        while left > 0 and not stop():
            self.says(self.problem)
            time.sleep(_LOOK / 1_000)
            left -= _LOOK
        self._waited += self._waits
        self._waits = min(2 * self._waits, _LONGEST)

"""Where the CPU seconds of a run go: calls that are watched, each without what others take inside it."""

import time
from collections import defaultdict
from collections.abc import Callable
from typing import Any


class Spans:
    """CPU seconds of the process by name.

    spans = Spans()
    spans.watch(codec, "decode", "decode")
    """

    def __init__(self) -> None:
        self.seconds: defaultdict[str, float] = defaultdict(float)
        self._inside: list[str] = []
        self._since = 0.0

    def watch(self, owner: Any, call: str, name: str) -> None:
        """Count what calls of `owner.call` take from now on under a name."""
        setattr(owner, call, self._watched(getattr(owner, call), name))

    def _watched(self, call: Callable[..., Any], name: str) -> Callable[..., Any]:
        def watched(*arguments: Any, **named: Any) -> Any:
            self._turn(lambda: self._inside.append(name))
            try:
                return call(*arguments, **named)
            finally:
                self._turn(self._inside.pop)

        return watched

    def _turn(self, change: Callable[[], Any]) -> None:
        now = time.process_time()
        if self._inside:
            self.seconds[self._inside[-1]] += now - self._since
        change()
        self._since = now

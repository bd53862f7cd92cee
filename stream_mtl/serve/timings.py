"""How many requests were answered, and how long the last ones took."""

from collections import deque

import numpy as np

LAST = 1_000


class Timings:
    """Counts answers and keeps the seconds of the last ones."""

    def __init__(self) -> None:
        self.answered = 0
        self._seconds: deque[float] = deque(maxlen=LAST)

    def add(self, seconds: float) -> None:
        """Count an answer."""
        self.answered += 1
        self._seconds.append(seconds)

    def millis(self, share: float) -> float | None:
        """Return the time that this share of the last answers kept within; None before the first."""
        return round(float(np.quantile(list(self._seconds), share)) * 1_000, 2) if self._seconds else None

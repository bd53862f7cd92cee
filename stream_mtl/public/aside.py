"""Rows that cannot be read: counted by reason, and the first of them kept, with their text."""

import json
from collections import Counter
from pathlib import Path
from types import TracebackType
from typing import Self, TextIO

KEPT = 100_000
"""Rows that are kept with their text; more are counted only."""


class Aside:
    """A file of JSON lines, made when there is something to keep: the row's number, why, its text."""

    def __init__(self, path: Path | None) -> None:
        """Keep rows in this file, or only count them."""
        self._path = path
        self._file: TextIO | None = None
        self.counts: Counter[str] = Counter()  # by reason
        self.last = 0  # the greatest number of a row set aside

    @property
    def rows(self) -> int:
        """How many rows could not be read."""
        return self.counts.total()

    def add(self, number: int, reason: str, text: str) -> None:
        """Count a row, and keep it."""
        self.last = max(self.last, number)
        if self._path is not None and self.rows < KEPT:
            if self._file is None:
                self._file = self._path.open("w", encoding="utf-8", errors="replace")
            json.dump({"row": number, "reason": reason, "text": text}, self._file)
            self._file.write("\n")
        self.counts[reason] += 1

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._file is not None:
            self._file.close()

"""One thing that is wrong with a configuration, and the nearest right word."""

import difflib
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TypeAlias

Path: TypeAlias = tuple[str, ...]
"""Where a value stands: ("events", "click", "within")."""


@dataclass(frozen=True, slots=True)
class Problem:
    """What is wrong at `path`, and what to do about it; perhaps only because of what stands at `about`."""

    path: Path
    text: str
    about: Path = ()

    def __str__(self) -> str:
        return f"{dotted(self.path)}: {self.text}" if self.path else self.text


def dotted(path: Path) -> str:
    """Return the path as a person writes it."""
    return ".".join(path)


def nearest(word: str, known: Iterable[str]) -> str:
    """Return the advice for a word that is not among the known ones: the nearest, or all of them."""
    words = list(known)
    lowered = {name.lower(): name for name in words}
    close = difflib.get_close_matches(word.lower(), lowered, n=1)
    if close:
        return f'did you mean "{lowered[close[0]]}"?'
    return f"known: {', '.join(words)}" if words else "none is known here"

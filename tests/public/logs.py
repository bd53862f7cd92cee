"""Logs of the shape of the public ones, with known contents."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

Ints = npt.NDArray[np.int64]
DAY = 86_400  # s


@dataclass(frozen=True)
class Clicks:
    """Clicks in the order of the file."""

    click: Ints  # s
    conversion: Ints  # s; -1: none
    integers: Ints  # (n, 8)
    texts: list[list[str]]  # (n, 9)

    def lines(self) -> list[str]:
        """Return the rows of the file; an integer of -9 is missing."""
        return [
            "\t".join(
                [
                    str(click),
                    "" if conversion < 0 else str(conversion),
                    *("" if value == -9 else str(value) for value in integers),
                    *texts,
                ]
            )
            for click, conversion, integers, texts in zip(
                self.click.tolist(), self.conversion.tolist(), self.integers.tolist(), self.texts, strict=True
            )
        ]

    def write(self, path: Path) -> Path:
        """Write the file."""
        path.write_text("\n".join(self.lines()) + "\n")
        return path


def clicks(
    n: int = 2_000,
    days: float = 60,
    seed: int = 0,
    rate: float = 0.25,
    early: float = 0.4,
    sort: bool = False,
    most: int = 30 * DAY,
) -> Clicks:
    """Return clicks of `days`, of which about `rate` convert: `early` of these in minutes, the others by `most`."""
    random = np.random.default_rng(seed)
    click = random.integers(0, int(days * DAY), n)
    if sort:
        click.sort()
    integers = random.integers(-1, 60, (n, 8))
    integers[random.random((n, 8)) < 0.1] = -9
    codes = random.integers(0, 12, (n, 9))
    texts = [[f"{code:02x}ab{i}" if code else "" for i, code in enumerate(row)] for row in codes.tolist()]
    lean = np.where(codes[:, 0] % 2 == 0, 1.5, 0.5) * np.where(codes[:, 1] % 3 == 0, 1.4, 0.8)
    converts = random.random(n) < rate * lean
    delay = np.where(random.random(n) < early, random.integers(0, 1_000, n), random.integers(1_000, most, n))
    return Clicks(click, np.where(converts, click + delay, -1), integers, texts)

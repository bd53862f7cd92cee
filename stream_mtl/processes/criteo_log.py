"""Criteo's conversion log in memory: click and delay of every row, in order of time, and its features as bins.

Bins are those of the ES-DFM code (Yang et al., AAAI 2021): texts are hashed into so many, integers (a missing one
is -1) scaled between least and greatest and cut into equal parts. There, these limits are those of the whole file,
the future included; here, of the clicks before the stream begins.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from stream_mtl.clock import DAY, Millis
from stream_mtl.errors import DataError
from stream_mtl.hashing import hash_column
from stream_mtl.public.aside import Aside
from stream_mtl.public.base import TIME, Ints
from stream_mtl.public.criteo import CRITEO, INTEGERS, TEXTS
from stream_mtl.public.rows import Progress, portions

INTEGER_BINS = (64, 16, 128, 64, 128, 64, 512, 512)
TEXT_BINS = (512, 128, 256, 256, 64, 256, 256, 16, 256)
FEATURES = (*INTEGERS, *TEXTS)
NEVER: Millis = 1 << 60
"""The delay of a conversion that does not come."""

_MISSING = -1
_INT32 = np.iinfo(np.int32)


@dataclass(frozen=True, slots=True)
class ClickLog:
    """Clicks in order of time, and of the file in one instant."""

    click: Ints  # (n,) ms, ascending
    delay: Ints  # (n,) ms from click to conversion; NEVER
    bins: npt.NDArray[np.int16]  # (n, features)
    unreadable: Mapping[str, int] = field(default_factory=dict)  # rows of the file, by reason

    def __len__(self) -> int:
        return len(self.click)

    def clicks(self, begin: Millis, end: Millis) -> slice:
        """Return the rows clicked in [begin, end)."""
        start, stop = np.searchsorted(self.click, (begin, end))
        return slice(int(start), int(stop))

    def fields(self, rows: Ints | slice) -> pa.Table:
        """Return the features of these rows, a column each."""
        some = self.bins[rows]
        return pa.table({name: np.ascontiguousarray(some[:, i]) for i, name in enumerate(FEATURES)})


def read_clicks(
    path: Path, progress: Progress, fit_before: Millis = 30 * DAY, rows: int | None = None
) -> ClickLog:
    """Read the log, or so many rows evenly spread over its time. Integers are scaled by clicks before `fit_before`.

    Some 50 bytes of memory a row, three times that while it is read. Raises DataError for a file of other columns.
    """
    pieces: dict[str, list[npt.NDArray[Any]]] = {name: [] for name in _COLUMNS}
    with Aside(None) as aside:
        for portion in portions(CRITEO, path, aside, progress):
            parsed = CRITEO.parse(portion.texts, portion.numbers)
            for row, reason in parsed.faults.each():
                aside.add(int(portion.numbers[row]), reason, "")
            found = _columns(parsed.events["click"], parsed.events["conversion"])
            for name, column in found.items():
                pieces[name].append(column)
    click = _whole(pieces, "click")
    if not len(click):
        raise DataError(f"{path}: no row can be read as a {CRITEO.title}: {dict(aside.counts)}")
    order = np.argsort(click, kind="stable")
    if rows is not None and rows < len(order):
        order = order[np.linspace(0, len(order) - 1, rows).astype(np.int64)]
    click, delay, texts, integers = (
        click[order],
        *(_whole(pieces, name)[order] for name in ("delay", "texts", "integers")),
    )
    bins = np.concatenate([cut(integers, int(np.searchsorted(click, fit_before))), texts], axis=1)
    return ClickLog(click, delay, bins, dict(aside.counts))


def cut(integers: npt.NDArray[np.int32], known: int) -> npt.NDArray[np.int16]:
    """Return the bin of every integer, (n, 8), by the limits of the first `known` rows (of all, if there are none).

    Of m bins the first is for what is below the limits; the others are equal parts, the last one open.
    """
    fitted = integers[:known] if known else integers
    bins = np.empty(integers.shape, np.int16)
    for i, size in enumerate(INTEGER_BINS):
        low, high = int(fitted[:, i].min()), int(fitted[:, i].max())
        share = (integers[:, i].astype(np.float64) - low) / max(high - low, 1)
        bins[:, i] = np.searchsorted(np.arange(size - 1) / (size - 1), share, side="right")
    return bins


_COLUMNS = ("click", "delay", "integers", "texts")


def _whole(pieces: dict[str, list[npt.NDArray[Any]]], name: str) -> npt.NDArray[Any]:
    """Put the pieces of a column together, and let go of them."""
    return np.concatenate(pieces.pop(name))


def _columns(clicks: pa.Table, conversions: pa.Table) -> dict[str, npt.NDArray[Any]]:
    """Return what is kept of some clicks; conversions are some of these, in the same order."""
    click, number = (clicks.column(name).to_numpy() for name in (TIME, "click_id"))
    delay = np.full(len(click), NEVER)
    place = np.searchsorted(number, conversions.column("click_id").to_numpy())
    delay[place] = conversions.column(TIME).to_numpy() - click[place]
    integers = np.empty((len(click), len(INTEGERS)), np.int32)
    for i, name in enumerate(INTEGERS):
        values = clicks.column(name).fill_null(_MISSING).to_numpy()
        integers[:, i] = np.clip(values, _INT32.min, _INT32.max)
    texts = np.empty((len(click), len(TEXTS)), np.int16)
    for i, (name, size) in enumerate(zip(TEXTS, TEXT_BINS, strict=True)):
        texts[:, i] = hash_column(clicks.column(name).combine_chunks()) % np.uint64(size)
    return dict(zip(_COLUMNS, (click, delay, integers, texts), strict=True))

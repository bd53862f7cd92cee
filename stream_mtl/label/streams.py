"""The parts that streams of examples are put together from: what is told at the look, after it, and at the end.

    es      look, late                       1 + dp examples of a chain, dp the share that comes after the look
    es+rn   look, late, real negatives       2 + dp - p
    defer   es+rn and early ones again       2

Besides, where auxiliary logits are learned, every chain is told once more at its end (`matured`).
"""

import numpy as np

from stream_mtl.clock import Millis
from stream_mtl.label.base import Kind, Kinds, Part
from stream_mtl.label.told import Bools, Told, ahead_of


def look(told: Told, wait: Millis) -> Part:
    """Return what each look sees: an event that has come by then, on the millisecond too, or none yet."""
    kind = np.where(told.happened, Kind.IP, Kind.ON).astype(np.int8)
    return Part(told.looks(wait), told.happened, kind)


def late(told: Told, wait: Millis) -> Part:
    """Return the correction of each event that comes after the look and within its window, when it comes."""
    return Part(told.events(wait), True, Kind.DP)


def real_negatives(told: Told) -> Part:
    """Return, at the end of its window, each chain without the event, a second time."""
    return Part(told.finals() & ~told.happened, False, Kind.RN)


def early_again(told: Told, wait: Millis) -> Part:
    """Return, at the end of its window, each chain whose event had come by the look, a second time."""
    return Part(told.finals() & told.happened & ~_late(told, wait), True, Kind.IP2)


def matured(told: Told, wait: Millis, until: Millis | None = None) -> Part:
    """Return, at the end of its window, what became of each chain, for the auxiliary logits alone.

    With `until`, what is told at this event time or later no more: what was learned by then stands.
    """
    rows = told.finals() if until is None else told.finals() & (told.told < until)
    return Part(rows, told.happened, _became(told.happened, _late(told, wait)))


def foreseen(told: Told, wait: Millis) -> Part:
    """Return, at its look already, what will have become of each chain. Raises ConfigError unless somebody reads ahead."""
    ahead = ahead_of(told)
    return Part(told.looks(wait) & ahead.known, ahead.label, _became(ahead.label, ahead.delay > wait))


def _became(happened: Bools, late: Bools) -> Kinds:
    came = np.where(late, Kind.MATURED_DP, Kind.MATURED_IP)
    return np.where(happened, came, Kind.MATURED_RN).astype(np.int8)


def _late(told: Told, wait: Millis) -> Bools:
    late: Bools = told.happened & (told.at > told.start + wait)
    return late

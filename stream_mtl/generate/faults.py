"""What goes wrong on the way: records overtaken, late, sent twice, sent wrong, or no records at all.

Faults do not meet: only an exposure whose key never comes back, and its children, are lost or late, only what
is on time is repeated, and what is late is so because a record that is on time has certainly overtaken it.
"""

from dataclasses import dataclass, replace
from enum import IntEnum

import numpy as np
import numpy.typing as npt

from stream_mtl.generate.options import GeneratorOptions

Ints = npt.NDArray[np.int64]
Bytes = npt.NDArray[np.int8]
Bools = npt.NDArray[np.bool_]


class Fate(IntEnum):
    """The account that a record ends in, under the rules of the chain."""

    JOINED = 0
    DUPLICATE = 1
    CONFLICT = 2
    OUTSIDE = 3
    LATE = 4
    ORPHAN = 5
    MALFORMED = 6


class Breakage(IntEnum):
    """What is wrong with the bytes of a record. A format writes what it cannot express as GARBAGE."""

    NONE = 0
    GARBAGE = 1  # bytes that are not a record
    TYPE = 2  # a text where a number should be
    TIME = 3  # an event time before 1970


@dataclass(frozen=True, slots=True)
class Records:
    """The records of one kind, in order of arrival."""

    exposure: Ints  # (m,) the place of the exposure that they are about
    time: Ints  # (m,) event time
    arrival: Ints  # (m,)
    partition: Ints  # (m,)
    fate: Bytes  # (m,) Fate
    broken: Bytes  # (m,) Breakage
    changed: Bools  # (m,) whether the payload is another than at first


def once(exposure: Ints, time: Ints, arrival: Ints, partition: Ints, fate: Bytes) -> Records:
    """Return records that are sent for the first time."""
    sound = np.zeros(len(time), np.int8)
    return Records(exposure, time, arrival, partition, fate, sound, sound.astype(np.bool_))


def arrivals(
    time: Ints, partition: Ints, wanted: Bools, options: GeneratorOptions, rng: np.random.Generator
) -> tuple[Ints, Bools]:
    """Return when records (m,) of one kind arrive, and which are late: of those `wanted`, all that can be.

    No record arrives before its event time, nor, if it is not late, beyond the lateness after it. So whatever
    came before one that is not late is at most the lateness younger: it is not behind the watermark.
    """
    behind = rng.random(len(time)) < options.disorder
    delay = np.where(behind, rng.integers(1, options.max_disorder + 2, len(time)), 0)
    arrival = time + delay.clip(max=options.max_disorder)
    rows = np.flatnonzero(wanted)
    # Partitions are judged apart: their times are moved so far that one never reaches into the next.
    apart = time + (partition << 42)
    ahead = np.flatnonzero(~wanted)
    ahead = ahead[np.lexsort((arrival[ahead], partition[ahead]))]
    marks = np.maximum.accumulate(apart[ahead])
    place = np.searchsorted(marks, apart[rows] + options.lateness, side="right")
    rows, place = rows[place < len(ahead)], place[place < len(ahead)]
    same = partition[ahead[place]] == partition[rows]
    rows, overtaking = rows[same], ahead[place[same]]
    beyond = options.lateness + 1 + (rng.standard_exponential(len(rows)) * options.late_by).astype(np.int64)
    arrival[rows] = np.maximum(arrival[overtaking], time[rows] + beyond)
    late = np.zeros(len(time), np.bool_)
    late[rows] = True
    return arrival, late


def on_the_wire(first: Records, options: GeneratorOptions, rng: np.random.Generator) -> Records:
    """Return all that arrives of one kind, in order of arrival: what was sent, what came twice, what is none.

    `first` is what was sent once, in order of event time.
    """
    drawn = rng.random(len(first.time))
    sound = first.fate != Fate.LATE
    twice = np.flatnonzero(sound & (drawn < options.duplicates + options.conflicts))
    copies = _copies(first, twice, drawn[twice] < options.conflicts, options, rng)
    noise = _noise(first, np.flatnonzero(sound & (rng.random(len(drawn)) < options.malformed)), rng)
    # At one instant of arrival: what is on time, its copies, what it has overtaken, and noise.
    rank = [np.where(sound, 0, 2), np.full(len(copies.time), 1), np.full(len(noise.time), 3)]
    everything = _joined(first, copies, noise)
    return _taken(everything, np.argsort(everything.arrival * 4 + np.concatenate(rank), kind="stable"))


def _copies(
    first: Records, rows: Ints, conflict: Bools, options: GeneratorOptions, rng: np.random.Generator
) -> Records:
    """Return second copies: half of them with a later event time, all of them before they would be late."""
    n, most = len(rows), options.repeat_within
    younger = np.where(rng.random(n) < 0.5, rng.integers(0, most + 1, n), 0)
    time = first.time[rows] + younger
    earliest = np.maximum(first.arrival[rows], time)
    latest = np.minimum(time + options.lateness, earliest + most)
    arrival = earliest + (rng.random(n) * (latest - earliest + 1)).astype(np.int64)
    fate = np.where(conflict, Fate.CONFLICT, Fate.DUPLICATE).astype(np.int8)
    again = once(first.exposure[rows], time, arrival, first.partition[rows], fate)
    return replace(again, changed=conflict)


def _noise(first: Records, rows: Ints, rng: np.random.Generator) -> Records:
    """Return broken records that arrive together with some sound ones."""
    broken = rng.integers(Breakage.GARBAGE, Breakage.TIME + 1, len(rows)).astype(np.int8)
    time = np.where(broken == Breakage.TIME, -1 - rng.integers(0, 1 << 40, len(rows)), first.time[rows])
    fate = np.full(len(rows), Fate.MALFORMED, np.int8)
    noise = once(first.exposure[rows], time, first.arrival[rows], first.partition[rows], fate)
    return replace(noise, broken=broken)


def _joined(*parts: Records) -> Records:
    names = Records.__slots__
    return Records(*(np.concatenate([getattr(part, name) for part in parts]) for name in names))


def _taken(records: Records, rows: Ints) -> Records:
    return Records(*(getattr(records, name)[rows] for name in Records.__slots__))

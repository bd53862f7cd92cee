"""The table of delayed-feedback methods: one line each."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from stream_mtl.clock import DAY, HOUR, MINUTE, SECOND, Millis
from stream_mtl.errors import ConfigError
from stream_mtl.label.base import DelayedFeedback
from stream_mtl.label.bi_defuse import BiDefuse
from stream_mtl.label.ddfm import RealNegatives
from stream_mtl.label.defer import Defer
from stream_mtl.label.defer_rn import DeferRealNegatives
from stream_mtl.label.defuse import Defuse
from stream_mtl.label.dfm import DelayModel
from stream_mtl.label.es_dfm import ElapsedSampling
from stream_mtl.label.fnc import FakeNegativeCalibrated
from stream_mtl.label.fnw import FakeNegativeWeighted
from stream_mtl.label.fsiw import FeedbackShift
from stream_mtl.label.heads import ON_STREAM, Heads, OneLook
from stream_mtl.label.oracle import Oracle
from stream_mtl.label.pu import Retraction
from stream_mtl.label.ulc import SoftLabels
from stream_mtl.label.wait import Mature, Wait

_UNITS: Mapping[str, Millis] = {"ms": 1, "s": SECOND, "m": MINUTE, "h": HOUR, "d": DAY, "w": 7 * DAY}


@dataclass(frozen=True, slots=True)
class _Entry:
    """How a method is made from its waits, of which it takes so many."""

    make: Callable[..., DelayedFeedback]
    least: int = 0
    most: int = 0


METHODS: Mapping[str, _Entry] = {
    "wait": _Entry(lambda *waits: Wait(*waits) if waits else Mature(), 0, 1),
    "oracle": _Entry(Oracle),
    "fnw": _Entry(FakeNegativeWeighted),
    "fnc": _Entry(FakeNegativeCalibrated),
    "pu": _Entry(Retraction),
    "es_dfm": _Entry(ElapsedSampling, 1, 1),
    "ddfm": _Entry(RealNegatives, 1, 1),
    "defer": _Entry(Defer, 1, 1),
    "defer_rn": _Entry(DeferRealNegatives, 1, 1),
    "defuse": _Entry(Defuse, 1, 1),
    "bi_defuse": _Entry(BiDefuse, 1, 1),
    "fsiw": _Entry(FeedbackShift, 1, 1),
    "ulc": _Entry(SoftLabels, 1, 1),
    "dfm": _Entry(lambda *waits: DelayModel(tuple(sorted(set(waits)))), 1, 8),
}
"""Every method by its name."""


def make(name: str, *waits: Millis, heads: Heads = ON_STREAM) -> DelayedFeedback:
    """Return the method of that name with its waits. `heads` is for those that have any. Raises ConfigError."""
    if name not in METHODS:
        raise ConfigError(f'there is no delayed-feedback method "{name}"; choose one of {", ".join(METHODS)}')
    entry = METHODS[name]
    if not entry.least <= len(waits) <= entry.most:
        raise ConfigError(f'"{name}" takes {entry.least} to {entry.most} waits, not {len(waits)}')
    method = entry.make(*waits)
    return replace(method, heads=heads) if isinstance(method, OneLook) else method


def parse(text: str) -> DelayedFeedback:
    """Return the method that "fnw", "wait:15m" or "wait" names. Raises ConfigError."""
    name, colon, rest = text.partition(":")
    return make(name, *(_duration(wait) for wait in rest.split(",")) if colon else ())


def _duration(text: str) -> Millis:
    written = re.fullmatch(r"\s*(\d{1,15})\s*([a-z]+)\s*", text)
    if written is None or written[2] not in _UNITS:
        raise ConfigError(f'"{text}" is no wait; write a whole number and a unit, like "15m"')
    return int(written[1]) * _UNITS[written[2]]

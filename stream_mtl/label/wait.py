"""Wait, then take what is known for the truth: after a fixed time, or at the end of the window."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from stream_mtl.clock import Millis
from stream_mtl.label.base import Emitted, Kind, Part, Plain, emitted
from stream_mtl.label.told import Bools, Told


@dataclass(frozen=True)
class Mature(Plain):
    """Teach every chain once, with its final label: unbiased, and as late as the window is long."""

    reads_final: ClassVar[bool] = True
    unreached: ClassVar[tuple[Kind, ...]] = (Kind.FINAL,)

    def emit(self, told: Told) -> Emitted:
        """Emit each final label."""
        return emitted(told, Part(told.finals(), told.happened, Kind.FINAL))


@dataclass(frozen=True)
class Wait(Plain):
    """Teach every chain once, after a fixed time, uncorrected: what comes later is taken for a no."""

    wait: Millis

    refuses_at_final: ClassVar[bool] = False
    early: ClassVar[Kind] = Kind.IP

    @property
    def waits(self) -> tuple[Millis, ...]:
        """The one look."""
        return (self.wait,)

    def emit(self, told: Told) -> Emitted:
        """Emit what each look sees."""
        kind = np.where(told.happened, Kind.IP, Kind.ON).astype(np.int8)
        return emitted(told, Part(told.looks(self.wait), told.happened, kind))

    def refuses(self, told: Told) -> Bools:
        """Return the looks that see no event: there is no second one."""
        return told.looks(self.wait) & ~told.happened

    def overtaken(self, told: Told) -> Bools:
        """Return the rows that know of an event later than the look."""
        return told.later(self.wait)

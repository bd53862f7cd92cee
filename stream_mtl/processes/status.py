"""How a process says how it is: one small file that it replaces every second, for `top`, the demo and anyone else."""

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Self, TypeAlias

import msgspec
import structlog

from stream_mtl.clock import SECOND, Clock, Millis
from stream_mtl.durable import replace_file

Facts: TypeAlias = Mapping[str, float | int | str | None]

RATED = ("events", "rows", "examples", "requests")
"""Facts that count up; beside each stands how many there were in a second of late."""


class Status(msgspec.Struct, frozen=True):
    """What one process said last."""

    role: str
    state: str  # starting, running, ended, failed
    time: Millis  # of the clock
    pid: int
    facts: dict[str, float | int | str | None]
    problem: str | None = None


class StatusFile:
    """Writes `folder`/`role`.json: "starting" when it is opened, "failed" if an exception ends it.

    A process works on while that cannot be written: a full disk is borne, and nobody is told by that file.
    """

    def __init__(self, folder: Path, role: str, clock: Clock, every: Millis = SECOND) -> None:
        self._path, self._role, self._clock, self._every = folder / f"{role}.json", role, clock, every
        self._last: tuple[Millis, dict[str, float]] | None = None
        self._due: Millis = clock()
        self._written = True

    def __enter__(self) -> Self:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        self._write("starting", {})
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is not None and not isinstance(error, KeyboardInterrupt | SystemExit):
            self._write("failed", {}, str(error) or type(error).__name__)

    def say(self, facts: Callable[[], Facts], problem: str | None = None) -> None:
        """Say how it goes, unless that was done within the last second."""
        now = self._clock()
        if now >= self._due:
            self._due = now + self._every
            self._write("running", self._with_rates(facts(), now), problem)

    def end(self, facts: Facts) -> None:
        """Say what it has come to."""
        self._write("ended", facts)

    def _with_rates(self, facts: Facts, now: Millis) -> Facts:
        counts = {name: float(facts[name] or 0) for name in RATED if name in facts}
        before, self._last = self._last, (now, counts)
        if before is None or now <= before[0]:
            return facts
        seconds = (now - before[0]) / SECOND
        rates = {
            f"{name}_per_second": round(max(count - before[1].get(name, count), 0.0) / seconds, 1)
            for name, count in counts.items()
        }
        return {**facts, **rates}

    def _write(self, state: str, facts: Facts, problem: str | None = None) -> None:
        status = Status(self._role, state, self._clock(), os.getpid(), dict(facts), problem)
        try:
            replace_file(self._path, msgspec.json.encode(status), sync=False)
        except OSError as error:
            if self._written:
                structlog.get_logger().warning("status_not_written", file=str(self._path), detail=str(error))
            self._written = False
        else:
            self._written = True


def read_status(folder: Path, role: str) -> Status | None:
    """Return what a process said last; None if it has said nothing."""
    try:
        return msgspec.json.decode((folder / f"{role}.json").read_bytes(), type=Status)
    except (FileNotFoundError, msgspec.DecodeError):
        return None

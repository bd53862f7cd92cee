"""Whether the processes of a configuration are well: what each said last, how long ago, and what to do about it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from stream_mtl.clock import SECOND, Clock, Millis
from stream_mtl.config.load import Loaded
from stream_mtl.config.problems import nearest
from stream_mtl.config.sections import Config
from stream_mtl.errors import ConfigError
from stream_mtl.join.block import Header
from stream_mtl.join.log import FileLog
from stream_mtl.processes.everything import options, roles
from stream_mtl.processes.status import Facts, Status, read_status
from stream_mtl.processes.tail import last_in_folder
from stream_mtl.processes.topics import on_topic
from stream_mtl.publish.store import SnapshotFolder
from stream_mtl.watch.words import lapse

SILENT: Final[Millis] = 10 * SECOND
"""A process says how it is every second; one that has not for so long hangs, or was killed."""

_TRYING: Final[Millis] = 60 * SECOND
"""One that waits for something is silent as long as an attempt takes: it has said what it waits for."""

_BEHIND: Final = 1
"""Snapshots that a scorer may be behind the newest, which it looks for every few seconds."""


@dataclass(frozen=True, slots=True)
class Health:
    """How one process is. `problem` is None where it is well."""

    role: str
    state: str  # absent, starting, running, silent, ended, failed
    age_ms: Millis | None  # since it said so
    pid: int | None
    facts: Facts
    problem: str | None = None
    remedy: str = ""


def health(loaded: Loaded, path: Path, clock: Clock, only: Sequence[str] = ()) -> list[Health]:
    """Return how the processes are: those of `only`, or all that the configuration has work for. Raises ConfigError."""
    known = roles(loaded)
    for role in only:
        if role not in known:
            raise ConfigError(f'--role: the configuration has no work for "{role}"; {nearest(role, known)}')
    config, now = loaded.config, clock()
    return [
        _health(config, path, role, read_status(config.run.status, role), now)
        for role in known
        if not only or role in only
    ]


def positions(config: Config) -> Mapping[str, Any] | None:
    """Return how far each source partition was read, where the log is in folders; None on a bus (`offsets show`)."""
    if on_topic(config.join.path) is not None:
        return None
    assert isinstance(config.join.path, Path)
    folders = [config.join.path / str(number) for number in range(config.join.partitions)]
    headers = [last_in_folder(FileLog(folder)) for folder in folders if folder.is_dir()]
    return {name: at for header in headers if header is not None for name, at in _positions(header).items()}


def _positions(header: Header) -> dict[str, int]:
    return {f"{one.source}/{one.partition}": one.next for one in header.progress}


def _health(config: Config, path: Path, role: str, status: Status | None, now: Millis) -> Health:
    if status is None:
        text = f"has said nothing yet (in {config.run.status})"
        return Health(role, "absent", None, None, {}, text, f"start it: {_start(role, path)}")
    age = max(now - status.time, 0)
    state = _state(status, age)
    problem, remedy = _problem(config, path, status, state, age)
    return Health(role, state, age, status.pid, status.facts, problem, remedy)


def _state(status: Status, age: Millis) -> str:
    borne = SILENT if status.problem is None else _TRYING
    return "silent" if status.state in ("running", "starting") and age > borne else status.state


def _problem(config: Config, path: Path, status: Status, state: str, age: Millis) -> tuple[str | None, str]:
    """Return what is wrong and what to do; (None, "") where all is well."""
    start = _start(status.role, path)
    if state == "failed":
        return status.problem or "failed", f"set that right, and start it again: {start}"
    if state == "ended":
        return "has ended", f"if it was to go on, start it again: {start}"
    if state == "silent":
        remedy = f"if process {status.pid} is gone, start it again: {start}; if it hangs, end it first"
        return f"has said nothing for {lapse(age)}", remedy
    if status.problem is not None:
        return status.problem, "it goes on by itself once that is set right"
    if status.role == "serve":
        return _serving(config, status)
    return None, ""


def _serving(config: Config, status: Status) -> tuple[str | None, str]:
    latest, serves = SnapshotFolder(config.publish.path).latest(), status.facts.get("snapshot")
    if serves is None:
        text = "no snapshot serves yet" if latest is None else f"no snapshot serves, though {latest} is there"
        return text, "stream-mtl run train makes them; run serve says in its log why it takes none"
    if latest is not None and int(serves) + _BEHIND < latest:
        return (
            f"snapshot {serves} serves, though {latest} is there",
            "its log says why it does not take the newer ones",
        )
    return None, ""


def _start(role: str, path: Path) -> str:
    return " ".join(["stream-mtl run", role.partition("-")[0], str(path), *options(role)])

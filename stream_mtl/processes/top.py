"""What a person sees of running processes: their files of status and readings, put together to a view."""

from pathlib import Path

from stream_mtl.clock import Clock, Millis
from stream_mtl.config.load import Loaded
from stream_mtl.processes.everything import roles
from stream_mtl.processes.status import Status, read_status
from stream_mtl.watch.board import window_name
from stream_mtl.watch.history import read_history, read_latest
from stream_mtl.watch.terminal import ProcessStatus, View

STALE: Millis = 30_000
"""A running process says how it is every second; one that has not for so long is stalled."""

_LINES = 60  # of the history


def view_of(loaded: Loaded, title: str, began: Millis, clock: Clock) -> View:
    """Return what the processes of a configuration say now."""
    config, now = loaded.config, clock()
    processes = [_process(config.run.status, role, now) for role in roles(loaded)]
    watermark = processes[0].facts.get("watermark_ms")
    windows = config.watch.windows
    return View(
        title=title,
        elapsed=now - began,
        event_time=int(watermark) if isinstance(watermark, int) else None,
        processes=processes,
        readings=read_latest(config.watch.path),
        history=read_history(config.watch.path, _LINES),
        window=window_name(min(windows)) if windows else "life",
    )


def _process(folder: Path, role: str, now: Millis) -> ProcessStatus:
    status = read_status(folder, role)
    if status is None:
        return ProcessStatus(role, "stopped", {})
    return ProcessStatus(role, _state(status, now), status.facts, status.problem)


def _state(status: Status, now: Millis) -> str:
    stalled = status.state == "running" and now - status.time > STALE
    return "stalled" if stalled else "stopped" if status.state == "ended" else status.state

"""A run in a process of its own, so that its CPU seconds and its peak of memory are its alone."""

import multiprocessing
from collections.abc import Callable
from dataclasses import replace
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, TypeVar

from stream_mtl.bench.measure import Run, peak_megabytes
from stream_mtl.errors import StreamMtlError

Result = TypeVar("Result")


def apart(call: Callable[..., Run[Result]], *arguments: Any) -> Run[Result]:
    """Call a function of a module in a new process; its run with the process's peak memory. Raises StreamMtlError."""
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe(duplex=False)
    process = context.Process(target=_called, args=(theirs, call, arguments), daemon=True)
    process.start()
    theirs.close()
    try:
        made: Run[Result] | str = ours.recv()
    except EOFError:
        made = "it said nothing"
    finally:
        process.join()
    if isinstance(made, str):
        raise StreamMtlError(f"a process of the bench ended with code {process.exitcode}: {made}")
    return made


def _called(pipe: Connection, call: Callable[..., Run[Any]], arguments: tuple[Any, ...]) -> None:
    try:
        made: Any = call(*arguments)
        made = replace(made, peak=own_peak_megabytes())
    except Exception as error:
        pipe.send(f"{type(error).__name__}: {error}")
        raise
    pipe.send(made)


def own_peak_megabytes() -> float:
    """Return the most memory that this process has held; without that of who started it, which Linux counts too."""
    path = Path("/proc/self/status")
    for line in path.read_text().splitlines() if path.is_file() else ():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) / 1024
    return peak_megabytes()

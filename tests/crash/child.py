"""The real program as a child: started, signalled, waited for, and never left behind."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from stream_mtl.errors import Unavailable

LIMIT = 240.0  # seconds; only a failure takes so long


_SHOWN = 6_000  # characters of what a child said
_SHOWS = 0.2  # seconds that it has to show where it stands


class Child:
    """One run of the program."""

    def __init__(self, nursery: "Nursery", pid: int, out: Path) -> None:
        self.pid = pid
        self.code: int | None = None
        self._nursery, self._out = nursery, out

    @property
    def name(self) -> str:
        return self._out.name

    @property
    def said(self) -> str:
        """What it wrote to stderr."""
        path = self._out.with_name(self._out.name + ".err")
        return path.read_text() if path.is_file() else ""

    def ended(self) -> bool:
        if self.code is None:
            self.code = self._nursery.ask({"look": self.pid})
        return self.code is not None

    def wait(self, limit: float = LIMIT) -> int:
        """Return the exit code, or the negative number of the signal that ended it."""
        until(self.ended, f"the end of {self._out.name}", limit)
        assert self.code is not None
        return self.code

    def send(self, number: signal.Signals) -> None:
        if not self.ended():
            os.kill(self.pid, number)

    def end(self) -> int:
        """Ask it to end, and wait."""
        self.send(signal.SIGTERM)
        return self.wait()

    def kill(self) -> None:
        self.send(signal.SIGKILL)
        self.wait()


class Nursery:
    """Where children come from. Close it: then all that still run are killed."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.crash.nursery"],
            cwd=Path(__file__).parents[2],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self._running: list[Child] = []
        self._count = 0

    def ask(self, request: Mapping[str, Any]) -> Any:
        assert self._process.stdin is not None and self._process.stdout is not None
        self._process.stdin.write(json.dumps(request) + "\n")
        self._process.stdin.flush()
        return json.loads(self._process.stdout.readline())

    def start(
        self,
        words: Sequence[str],
        folder: Path,
        environ: Mapping[str, str],
        part_bytes: int | None = None,
        wrong: str | None = None,
        file_bytes: int | None = None,
    ) -> Child:
        """Start the program; what it writes goes to files in `folder`."""
        folder.mkdir(parents=True, exist_ok=True)
        self._count += 1
        out = folder / f"{self._count:04d}-{'-'.join(words[:2])}"
        changes = {"part_bytes": part_bytes, "wrong": wrong, "file_bytes": file_bytes}
        start = {"words": list(words), "environ": dict(environ), "out": str(out), **changes}
        child = Child(self, self.ask({"start": start}), out)
        self._running.append(child)
        return child

    def clear(self) -> None:
        """End at once whatever a test has left, and print what it said: pytest shows that where a test fails."""
        for child in self._running:
            running = not child.ended()
            if running:
                child.send(signal.SIGUSR1)  # it shows where it stands
                time.sleep(_SHOWS)
            print(f"--- {child.name}, {'which ran' if running else child.code}:\n{child.said[-_SHOWN:]}")
            child.kill()
        self._running.clear()

    def close(self) -> None:
        self.clear()
        assert self._process.stdin is not None and self._process.stdout is not None
        self._process.stdin.close()
        self._process.wait(LIMIT)
        self._process.stdout.close()


@contextmanager
def nursery() -> Iterator[Nursery]:
    made = Nursery()
    try:
        yield made
    finally:
        made.close()


def until(condition: Callable[[], object], what: str, limit: float = LIMIT) -> None:
    """Wait until a condition holds. A bus that does not answer now says: not yet."""
    end = time.monotonic() + limit
    while not _holds(condition):
        assert time.monotonic() < end, f"waited in vain for {what}"
        time.sleep(0.01)


def _holds(condition: Callable[[], object]) -> bool:
    try:
        return bool(condition())
    except Unavailable:
        return False

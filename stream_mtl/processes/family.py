"""All processes of a configuration as children of one: started together, ended together, none left behind."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

from stream_mtl.errors import StreamMtlError
from stream_mtl.processes.stop import PARENT

GRACE = 20.0  # seconds that a child has to end by itself


class ChildFailed(StreamMtlError):
    """A child ended that should not have."""

    def __init__(self, role: str, code: int, log: Path | None) -> None:
        super().__init__(
            f"{role} ended with code {code}; {f'its log {log} says why' if log else 'see above'}"
        )
        self.exit_code = code if 0 < code < 128 else 1


class Family:
    """Children by role. Each is a `stream-mtl run ROLE CONFIG`, in a session of its own: Ctrl-C reaches only us."""

    def __init__(self, config: Path, arguments: Sequence[str] = (), logs: Path | None = None) -> None:
        """With `logs`, what the children write to stderr goes to files there, else to our own stderr."""
        self._config, self._arguments, self._logs = config, list(arguments), logs
        self._children: dict[str, subprocess.Popen[bytes]] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.end()

    def start(self, role: str, *options: str) -> None:
        """Start a child; what stands behind a hyphen tells several of one kind apart ("train-fresh")."""
        command = [
            sys.executable,
            "-m",
            "stream_mtl",
            "run",
            role.partition("-")[0],
            str(self._config),
            *options,
            *self._arguments,
        ]
        log = self._log(role)
        environ: Mapping[str, str] = {**os.environ, PARENT: str(os.getpid())}
        with (log or Path(os.devnull)).open("ab") as file:
            self._children[role] = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=file if log is not None else None,
                env=environ,
                start_new_session=True,
            )

    def check(self) -> None:
        """Raise ChildFailed if one has ended."""
        for role, child in self._children.items():
            if child.poll() is not None:
                raise ChildFailed(role, child.returncode, self._log(role))

    def end(self) -> None:
        """Ask all to end, wait, and end at once those that do not."""
        for child in self._children.values():
            if child.poll() is None:
                child.send_signal(signal.SIGTERM)
        limit = time.monotonic() + GRACE
        for child in self._children.values():
            try:
                child.wait(max(limit - time.monotonic(), 0.1))
            except subprocess.TimeoutExpired:
                child.kill()
                child.wait()

    def _log(self, role: str) -> Path | None:
        return None if self._logs is None else self._logs / f"{role}.log"

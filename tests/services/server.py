"""One server process: started, stopped, killed, paused and resumed, and never left behind."""

import os
import random
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

KEEPER = Path(__file__).with_name("keeper.py")
START_TIMEOUT = 90  # seconds
STOP_TIMEOUT = 40
LOOK_EVERY = 0.05

_PORTS = range(20_000, 32_000)  # below those that the system gives to clients: no retry meets itself


class NotStarted(Exception):
    """A server has ended, or was not ready in time; says what it wrote last."""


class Server:
    """A command under a keeper, in a folder of its own."""

    def __init__(
        self,
        command: Sequence[str],
        folder: Path,
        alive: Path,
        ready: Callable[[], bool],
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self._command, self._folder, self._alive, self._ready = list(command), folder, alive, ready
        self._environment = {**os.environ, **(environment or {})}
        self._keeper: subprocess.Popen[bytes] | None = None

    @property
    def running(self) -> bool:
        """Whether there is a process, paused or not."""
        return self._keeper is not None and self._keeper.poll() is None

    def start(self) -> None:
        """Return when the server answers. Raises NotStarted."""
        if self.running:
            return
        self._folder.mkdir(parents=True, exist_ok=True)
        (self._folder / "pid").unlink(missing_ok=True)
        self._keeper = subprocess.Popen(
            [sys.executable, str(KEEPER), str(self._alive), str(self._folder), *self._command],
            stdin=subprocess.DEVNULL,
            start_new_session=True,
            env=self._environment,
        )
        try:
            wait_for(lambda: not self.running or ((self._folder / "pid").exists() and self._ready()))
        except TimeoutError as error:
            self.kill()
            raise NotStarted(
                f"{self._command[0]}: not ready after {START_TIMEOUT} s; {self._last()}"
            ) from error
        if not self.running:
            raise NotStarted(f"{self._command[0]} has ended; {self._last()}")

    def stop(self) -> None:
        """End the server gently."""
        if self._keeper is not None and self.running:
            self._keeper.terminate()
            self._keeper.wait(STOP_TIMEOUT)

    def kill(self) -> None:
        """End the server at once, as a power cut would."""
        if self._keeper is not None and self.running:
            self._signal(signal.SIGKILL)
            self._keeper.wait(STOP_TIMEOUT)

    def pause(self) -> None:
        """Let the server hang: connections stay, nothing answers."""
        self._signal(signal.SIGSTOP)

    def resume(self) -> None:
        self._signal(signal.SIGCONT)

    def _signal(self, number: signal.Signals) -> None:
        os.kill(int((self._folder / "pid").read_text()), number)

    def _last(self) -> str:
        log = self._folder / "log"
        return f"its last words: {log.read_text(errors='replace')[-2_000:] if log.exists() else 'none'}"


def wait_for(true: Callable[[], bool], timeout: float = START_TIMEOUT) -> None:
    """Return when it is true. Raises TimeoutError."""
    end = time.monotonic() + timeout
    while not true():
        if time.monotonic() > end:
            raise TimeoutError(f"not true after {timeout} s")
        time.sleep(LOOK_EVERY)


def listens(port: int) -> bool:
    """Return whether something accepts connections on a port of loopback."""
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
    except OSError:
        return False
    return True


def free_port(folder: Path) -> int:
    """Return a port that nobody uses, and that nobody else who asks in this folder gets."""
    for port in random.SystemRandom().sample(_PORTS, 200):
        with socket.socket() as tried:
            tried.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                tried.bind(("127.0.0.1", port))
                (folder / f"port-{port}").touch(exist_ok=False)
            except OSError:
                continue
            return port
    raise OSError("no free port among 200 that were tried")

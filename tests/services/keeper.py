"""Runs one server for as long as its tests live: keeper.py ALIVE FOLDER COMMAND...

ALIVE is a file that the tests hold locked: the server is ended when it comes free, so also when they are killed.
FOLDER gets `pid` (the server's), `log` (what it writes) and `running` (locked as long as there is a server).
SIGTERM ends the server gently, and after PATIENCE seconds at once.
"""

import ctypes
import fcntl
import signal
import subprocess
import sys
import threading
from pathlib import Path
from types import FrameType

PATIENCE = 15
_PR_SET_PDEATHSIG = 1


def main(alive: Path, folder: Path, command: list[str]) -> int:
    with (folder / "running").open("w") as running, (folder / "log").open("ab") as log:
        fcntl.flock(running, fcntl.LOCK_EX)
        server = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            cwd=folder,
            preexec_fn=_die_with_parent if sys.platform == "linux" else None,
        )

        def asked(_: int, __: FrameType | None) -> None:
            threading.Thread(target=_end, args=(server,), daemon=True).start()

        signal.signal(signal.SIGTERM, asked)
        beside = folder / "pid.tmp"
        beside.write_text(str(server.pid))
        beside.rename(folder / "pid")
        threading.Thread(target=_outlive, args=(alive, server), daemon=True).start()
        return server.wait()


def _outlive(alive: Path, server: subprocess.Popen[bytes]) -> None:
    """Wait until nobody holds `alive`, then end the server."""
    try:
        with alive.open() as file:
            fcntl.flock(file, fcntl.LOCK_SH)
    except FileNotFoundError:
        pass
    _end(server)


def _end(server: subprocess.Popen[bytes]) -> None:
    server.terminate()
    server.send_signal(signal.SIGCONT)
    try:
        server.wait(PATIENCE)
    except subprocess.TimeoutExpired:
        server.kill()


def _die_with_parent() -> None:
    """Ask Linux to kill this process when the keeper is killed."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3:]))

"""What the workers of one test run share: a folder, a sign that the run lives, and servers that are started once.

The process that the run was started as holds `alive` locked. Shared servers belong to the run, not to the worker that
happened to start them: they live on when it dies, and end with the run, however it ends.
"""

import fcntl
import json
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.services.server import STOP_TIMEOUT, wait_for

FOLDER = "STREAM_MTL_TEST_SERVICES"
"""The environment variable in which workers find the run's folder."""

_PREFIX = "stream-mtl-services-"
_OLD = 3_600  # seconds; a younger run may just be starting


class Run:
    """The whole test run, owned by its first process."""

    def __init__(self) -> None:
        _sweep()
        self.folder = Path(tempfile.mkdtemp(prefix=_PREFIX))
        self._alive = (self.folder / "alive").open("w")
        fcntl.flock(self._alive, fcntl.LOCK_EX)
        os.environ[FOLDER] = str(self.folder)

    def end(self) -> None:
        """End what was shared, and remove its data."""
        self._alive.close()
        running = [path for path in self.folder.glob("*/running") if not _free(path)]
        wait_for(lambda: all(map(_free, running)), STOP_TIMEOUT)
        shutil.rmtree(self.folder, ignore_errors=True)


def _sweep() -> None:
    """Remove what runs left that were killed."""
    for folder in Path(tempfile.gettempdir()).glob(f"{_PREFIX}*"):
        alive = folder / "alive"
        try:
            if time.time() - alive.stat().st_mtime > _OLD and _free(alive):
                shutil.rmtree(folder, ignore_errors=True)
        except OSError:
            continue  # somebody else's, or swept by somebody else


def _free(path: Path) -> bool:
    with path.open() as file:
        try:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
    return True


def run_folder() -> Path:
    return Path(os.environ[FOLDER])


def alive() -> Path:
    return run_folder() / "alive"


@contextmanager
def locked(name: str) -> Iterator[None]:
    """Be the only worker of the run that does this."""
    with (run_folder() / f"{name}.lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def shared(name: str, start: Callable[[Path], str]) -> str:
    """Return the address of the run's server of this name; `start` is called once, with the server's folder."""
    folder = run_folder() / name
    with locked(name):
        address = run_folder() / f"{name}.address"
        if not address.exists() or _free(folder / "running"):
            address.write_text(start(folder))
        return address.read_text()


def note(kind: str, text: str) -> None:
    """Say in the run's summary which service was used."""
    with locked("notes"):
        path = run_folder() / "notes.json"
        known = json.loads(path.read_text()) if path.exists() else {}
        known[kind] = sorted({*known.get(kind, []), text})
        path.write_text(json.dumps(known))


def notes(folder: Path) -> dict[str, list[str]]:
    path = folder / "notes.json"
    return json.loads(path.read_text()) if path.exists() else {}

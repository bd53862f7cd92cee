"""No server outlives its tests, however they end."""

import fcntl
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.services.server import KEEPER, NotStarted, Server, wait_for

SLEEPER = [sys.executable, "-c", "import signal; print('up', flush=True); signal.pause()"]


@pytest.fixture
def alive(tmp_path: Path) -> Iterator[Path]:
    path = tmp_path / "alive"
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield path


def server(folder: Path, alive: Path) -> Server:
    return Server(SLEEPER, folder, alive, lambda: b"up" in (folder / "log").read_bytes())


def is_gone(folder: Path) -> bool:
    """Return whether nobody holds what a keeper holds as long as its server runs."""
    with (folder / "running").open() as file:
        try:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
    return True


def process_is_gone(number: int) -> bool:
    state = Path(f"/proc/{number}/stat")
    return not state.exists() or state.read_text().rpartition(")")[2].split()[0] == "Z"


@pytest.mark.parametrize("paused", [False, True])
@pytest.mark.parametrize("end", ["stop", "kill"])
def test_a_server_that_was_ended_is_gone_and_may_start_again(
    tmp_path: Path, alive: Path, end: str, paused: bool
) -> None:
    one = server(tmp_path / "one", alive)
    for _ in range(2):
        one.start()
        if paused:
            one.pause()
        getattr(one, end)()
        assert is_gone(tmp_path / "one") and not one.running


def test_a_server_that_ends_by_itself_says_its_last_words(tmp_path: Path, alive: Path) -> None:
    command = [sys.executable, "-c", "print('no such port'); raise SystemExit(3)"]
    with pytest.raises(NotStarted, match="no such port"):
        Server(command, tmp_path / "one", alive, lambda: False).start()


def test_a_server_ends_with_the_run_that_it_belongs_to(tmp_path: Path) -> None:
    path = tmp_path / "alive"
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        server(tmp_path / "one", path).start()
        assert not is_gone(tmp_path / "one")
    wait_for(lambda: is_gone(tmp_path / "one"))


def test_a_server_outlives_the_worker_that_started_it(tmp_path: Path, alive: Path) -> None:
    folder = tmp_path / "one"
    folder.mkdir()
    program = (
        "import subprocess, sys; subprocess.Popen(sys.argv[1:], start_new_session=True); sys.stdin.readline()"
    )
    keeper = [sys.executable, str(KEEPER), str(alive), str(folder), *SLEEPER]
    with subprocess.Popen([sys.executable, "-c", program, *keeper], stdin=subprocess.PIPE) as worker:
        wait_for(lambda: (folder / "pid").exists())
        worker.kill()
    number = int((folder / "pid").read_text())
    assert not is_gone(folder) and not process_is_gone(number)
    os.kill(number, signal.SIGKILL)
    wait_for(lambda: is_gone(folder))


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells a process that its parent has died")
def test_a_server_ends_with_its_keeper(tmp_path: Path, alive: Path) -> None:
    one = server(tmp_path / "one", alive)
    one.start()
    number = int((tmp_path / "one" / "pid").read_text())
    assert one._keeper is not None
    one._keeper.kill()
    one._keeper.wait()
    wait_for(lambda: process_is_gone(number))

"""A process ends when it is asked to, and when the parent that it was started for is gone."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch
from typer.testing import CliRunner

from stream_mtl.cli import app
from stream_mtl.processes.stop import PARENT, stopped_by_signals
from tests.processes.small import market


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_the_first_signal_asks_and_the_handlers_are_put_back(number: signal.Signals) -> None:
    before = signal.getsignal(number)
    with stopped_by_signals() as stop:
        assert not stop()
        os.kill(os.getpid(), number)
        assert stop()
        assert signal.getsignal(number) == signal.SIG_DFL  # the second one ends the process
    assert signal.getsignal(number) == before


def test_the_parents_death_ends_a_child(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(PARENT, str(os.getppid()))
    with stopped_by_signals() as stop:
        assert not stop()
        monkeypatch.setattr(os, "getppid", lambda: 1)
        assert stop()


def test_a_process_without_a_named_parent_outlives_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(PARENT, raising=False)
    with stopped_by_signals() as stop:
        monkeypatch.setattr(os, "getppid", lambda: 1)
        assert not stop()


_CHILD = """
import time
from stream_mtl.processes.stop import stopped_by_signals
with stopped_by_signals() as stop:
    print("ready", flush=True)
    while not stop():
        time.sleep(0.01)
print("ended", flush=True)
"""
_PARENT = f"""
import os, subprocess, sys
subprocess.Popen([sys.executable, "-c", {_CHILD!r}], env={{**os.environ, {PARENT!r}: str(os.getpid())}})
sys.stdin.read()
os.kill(os.getpid(), 9)
"""


def test_a_child_of_a_killed_parent_ends_by_itself() -> None:
    process = subprocess.Popen(
        [sys.executable, "-c", _PARENT], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    with process:
        assert process.stdout is not None and process.stdin is not None
        assert process.stdout.readline() == "ready\n"
        process.stdin.close()
        assert process.stdout.read() == "ended\n"
    assert process.returncode == -signal.SIGKILL


@pytest.mark.parametrize("role", ["join", "train"])
def test_a_process_that_is_asked_to_end_before_it_has_begun_says_so(
    role: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = market(tmp_path / "market", 50)

    @contextmanager
    def at_once() -> Iterator[Callable[[], bool]]:
        yield lambda: True

    monkeypatch.setattr("stream_mtl.processes.stop.stopped_by_signals", at_once)
    monkeypatch.setattr(torch, "set_deterministic_debug_mode", lambda mode: None)
    ran = CliRunner().invoke(app, ["run", role, str(config), "--follow"])
    assert ran.exit_code == 0, ran.output

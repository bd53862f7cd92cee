"""The real processes over a market that lives: a snapshot comes, scores are served, joined and watched, all end."""

import http.client
import json
import os
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from stream_mtl.clock import system_clock
from stream_mtl.processes.demo import SPEED, Demo, DemoOptions
from stream_mtl.processes.everything import address_of
from stream_mtl.processes.status import read_status
from stream_mtl.watch.history import read_latest
from stream_mtl.watch.readings import LIFE
from tests.processes.small import call, command, done

pytestmark = pytest.mark.slow

LIMIT = 120.0  # seconds; only a failure takes so long


def until(condition: Callable[[], object], what: str) -> None:
    """Wait until a condition holds."""
    limit = time.monotonic() + LIMIT
    while not condition():
        assert time.monotonic() < limit, f"waited in vain until {what}"
        time.sleep(0.1)


def post(address: str, body: object) -> tuple[int, dict[str, object]]:
    """Return the status and the answer of POST /score."""
    parts = urlsplit(address)
    connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=10)
    try:
        connection.request("POST", "/score", json.dumps(body))
        answer = connection.getresponse()
        return answer.status, json.loads(answer.read())
    finally:
        connection.close()


class People:
    """The people of a demo, who live beside processes that the test has started."""

    def __init__(self, folder: Path) -> None:
        self.demo = Demo(DemoOptions(folder, requests=30), system_clock)
        self.config = folder / "config.toml"
        self.status = folder / "status"
        self._address = ""
        self._began = self._last = 0

    def ask(self, request: str, event_time: int, candidates: object) -> list[int] | None:
        body = {"request_id": request, "time": event_time, "candidates": candidates, "by": "ctr", "top": 8}
        code, found = post(self._address, body)
        return [one["candidate"] for one in found["scores"]] if code == 200 else None  # type: ignore[attr-defined,index]

    def live(self, address: str) -> None:
        """Let some visitors come and what is due happen."""
        if not self._address:
            self._address, self._began, self._last = address, system_clock(), self.demo._begin
        now = self.demo._begin + (system_clock() - self._began) * SPEED
        self.demo.population.visit(4, self._last, now, self.ask)
        self.demo._write(now)
        self._last = now


def alive(pid: int) -> bool:
    """Return whether a process runs."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def test_everything_runs_and_ends_together(tmp_path: Path) -> None:
    people = People(tmp_path / "market")
    process = subprocess.Popen(
        command("run", "all", people.config), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        until(lambda: address_of(people.status) is not None, "the scorer answers")
        address = address_of(people.status) or ""

        def watched() -> bool:
            people.live(address)
            assert process.poll() is None
            readings = read_latest(people.demo.loaded.config.watch.path)
            return (
                readings is not None and "ctr" in readings.outputs and LIFE in readings.outputs["ctr"].views
            )

        until(watched, "served scores are measured")
        code, found = post(address, {"candidates": [{"exposure_id": "x", "user_id": 1, "item_id": 2}]})
        assert code == 200 and found["snapshot"] is not None
        second = call("run", "train", people.config)
        assert second.returncode == 5
        assert "another process works there" in second.stderr
        said = [read_status(people.status, role) for role in ("join", "train", "serve", "watch")]
        pids = [one.pid for one in said if one is not None]
        assert len(pids) == 4 and all(map(alive, pids))
        process.send_signal(signal.SIGTERM)
        assert process.wait(LIMIT) == 0
        assert not any(map(alive, pids))
    finally:
        if process.poll() is None:
            process.terminate()
            process.wait(LIMIT)


def test_a_demo_ends_with_a_report_and_snapshots(tmp_path: Path) -> None:
    folder = tmp_path / "demo"
    done("demo", "--folder", folder, "--seconds", "25", "--requests", "20")
    assert "<html" in (folder / "report.html").read_text()
    listed = json.loads(done("snapshots", "list", folder / "config.toml", "--json"))
    versions = [one["version"] for one in listed["snapshots"]]
    assert versions and listed["latest"] == versions[-1]
    states = [read_status(folder / "status", role) for role in ("join", "train", "serve", "watch")]
    assert [one.state for one in states if one is not None] == ["ended"] * 4


def test_a_folder_with_other_things_is_not_emptied(tmp_path: Path) -> None:
    (tmp_path / "diary.txt").write_text("dear")
    refused = call("demo", "--folder", tmp_path, "--seconds", "1")
    assert refused.returncode == 2 and "holds other things" in refused.stderr
    assert (tmp_path / "diary.txt").read_text() == "dear"

"""Whether the processes are well is an exit code, with what is wrong and what to do about it."""

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from stream_mtl import cli
from stream_mtl.clock import HOUR, SECOND, system_clock
from stream_mtl.processes.status import Facts, StatusFile
from stream_mtl.testing import ManualClock
from tests.test_cli_config import QUICKSTART

ALL = ("join", "train", "serve", "watch")


class Host:
    """A machine on which processes have said something."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._words = ["-X", f"run.status={folder}", "-X", f"publish.path={folder / 'snapshots'}"]

    # By default it was said just now, however long the test takes.
    def says(
        self, role: str, facts: Facts | None = None, ago: int = -HOUR, problem: str | None = None
    ) -> None:
        clock = ManualClock(system_clock() - ago)
        StatusFile(self._folder, role, clock).say(lambda: facts or {}, problem)

    def all_well(self) -> None:
        for role in ALL:
            self.says(role, {"snapshot": 3} if role == "serve" else {})

    def status(self, *words: str) -> tuple[int, str, str]:
        result = CliRunner().invoke(cli.app, ["status", str(QUICKSTART), *self._words, *words])
        return result.exit_code, result.stdout, result.stderr

    def plain(self, *words: str) -> tuple[int, dict[str, Any]]:
        code, out, _ = self.status("--json", *words)
        return code, {one["role"]: one for one in json.loads(out)["processes"]}


@pytest.fixture
def host(tmp_path: Path) -> Host:
    return Host(tmp_path)


def test_when_all_are_well_it_is_code_0(host: Host) -> None:
    host.all_well()
    code, found = host.plain()
    assert (code, {one["state"] for one in found.values()}) == (0, {"running"})
    code, out, _ = host.status()
    assert code == 0 and all(role in out for role in ALL)


def test_who_has_said_nothing_is_absent(host: Host) -> None:
    code, found = host.plain()
    assert (code, {one["state"] for one in found.values()}) == (1, {"absent"})
    assert found["join"]["remedy"] == f"start it: stream-mtl run join {QUICKSTART} --follow"


def test_who_has_fallen_silent_hangs_or_was_killed(host: Host) -> None:
    host.all_well()
    host.says("train", ago=HOUR)
    code, found = host.plain()
    assert (code, found["train"]["state"]) == (1, "silent")
    assert "has said nothing for 1 h" in found["train"]["problem"]
    assert f"if process {found['train']['pid']} is gone" in found["train"]["remedy"]
    assert host.plain("--role", "join", "--role", "watch")[0] == 0


def test_who_waits_for_something_is_not_taken_to_hang_while_it_tries(host: Host) -> None:
    host.all_well()
    host.says("train", ago=30 * SECOND, problem="kafka: no broker answered in 10 s")
    found = host.plain()[1]["train"]
    assert (found["state"], found["problem"]) == ("running", "kafka: no broker answered in 10 s")
    host.says("train", ago=HOUR, problem="kafka: no broker answered in 10 s")
    assert host.plain()[1]["train"]["state"] == "silent"


def test_who_has_failed_or_ended_is_not_well(host: Host, tmp_path: Path) -> None:
    host.all_well()
    with pytest.raises(ValueError), StatusFile(tmp_path, "join", system_clock):
        raise ValueError("the disk is full")
    StatusFile(tmp_path, "watch", system_clock).end({"rows": 3})
    code, found = host.plain()
    assert (code, found["join"]["state"], found["watch"]["state"]) == (1, "failed", "ended")
    assert found["join"]["problem"] == "the disk is full"
    code, out, _ = host.status()
    assert code == 1 and "join: the disk is full" in out and "start it again" in out


def test_what_a_process_says_is_wrong_is_passed_on(host: Host) -> None:
    host.all_well()
    host.says("join", {}, problem="kafka: no broker at localhost:9092 answered in 10 s; is it running?")
    code, found = host.plain()
    assert code == 1 and "is it running?" in found["join"]["problem"]


def test_a_scorer_without_a_snapshot_is_not_well(host: Host) -> None:
    host.all_well()
    host.says("serve", {"snapshot": None})
    code, found = host.plain()
    assert code == 1 and found["serve"]["problem"] == "no snapshot serves yet"


def test_a_role_that_there_is_not_is_wrong_usage(host: Host) -> None:
    code, _, err = host.status("--role", "jion")
    assert code == 2 and 'did you mean "join"?' in err


def test_positions_are_known_where_the_log_is_in_folders(tmp_path: Path) -> None:
    from tests.processes.small import market

    config = market(tmp_path)
    runner = CliRunner()
    assert runner.invoke(cli.app, ["run", "join", str(config)]).exit_code == 0
    ended = runner.invoke(cli.app, ["status", str(config), "--json"])
    plain = json.loads(ended.stdout)
    assert ended.exit_code == 1 and plain["processes"][0]["state"] == "ended"
    assert plain["processes"][0]["facts"]["lag_ms"] == 0
    assert all(at > 0 for at in plain["positions"].values()) and len(plain["positions"]) == 3

"""Failpoints: off unless enabled, refused when they cannot be, and each in its place."""

import ast
import os
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

import stream_mtl
from stream_mtl.errors import ConfigError
from stream_mtl.failpoints import POINTS, FailpointReached, arm, reach
from tests.test_layers import modules

ON = {"STREAM_MTL_ENABLE_FAILPOINTS": "1"}


def orders(text: str, **more: str) -> dict[str, str]:
    return {"STREAM_MTL_FAILPOINT": text, **ON, **more}


@pytest.fixture(autouse=True)
def disarmed() -> Iterator[None]:
    yield
    arm({}, False)


def reached() -> Iterator[str]:
    """Give the name of every failpoint that the product reaches, once a call."""
    for _, path in modules():
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "reach":
                (name,) = node.args
                assert isinstance(name, ast.Constant)
                yield name.value


def test_every_failpoint_is_in_one_place_and_every_place_has_its_line() -> None:
    assert Counter(reached()) == Counter(list(POINTS))
    assert all(where and where[0].islower() and not where.endswith(".") for where in POINTS.values())


def test_every_failpoint_is_tried_by_the_crash_suite() -> None:
    suite = "".join(path.read_text() for path in (Path(__file__).parent / "crash").glob("*.py"))
    assert [name for name in POINTS if f'"{name}"' not in suite and f'"{name}:' not in suite] == []


def test_nothing_happens_unless_it_was_ordered() -> None:
    arm({}, True)
    for name in POINTS:
        reach(name)


def test_an_order_that_is_not_enabled_is_refused() -> None:
    with pytest.raises(ConfigError, match="unset it, or, in a test, allow it with --enable-failpoints"):
        arm({"STREAM_MTL_FAILPOINT": "log.beside:1:raise"}, False)
    reach("log.beside")


@pytest.mark.parametrize("on", [False, True])
def test_the_option_or_the_environment_enables(on: bool) -> None:
    arm({"STREAM_MTL_FAILPOINT": "log.beside:1:raise", **({} if on else ON)}, on)
    with pytest.raises(FailpointReached, match="not renamed"):
        reach("log.beside")


def test_an_unknown_name_is_refused_with_the_nearest() -> None:
    with pytest.raises(
        ConfigError, match=r'no failpoint "join\.after_pol"; the nearest is "join\.after_poll"'
    ):
        arm(orders("join.after_pol:1:kill"), False)


@pytest.mark.parametrize(
    "text", ["log.beside", "log.beside:0:kill", "log.beside:x:kill", "log.beside:1:die", "log.beside:1:", ""]
)
def test_an_order_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match=r"no order|no failpoint"):
        arm(orders(f"log.renamed:1:kill,{text}"), False)


def test_it_acts_at_its_time_and_only_then() -> None:
    arm(orders("log.beside:2:raise,log.renamed:2+:enospc"), False)
    reach("log.beside")
    with pytest.raises(FailpointReached):
        reach("log.beside")
    reach("log.beside")
    reach("log.renamed")
    for _ in range(2):
        with pytest.raises(OSError, match="No space left"):
            reach("log.renamed")


def test_each_time_that_it_acts_is_reported_before(tmp_path: Path) -> None:
    hits = tmp_path / "hits"
    arm(
        orders(
            "log.beside:2+:sleep(1),log.beside:3:raise,log.renamed:9:kill",
            STREAM_MTL_FAILPOINT_HITS=str(hits),
        ),
        False,
    )
    reach("log.beside")
    reach("log.beside")
    with pytest.raises(FailpointReached):
        reach("log.beside")
    assert hits.read_text().splitlines() == [
        "log.beside:2:sleep(1)",
        "log.beside:3:sleep(1)",
        "log.beside:3:raise",
    ]


@pytest.mark.parametrize(("action", "code"), [("kill", -signal.SIGKILL), ("exit(9)", 9), ("exit", 1)])
def test_a_process_can_be_ended(action: str, code: int) -> None:
    program = "import os; from stream_mtl.failpoints import *; arm(os.environ, False); reach('log.beside')"
    ran = subprocess.run([sys.executable, "-c", program], env=os.environ | orders(f"log.beside:1:{action}"))
    assert ran.returncode == code


def test_the_command_line_refuses_and_enables() -> None:
    words = [sys.executable, "-m", "stream_mtl"]
    environ = os.environ | {"STREAM_MTL_FAILPOINT": "log.beside:1:kill"}
    root = Path(stream_mtl.__file__).parents[1]
    refused = subprocess.run([*words, "label", "x"], env=environ, cwd=root, capture_output=True, text=True)
    assert refused.returncode == 2
    ran = subprocess.run(
        [*words, "config", "show", "nothing.toml"], env=environ, cwd=root, capture_output=True, text=True
    )
    assert ran.returncode == 2 and "which makes processes die on purpose" in ran.stderr
    ran = subprocess.run(
        [*words, "--enable-failpoints", "config", "show", "nothing.toml"],
        env=environ,
        cwd=root,
        capture_output=True,
        text=True,
    )
    assert "die on purpose" not in ran.stderr and "nothing.toml" in ran.stderr

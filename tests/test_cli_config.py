"""The command line: data on stdout, messages on stderr, exit codes that a script can trust."""

import json
import os
import subprocess
import sys
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

import stream_mtl
from stream_mtl import cli
from stream_mtl.errors import ConfigError, Fenced, StreamMtlError, Unavailable

ROOT = Path(stream_mtl.__file__).parents[1]
QUICKSTART = ROOT / "examples/quickstart.toml"


def run(*arguments: str, cwd: Path = ROOT, **environ: str) -> subprocess.CompletedProcess[str]:
    """Run the command in a process of its own, as a user does."""
    given: Mapping[str, str] = {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), **environ}
    program = "from stream_mtl.cli import main; main()"
    return subprocess.run(
        [sys.executable, "-c", program, *arguments], capture_output=True, text=True, env=given, cwd=cwd
    )


def called(*arguments: str, environ: Mapping[str, str] | None = None) -> tuple[int, str, str]:
    """Call the command in this process: exit code, stdout, stderr."""
    result = CliRunner().invoke(cli.app, list(arguments), env=environ)
    return result.exit_code, result.stdout, result.stderr


def test_the_quickstart_is_valid() -> None:
    ran = run("config", "validate", "examples/quickstart.toml")
    assert (ran.returncode, ran.stdout, ran.stderr) == (0, "", "examples/quickstart.toml: valid\n")


def test_show_prints_toml_on_stdout_and_nothing_else() -> None:
    code, out, err = called("config", "show", str(QUICKSTART), "-X", "learn.batch_size=128")
    assert (code, err) == (0, "")
    assert tomllib.loads(out)["learn"]["batch_size"] == 128


def test_show_says_where_a_value_comes_from() -> None:
    environ = {"STREAM_MTL__LEARN__SEED": "7"}
    code, out, _ = called(
        "config", "show", str(QUICKSTART), "--origin", "-X", "serve.port=0", environ=environ
    )
    assert code == 0
    assert "seed = 7  # environment STREAM_MTL__LEARN__SEED\n" in out
    assert "port = 0  # -X serve.port\n" in out
    assert f'key = ["exposure_id"]  # {QUICKSTART}:' in out


def test_show_prints_json_on_demand() -> None:
    code, out, _ = called("config", "show", str(QUICKSTART), "--json")
    assert (code, json.loads(out)["join"]["block_every"]) == (0, "1s")
    code, out, _ = called("config", "show", str(QUICKSTART), "--json", "--origin")
    assert (code, json.loads(out)["join.block_every"]) == (0, {"value": "1s", "origin": "default"})


def test_schema_prints_json_schema() -> None:
    code, out, err = called("config", "schema")
    assert (code, err, json.loads(out)["title"]) == (0, "", "Config")


def test_validate_lists_all_faults_on_stderr_and_exits_with_2(tmp_path: Path) -> None:
    path = tmp_path / "bad.toml"
    path.write_text(
        QUICKSTART.read_text().replace("batch_size", "bach_size").replace('within = "30m"', "within = 3")
    )
    code, out, err = called("config", "validate", str(path), "-X", "serve.prt=1")
    assert (code, out) == (2, "")
    lines = err.splitlines()
    assert len(lines) == 3
    assert all(line.startswith("error: ") for line in lines)
    assert lines[0] == 'error: -X serve.prt: unknown key "prt"; did you mean "port"?'


def test_an_error_is_one_line_and_no_traceback() -> None:
    ran = run("config", "show", "nothing.toml")
    expected = "error: nothing.toml: cannot be read: No such file or directory; name an existing TOML file\n"
    assert (ran.returncode, ran.stdout, ran.stderr) == (2, "", expected)


def test_debug_shows_the_traceback() -> None:
    ran = run("--debug", "config", "show", "nothing.toml")
    assert ran.returncode == 1
    assert "Traceback" in ran.stderr and "ConfigError: nothing.toml: cannot be read" in ran.stderr


def test_an_error_is_red_on_a_terminal_unless_colour_is_not_wanted() -> None:
    red = run("config", "show", "nothing.toml", FORCE_COLOR="1", TERM="xterm").stderr
    assert red.startswith("\x1b[31merror: ")
    assert (
        "\x1b"
        not in run("config", "show", "nothing.toml", FORCE_COLOR="1", TERM="xterm", NO_COLOR="1").stderr
    )


@pytest.mark.parametrize("error", [ConfigError, Unavailable, Fenced, StreamMtlError])
def test_every_error_of_ours_exits_with_its_code(
    monkeypatch: pytest.MonkeyPatch, error: type[StreamMtlError]
) -> None:
    def fail() -> str:
        raise error("what; [bold]where[/bold]; do this")

    monkeypatch.setattr(cli.configuration, "json_schema", fail)
    assert called("config", "schema") == (error.exit_code, "", "error: what; [bold]where[/bold]; do this\n")


def test_an_error_that_is_not_ours_is_not_hidden(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail() -> str:
        raise ZeroDivisionError

    monkeypatch.setattr(cli.configuration, "json_schema", fail)
    assert isinstance(CliRunner().invoke(cli.app, ["config", "schema"]).exception, ZeroDivisionError)


def test_wrong_usage_exits_with_2() -> None:
    assert called("config", "show")[0] == 2
    assert called("conifg")[0] == 2


def test_the_version_is_printed() -> None:
    assert called("--version") == (0, f"stream-mtl {stream_mtl.__version__}\n", "")


def commands(group: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """Give the words of every command that does something."""
    for name, command in group.commands.items():
        if hasattr(command, "commands"):
            yield from commands(command, (*path, name))
        else:
            yield (*path, name)


@pytest.mark.parametrize("path", [(), *commands(typer.main.get_command(cli.app))], ids=" ".join)
def test_every_command_has_help_with_an_example(path: tuple[str, ...]) -> None:
    code, out, _ = called(*path, "--help")
    assert code == 0
    words = " ".join(out.split())
    assert f"stream-mtl {' '.join(path)}" in words[words.index("Example") :]


def test_the_effective_configuration_of_a_shown_one_is_itself(tmp_path: Path) -> None:
    shown = run("config", "show", "quickstart.toml", cwd=QUICKSTART.parent).stdout
    (tmp_path / "again.toml").write_text(shown)
    assert run("config", "show", "again.toml", cwd=tmp_path).stdout == shown


def test_the_command_line_starts_without_torch() -> None:
    program = "import sys, stream_mtl.cli; print('torch' in sys.modules)"
    ran = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, cwd=ROOT)
    assert ran.stdout == "False\n", ran.stderr

"""What a person does wrong is answered by one line on stderr, and the exit code of its kind."""

from pathlib import Path

import pytest

from tests.processes.small import call, market


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return market(tmp_path_factory.mktemp("errors") / "market", 50, "jsonl")


@pytest.mark.parametrize(
    ("words", "code", "says"),
    [
        (["run", "watch"], 2, "no kind of event is served scores"),
        (["snapshots", "show"], 4, "there is no snapshot yet"),
        (["snapshots", "show", "12"], 4, "12"),
    ],
)
def test_what_is_not_there_is_said(config: Path, words: list[str], code: int, says: str) -> None:
    ended = call(*words[:2], config, *words[2:])
    assert (ended.returncode, ended.stdout) == (code, "")
    (line,) = ended.stderr.splitlines()
    assert line.startswith("error: ") and says in line


def test_a_missing_configuration_is_said(tmp_path: Path) -> None:
    ended = call("run", "join", tmp_path / "nowhere.toml")
    assert ended.returncode == 2 and "Traceback" not in ended.stderr
    assert "nowhere.toml" in ended.stderr


@pytest.mark.parametrize("role", ["join", "replay"])
def test_a_missing_folder_of_events_is_said(tmp_path: Path, role: str) -> None:
    config = market(tmp_path / "market", 50, "jsonl")
    (config.parent / "clicks").rename(tmp_path / "elsewhere")
    options = ["--out", tmp_path / "out"] if role == "replay" else []
    ended = call(*(["replay"] if role == "replay" else ["run", role]), config, *options)
    assert (ended.returncode, ended.stdout) == (2, "")
    assert "clicks" in ended.stderr and "Traceback" not in ended.stderr

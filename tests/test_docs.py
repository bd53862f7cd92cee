"""What the documents say runs, and says what it says."""

import os
import re
import shlex
import shutil
import subprocess
import sys
import uuid
from pathlib import Path

import pytest

from tests.services.kafka import Broker

ROOT = Path(__file__).parent.parent
PYTHON = re.compile(r"```python\n(.*?)```", re.DOTALL)
BROKER = re.compile(r"<!-- run with a broker -->\n```console\n(.*?)```.*?```text\n(.*?)```", re.DOTALL)
CONSOLE = re.compile(r"<!-- run -->\n```console\n(.*?)```", re.DOTALL)
LINK = re.compile(r"\]\(([^)#:]+)\)")
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")])


@pytest.mark.parametrize(
    "page", [page for page in PAGES if PYTHON.search(page.read_text())], ids=lambda p: p.name
)
def test_the_python_of_a_page_runs_from_top_to_bottom(page: Path) -> None:
    names: dict[str, object] = {"__name__": "page"}
    for block in PYTHON.findall(page.read_text()):
        exec(compile(block, str(page), "exec"), names)


@pytest.mark.parametrize(
    "page", [page for page in PAGES if CONSOLE.search(page.read_text())], ids=lambda p: p.name
)
def test_the_commands_of_a_page_run(page: Path, tmp_path: Path) -> None:
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    for block in CONSOLE.findall(page.read_text()):
        for line in block.splitlines():
            subprocess.run(shlex.split(line), cwd=tmp_path, check=True, env={**os.environ, "PATH": path})


def test_the_page_about_kafka_runs_on_a_broker_and_prints_what_it_shows(
    broker: Broker, tmp_path: Path
) -> None:
    shutil.copytree(ROOT / "examples", tmp_path / "examples")
    mark = uuid.uuid4().hex
    topics = ("impressions", "clicks", "conversions", "transitions", "dead-letters")
    example = tmp_path / "examples/kafka.toml"
    text = example.read_text()
    for topic in topics:  # others use this broker too
        text = text.replace(f'"kafka:{topic}"', f'"kafka:{topic}-{mark}"')
    example.write_text(text)
    environ = {
        **os.environ,
        "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]]),
        "STREAM_MTL__KAFKA__BOOTSTRAP_SERVERS": broker.bootstrap,
    }
    found = BROKER.search((ROOT / "docs/kafka.md").read_text())
    assert found is not None
    for line in found[1].splitlines():
        words = [f"{word}-{mark}" if word in topics else word for word in shlex.split(line)]
        ran = subprocess.run(words, cwd=tmp_path, env=environ, capture_output=True, text=True, check=False)
        assert ran.returncode == 0, (line, ran.stderr)
        if "run join" in line:
            assert ran.stdout.split() == found[2].split()


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    for target in LINK.findall(page.read_text()):
        assert (page.parent / target).exists(), target


def test_what_the_readme_shows_is_what_the_commands_print(tmp_path: Path) -> None:
    shown = re.search(r"```text\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    assert shown is not None
    command = [str(Path(sys.executable).parent / "stream-mtl")]
    gen = [*command, "gen", "market", "--impressions", "50000", "--seed", "1"]
    subprocess.run(gen, cwd=tmp_path, check=True, capture_output=True)
    join = [*command, "run", "join", "market/config.toml"]
    printed = subprocess.run(join, cwd=tmp_path, check=True, capture_output=True, text=True).stdout
    assert [line.split() for line in printed.split("\n") if line.strip()] == [
        line.split() for line in shown[1].split("\n") if line.strip()
    ]


def test_examples_are_valid() -> None:
    command = [str(Path(sys.executable).parent / "stream-mtl"), "config", "validate"]
    for example in sorted((ROOT / "examples").glob("*.toml")):
        subprocess.run([*command, str(example)], check=True)

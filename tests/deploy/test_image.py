"""deploy/Dockerfile: no findings, pinned, small in its last stage, run by nobody in particular."""

import re
import sys
import tomllib
from pathlib import Path

from tests.deploy.files import DEPLOY, ROOT, run

TEXT = (DEPLOY / "Dockerfile").read_text()
STAGES = re.split(r"(?m)^(?=FROM )", TEXT)[1:]


def test_hadolint_finds_nothing() -> None:
    beside = Path(sys.executable).parent / "hadolint"
    checked = run(
        str(beside) if beside.exists() else "hadolint", "--no-color", "deploy/Dockerfile", needed=True
    )
    assert (checked.returncode, checked.stdout + checked.stderr) == (0, "")


def test_both_stages_begin_with_the_same_pinned_image() -> None:
    images = [stage.split()[1] for stage in STAGES]
    assert len(images) == 2 and len(set(images)) == 1
    assert re.fullmatch(r"python:3\.11\.\d+-slim-\w+", images[0])


def test_torch_is_the_one_that_the_project_wants() -> None:
    wanted = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["dependencies"]
    (torch,) = [one for one in wanted if one.startswith("torch")]
    (version,) = re.findall(r"torch==(\d+\.\d+)\.\d+", TEXT)
    assert torch.startswith(f"torch>={version},")
    assert version in re.findall(r"torch==(\d+\.\d+)", (ROOT / ".ci" / "run").read_text())


def test_the_last_stage_builds_nothing_and_runs_as_a_numbered_user() -> None:
    last = STAGES[-1]
    assert not re.search(r"apt-get|pip |gcc|build-essential", last)
    assert re.search(r"(?m)^USER 10001:10001$", last)
    assert re.search(r'(?m)^ENTRYPOINT \["stream-mtl"\]$', last)
    assert last.index("USER ") < last.index("ENTRYPOINT ")


def test_what_is_copied_is_there_and_not_ignored() -> None:
    kept = {line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    copied = {word for line in re.findall(r"(?m)^COPY (?!--from)(.*)$", TEXT) for word in line.split()[:-1]}
    assert copied == kept and all((ROOT / name).exists() for name in copied)

"""A replay joins and learns what the processes join and learn, and its accounts are the generator's truth."""

import json
from collections.abc import Sequence
from pathlib import Path

import pytest

from stream_mtl.errors import ConfigError
from stream_mtl.processes.declared import declared
from stream_mtl.processes.digest import digest
from stream_mtl.processes.join import join
from stream_mtl.processes.recipe import recipe_of
from stream_mtl.processes.replay import Replayed, replay
from stream_mtl.processes.summary import report_of
from stream_mtl.processes.train import train
from stream_mtl.watch.report import as_plain, html
from tests.processes.small import SMALL, loaded, market, truth

SCORES = """
[events.scored]
source = "files:scored/*.jsonl"
time = "ts"
before = "impression"
within = "10m"
fields = { exposure_id = "string", snapshot = "long", ctr = "double" }
"""


def never() -> bool:
    return False


def replayed(config: Path, overrides: Sequence[str] = SMALL) -> Replayed:
    """Replay a configuration."""
    return replay(loaded(config, overrides), config.parent / "aside", never, lambda *_: None)


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return market(tmp_path_factory.mktemp("replay") / "market", format="jsonl")


@pytest.fixture(scope="module")
def made(config: Path) -> Replayed:
    return replayed(config)


def test_the_accounts_of_a_replay_are_the_truth(config: Path, made: Replayed) -> None:
    assert made.accounts == truth(config)


def test_a_replay_learns_what_the_processes_learn(config: Path, made: Replayed) -> None:
    whole = loaded(config)
    join(whole, never)
    train(whole, never)
    found = digest(whole)
    assert {name: found[name] for name in made.digest} == made.digest
    assert {"transitions", "rows", "weights", "optimiser", "measures"} == made.digest.keys()


@pytest.mark.parametrize("rows", [97, 1_000_000])
def test_a_replay_does_not_depend_on_how_it_is_read(config: Path, made: Replayed, rows: int) -> None:
    again = replayed(config, [*SMALL, f"join.poll_rows={rows}"])
    assert again.digest == made.digest
    assert again.accounts == made.accounts


def test_an_oracle_works_in_a_replay_and_is_refused_by_the_trainer(config: Path) -> None:
    oracle = [*SMALL, "tasks.cvr.method=oracle", "learn.path=elsewhere"]
    assert replayed(config, oracle).tally.examples > 0
    with pytest.raises(ConfigError, match=r"tasks\.cvr\.method"):
        train(loaded(config, oracle), never)


@pytest.mark.parametrize("folder", [False, True])
def test_events_without_served_scores_are_replayed_and_the_report_says_so(
    tmp_path: Path, folder: bool
) -> None:
    config = market(tmp_path / "market", 1_000, "jsonl")
    bare = replayed(config)
    config.write_text(config.read_text() + SCORES)
    if folder:
        (config.parent / "scored").mkdir()
    found = replayed(config)
    assert {kind: counts for kind, counts in found.accounts.items() if kind != "scored"} == bare.accounts
    assert sum(found.accounts["scored"].values()) == 0
    assert found.digest["weights"] == bare.digest["weights"]
    notes = report_of(found, "A replay", config).notes
    assert any("scored/*.jsonl" in note for note in notes)


def test_other_events_without_a_file_are_an_error(tmp_path: Path) -> None:
    config = market(tmp_path / "market", 100, "jsonl")
    for path in (config.parent / "clicks").iterdir():
        path.unlink()
    with pytest.raises(ConfigError, match="no file matches"):
        replayed(config)


@pytest.mark.parametrize("relation", ["independent", "esmm"])
def test_join_and_model_agree_on_the_lessons(config: Path, relation: str) -> None:
    made = declared(loaded(config, [f"model.relation={relation}"]))
    plan = recipe_of(made).plan
    assert [(one.name, one.task, one.path) for one in plan.lessons] == [
        (one.name, one.task, one.path) for one in made.plan.lessons
    ]
    assert plan.waits == made.plan.waits
    assert plan.features_on_final == made.plan.features_on_final


LABELLED = """
[events.row]
source = "files:rows.csv"
format = "csv"
fields = { colour = "string" }

[tasks.large]
event = "row"
where = { size = "large" }

[tasks.heavy]
event = "row"
where = { weight = "heavy" }

[features.colour]
type = "categorical"

[features.age]
type = "numeric"

[learn]
batch_size = 16
"""


def test_rows_that_bring_their_labels_are_learned_and_reported(tmp_path: Path) -> None:
    rows = [
        f"{'red' if i % 3 else 'blue'},{i % 50},{'large' if i % 3 else 'small'},{'heavy' if i % 7 else 'light'}"
        for i in range(1_200)
    ]
    (tmp_path / "rows.csv").write_text("\n".join(["colour,age,size,weight", *rows]) + "\n")
    config = tmp_path / "rows.toml"
    config.write_text(LABELLED)
    made = replayed(config, [])
    assert made.accounts == {"row": {"joined": 1_200, "malformed": 0}}
    assert made.tally.examples == 1_200
    plain = as_plain(report_of(made, "Rows", config))
    json.dumps(plain, allow_nan=False)
    readings = {task["name"]: task["reading"] for task in plain["tasks"]}
    assert readings["large"]["examples"] == readings["heavy"]["examples"] == 1_200
    assert readings["large"]["auc"] > 0.7  # the colour tells the size
    assert "<html" in html(report_of(made, "Rows", config))
    assert replayed(config, ["join.poll_rows=53"]).digest == made.digest

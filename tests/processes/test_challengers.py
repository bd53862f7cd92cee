"""A challenger learns from the champion's log what it would learn as the champion, and publishes beside it."""

import json
from pathlib import Path

import pytest

from stream_mtl.config.challengers import challenger
from stream_mtl.errors import FingerprintMismatch
from stream_mtl.processes.challengers import standings
from stream_mtl.processes.digest import digest
from stream_mtl.processes.everything import options, roles
from stream_mtl.processes.join import join
from stream_mtl.processes.status import read_status
from stream_mtl.processes.train import train
from stream_mtl.publish.store import SnapshotFolder
from tests.processes.small import SMALL, done, loaded, market

OTHERWISE = ("tasks.cvr.method=fnw", "model.bottom=[16]")
DECLARED = f"challengers.fresh={json.dumps(list(OTHERWISE))}"


def never() -> bool:
    return False


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return market(tmp_path_factory.mktemp("challengers") / "market", 1_500)


def test_it_learns_what_it_would_learn_alone_and_leaves_the_champion_as_it_was(config: Path) -> None:
    base = loaded(config, [*SMALL, DECLARED])
    join(base, never)
    train(base, never)
    champion = digest(base)
    fresh = challenger(base, "fresh")
    train(fresh, never)
    assert digest(base) == champion
    alone = loaded(config, [*SMALL, *OTHERWISE, "learn.path=alone", "publish.path=alone-snapshots"])
    train(alone, never)
    for name in ("weights", "optimiser", "measures"):
        assert digest(fresh)[name] == digest(alone)[name] != champion[name]
    assert SnapshotFolder(fresh.config.publish.path).versions()
    statuses = {role: read_status(base.config.run.status, role) for role in ("train", "train-fresh")}
    assert all(status is not None and status.state == "ended" for status in statuses.values())
    first, second = standings(base)
    assert (first.name, second.name, second.otherwise) == ("champion", "fresh", OTHERWISE)
    assert first.life.keys() == second.life.keys() != set()


def test_all_processes_of_a_configuration_are_started_and_told_apart(config: Path) -> None:
    base = loaded(config, [*SMALL, DECLARED])
    assert roles(base)[:4] == ("join", "train", "train-fresh", "serve")
    assert options("train-fresh") == ["--follow", "--challenger", "fresh"]
    assert options("train") == ["--follow"] and options("serve") == []


def test_a_look_that_the_log_lacks_is_refused_and_one_that_was_planned_is_there(tmp_path: Path) -> None:
    config = market(tmp_path / "market", 500)
    join(loaded(config, [*SMALL, 'tasks.cvr.looks=["1h"]']), never)
    with pytest.raises(FingerprintMismatch, match="waits"):
        train(challenger(loaded(config, [*SMALL, 'challengers.x=["tasks.cvr.method=wait:30m"]']), "x"), never)
    planned = ['tasks.cvr.looks=["1h"]', 'challengers.x=["tasks.cvr.method=wait:1h"]']
    assert train(challenger(loaded(config, [*SMALL, *planned]), "x"), never)["examples"]


def test_the_commands_take_its_name(config: Path) -> None:
    words = ("run", "train", config, "--challenger", "fresh", "--json")
    assert json.loads(done(*words, overrides=[*SMALL, DECLARED]))["examples"] > 0
    shown = json.loads(done("challengers", config, "--json", overrides=[*SMALL, DECLARED]))
    assert [one["name"] for one in shown] == ["champion", "fresh"]
    listed = json.loads(
        done("snapshots", "list", config, "--challenger", "fresh", "--json", overrides=[*SMALL, DECLARED])
    )
    assert listed["snapshots"]

"""The two tutorial examples train on generated events of their shape, each task at its own pace."""

import runpy
from pathlib import Path

import pytest

from stream_mtl.config.load import load
from stream_mtl.measures import count
from stream_mtl.processes.replay import replay

EXAMPLES = Path(__file__).parents[2] / "examples"

LIVE = {
    "is_click": (),
    "is_view": ("is_click",),
    "view_costtime": ("is_click", "is_view"),
    "is_on_mic": ("is_click",),
    "on_mic_duration": ("is_click", "is_on_mic"),
}


@pytest.mark.parametrize(("scene", "file"), [("live", "dbmtl-live.toml"), ("pages", "two-pages.toml")])
def test_every_task_of_an_example_learns_and_matures_by_its_own_window(
    tmp_path: Path, scene: str, file: str
) -> None:
    write = runpy.run_path(str(EXAMPLES / "tutorial_events.py"))["write"]
    write(scene, tmp_path, 1_500, every=10)
    loaded = load(EXAMPLES / file, {}, [], tmp_path)
    found = replay(loaded, tmp_path / "aside", lambda: False, lambda *_: None)
    assert all(counts["joined"] == sum(counts.values()) for counts in found.accounts.values())
    for name in loaded.config.tasks:
        assert count(found.measures[name]) > 20, name
        assert len(found.losses[name]) > 5, name


def test_the_live_example_is_the_graph_of_the_tutorial() -> None:
    config = load(EXAMPLES / "dbmtl-live.toml", {}).config
    parents = {name: task.parents or () for name, task in config.tasks.items()}
    assert parents == LIVE
    assert (config.model.bottom, config.model.towers) == ((512, 256), (128, 96, 64))
    assert config.model.relation_widths == (32,)

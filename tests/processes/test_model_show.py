"""A configured model shown: as a tree, as data, as a picture."""

import json
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest
from typer.testing import CliRunner

from stream_mtl.cli import app
from stream_mtl.config.load import load
from stream_mtl.processes.model_show import picture, shown

EXAMPLE = Path(__file__).parents[2] / "examples/quickstart.toml"
SVG = "{http://www.w3.org/2000/svg}"


def run(*arguments: str) -> str:
    ran = CliRunner().invoke(app, ["model", "show", str(EXAMPLE), *arguments])
    assert ran.exit_code == 0, ran.output
    return ran.stdout


def test_the_tree_shows_parts_shapes_weights_and_what_reads_what(tmp_path: Path) -> None:
    printed = run("-X", "model.relation=dbmtl", "-X", "model.name=mmoe")
    for words in ("mmoe, dbmtl: ", "4 experts", "(B, 57) to (B, 4, 32)", "reads tower.cvr, relation.ctr"):
        assert words in printed


def test_the_same_as_data_says_which_task_depends_on_which() -> None:
    found = json.loads(run("--json", "-X", "model.relation=dbmtl"))
    assert found["tasks"] == {
        "ctr": {"reads": []},
        "cvr": {"reads": ["ctr"]},
        "order_value": {"reads": ["cvr"]},
    }
    assert found["parameters"] == sum(node["parameters"] for node in found["nodes"])


@pytest.mark.parametrize("name", ["logistic", "shared_bottom", "mmoe", "ple"])
@pytest.mark.parametrize("relation", ["independent", "esmm", "dbmtl", "gmsl", "aitm"])
def test_the_picture_has_a_box_for_every_part_and_boxes_do_not_overlap(name: str, relation: str) -> None:
    model = shown(load(EXAMPLE, {}, [f"model.name={name}", f"model.relation={relation}"]))
    drawing = ET.fromstring(picture(model))
    texts = {text.text for text in drawing.iter(f"{SVG}text")}
    assert {node.title for node in model.nodes} <= texts
    edges = [path for path in drawing.iter(f"{SVG}path") if path.get("marker-end")]
    assert len(edges) == sum(len(node.reads) for node in model.nodes)
    boxes = [
        tuple(float(rect.get(key, "")) for key in ("x", "y", "width", "height"))
        for rect in drawing.iter(f"{SVG}rect")
        if rect.get("rx")
    ]
    assert len(boxes) == len(model.nodes)
    for i, (x, y, width, height) in enumerate(boxes):
        assert x + width <= float(drawing.get("width", "")) and y + height <= float(drawing.get("height", ""))
        for a, b, wide, tall in boxes[:i]:
            assert x >= a + wide or a >= x + width or y >= b + tall or b >= y + height


def test_the_picture_is_written_beside_what_is_printed(tmp_path: Path) -> None:
    printed = run("--svg", str(tmp_path / "model.svg"), "--json")
    assert json.loads(printed)["model"] == "shared_bottom, esmm"
    assert (tmp_path / "model.svg").read_text().startswith("<svg ")


def test_a_model_that_cannot_be_built_is_refused_in_one_line(tmp_path: Path) -> None:
    arguments = ["model", "show", str(EXAMPLE), "-X", "model.interaction=deepfm"]
    ran = CliRunner().invoke(app, arguments)
    assert ran.exit_code == 2
    assert "give all features one dim" in ran.stderr

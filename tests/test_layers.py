"""Imports point up the list of packages: the folders, read from top to bottom, are the data's way."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import stream_mtl

ROOT = Path(stream_mtl.__file__).parent

PACKAGES = (
    "connectors",
    "events",
    "join",
    "label",
    "learn",
    "publish",
    "serve",
    "watch",
    "generate",
    "public",
)
LEAVES = ("clock", "durable", "errors", "failpoints", "hashing", "measures", "varint")
TOPS = ("config", "processes", "cli", "bench", "testing")  # may import anything; no package imports them

WITHOUT_TORCH = PACKAGES[: PACKAGES.index("learn")]
LEAVES_OF_LEAVES = ("clock", "errors", "failpoints")


def allowed(part: str) -> frozenset[str]:
    """Return the parts of the product that `part` may import besides itself."""
    if part in LEAVES:
        return frozenset(LEAVES_OF_LEAVES)
    if part in PACKAGES:
        return frozenset(PACKAGES[: PACKAGES.index(part)] + LEAVES)
    return frozenset(PACKAGES + LEAVES + TOPS)


def imported(source: str, module: str) -> Iterator[str]:
    """Give the dotted name of everything that a module imports, wherever in it the import stands."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = module.rsplit(".", node.level)[0] + "." if node.level else ""
            yield from (f"{base}{node.module or ''}.{alias.name}".replace("..", ".") for alias in node.names)


def faults(source: str, module: str) -> list[str]:
    """Return what a module (stream_mtl.join.joiner) imports against the rules."""
    part = module.split(".")[1]
    wrong = []
    for name in imported(source, module):
        parts = name.split(".")
        ours = parts[0] == "stream_mtl" and len(parts) > 1 and parts[1] != part
        if ours and parts[1] != "__version__" and parts[1] not in allowed(part):
            wrong.append(name)
        if (part in WITHOUT_TORCH or part in LEAVES) and "torch" in parts:
            wrong.append(name)
    return wrong


def modules() -> Iterator[tuple[str, Path]]:
    for path in sorted(ROOT.rglob("*.py")):
        parts = path.relative_to(ROOT).with_suffix("").parts
        if parts != ("__init__",):
            yield ".".join(("stream_mtl", *parts)), path


@pytest.mark.parametrize(("module", "path"), [pytest.param(*found, id=found[0]) for found in modules()])
def test_a_module_imports_only_from_above_it(module: str, path: Path) -> None:
    assert faults(path.read_text(), module) == []


def test_every_part_of_the_product_has_its_place_in_the_order() -> None:
    found = {module.split(".")[1] for module, _ in modules()} - {"__main__"}
    assert found <= {*PACKAGES, *LEAVES, *TOPS}


def test_one_module_knows_kafka_python_and_the_plain_loop_that_it_is_measured_beside() -> None:
    known = [
        module
        for module, path in modules()
        if "kafka" in {n.split(".")[0] for n in imported(path.read_text(), module)}
    ]
    assert known == ["stream_mtl.bench.plain_bus", "stream_mtl.connectors.kafka"]


def test_the_package_itself_imports_nothing() -> None:
    assert list(imported((ROOT / "__init__.py").read_text(), "stream_mtl.__init__")) == []


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("stream_mtl.join.joiner", "from stream_mtl.label import wait"),
        ("stream_mtl.join.joiner", "import stream_mtl.watch.sums"),
        ("stream_mtl.join.joiner", "from stream_mtl import config"),
        ("stream_mtl.join.joiner", "def late():\n    from stream_mtl.processes import join"),
        ("stream_mtl.join.joiner", "from ..learn import trainer"),
        ("stream_mtl.join.joiner", "from .. import cli"),
        ("stream_mtl.join.joiner", "from stream_mtl.testing import ManualClock"),
        ("stream_mtl.label.wait", "import torch.nn"),
        ("stream_mtl.label.wait", "from torch import Tensor"),
        ("stream_mtl.events.codec", "from safetensors.torch import load"),
        ("stream_mtl.measures", "import torch"),
        ("stream_mtl.measures", "from stream_mtl.events.types import Events"),
        ("stream_mtl.clock", "from stream_mtl.hashing import mix"),
    ],
)
def test_an_import_down_the_list_is_found(module: str, source: str) -> None:
    assert faults(source, module)


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("stream_mtl.join.joiner", "from stream_mtl.events.types import Events\nfrom . import spec"),
        ("stream_mtl.join.joiner", "from ..events import types\nimport stream_mtl.clock, numpy"),
        ("stream_mtl.learn.trainer", "import torch\nfrom stream_mtl import measures"),
        ("stream_mtl.measures", "from stream_mtl.clock import Millis"),
        ("stream_mtl.cli", "from stream_mtl import __version__, processes"),
    ],
)
def test_an_import_up_the_list_is_not(module: str, source: str) -> None:
    assert faults(source, module) == []


def test_neither_the_command_line_nor_the_packages_above_learn_load_torch() -> None:
    names = [name for name, _ in modules() if name.split(".")[1] in (*WITHOUT_TORCH, "config", "cli")]
    program = f"import sys\nfor name in {names!r}: __import__(name)\nsys.exit('torch' in sys.modules)"
    ran = subprocess.run([sys.executable, "-c", program], cwd=ROOT.parent, capture_output=True, text=True)
    assert ran.returncode == 0, ran.stderr

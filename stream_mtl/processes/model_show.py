"""What a configured model is made of, as data and as a picture (loads torch)."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from html import escape
from typing import Any

from stream_mtl.config.load import Loaded
from stream_mtl.learn.models import RELATIONS
from stream_mtl.learn.outline import Node, outline
from stream_mtl.processes.declared import declared
from stream_mtl.processes.recipe import recipe_of


@dataclass(frozen=True, slots=True)
class Shown:
    """A model's parts, and which task reads which."""

    name: str  # as the configuration chooses it
    nodes: tuple[Node, ...]
    reading: Mapping[str, tuple[str, ...]]

    @property
    def parameters(self) -> int:
        """The number of all weights, embedding rows not counted."""
        return sum(node.parameters for node in self.nodes)

    def groups(self) -> dict[str, list[Node]]:
        """Return the nodes by group, in order."""
        found: dict[str, list[Node]] = {}
        for node in self.nodes:
            found.setdefault(node.group, []).append(node)
        return found

    def as_data(self) -> dict[str, Any]:
        """Return all of it as plain data."""
        return {
            "model": self.name,
            "parameters": self.parameters,
            "tasks": {task: {"reads": list(reads)} for task, reads in self.reading.items()},
            "nodes": [asdict(node) for node in self.nodes],
        }


def shown(loaded: Loaded) -> Shown:
    """Return what a configuration's model is made of. Raises ConfigError."""
    recipe = recipe_of(declared(loaded))
    options = recipe.model
    bottom = () if options.interaction == "none" else (options.interaction,)
    name = ", ".join((*bottom, options.name, options.relation))
    methods = {task: str(declared_.method) for task, declared_ in loaded.config.tasks.items()}
    return Shown(name, outline(recipe, methods), RELATIONS[options.relation].reading(recipe.tasks, options))


_CHAR, _LINE, _PAD, _GAP, _BETWEEN, _AROUND = 6.7, 15, 8, 72, 14, 34  # px
_MOST_LINES = 16
_COLUMNS: Mapping[str, str] = {"gates": "experts", "auxiliary": "outputs"}
"""Groups that stand in the column of another."""

_FILLS: Mapping[str, str] = {
    "features": "#e8eef7",
    "bottom": "#e6f2e6",
    "experts": "#fdf1dc",
    "gates": "#fbe6cf",
    "towers": "#efe7f6",
    "relation": "#fde4e4",
    "outputs": "#e2f1f3",
    "auxiliary": "#eeeeee",
}


@dataclass(frozen=True, slots=True)
class _Box:
    node: Node
    lines: tuple[str, ...]
    x: float
    y: float
    width: float
    height: float


def picture(model: Shown) -> str:
    """Return an SVG drawing: columns from the features to the outputs, lines from what is read to what reads it."""
    boxes = _laid_out(model)
    width = max(box.x + box.width for box in boxes.values()) + _GAP
    height = max(box.y + box.height for box in boxes.values()) + 2 * _PAD
    title = f"{model.name}: {model.parameters:,} weights"
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:.0f} {height:.0f}" '
        f'width="{width:.0f}" height="{height:.0f}" font-family="ui-monospace, Menlo, Consolas, monospace" '
        'font-size="11">',
        f"<title>{escape(title)}</title>",
        '<defs><marker id="tip" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" markerHeight="7" '
        'orient="auto"><path d="M0 0L8 4L0 8z" fill="#667"/></marker></defs>',
        '<rect width="100%" height="100%" fill="white"/>',
        f'<text x="{_PAD * 2}" y="{_PAD * 3}" font-size="14" font-weight="bold" fill="#223">{escape(title)}</text>',
        *_edges(boxes),
        *(line for box in boxes.values() for line in _drawn(box)),
        "</svg>",
    ]
    return "\n".join(parts) + "\n"


def _laid_out(model: Shown) -> dict[str, _Box]:
    columns: dict[str, list[Node]] = {}
    for node in model.nodes:
        columns.setdefault(_COLUMNS.get(node.group, node.group), []).append(node)
    # the order of the columns is that of the way through the model
    order = sorted(columns, key=lambda name: (name == "outputs", [*columns].index(name)))
    lines = {node.name: _lines(node) for node in model.nodes}
    heights = {name: _LINE * len(some) + 2 * _PAD for name, some in lines.items()}
    tall = {name: sum(heights[n.name] + _BETWEEN for n in columns[name]) - _BETWEEN for name in order}
    boxes, x = {}, 2.0 * _PAD
    for name in order:
        width = max(_CHAR * len(line) for node in columns[name] for line in lines[node.name]) + 2 * _PAD
        y = 5.0 * _PAD + (max(tall.values()) - tall[name]) / 2
        for node in columns[name]:
            boxes[node.name] = _Box(node, lines[node.name], x, y, width, heights[node.name])
            y += heights[node.name] + _BETWEEN
        x += width + _GAP
    return boxes


def _lines(node: Node) -> tuple[str, ...]:
    facts: Sequence[str] = node.facts
    if len(facts) > _MOST_LINES:
        more = len(facts) - _MOST_LINES
        facts = (*facts[: _MOST_LINES - 1], f"... and {more} more", facts[-1])
    weights = (f"{node.parameters:,} weights",) if node.parameters else ()
    return (node.title, *facts, *weights)


def _edges(boxes: Mapping[str, _Box]) -> Iterator[str]:
    for box in boxes.values():
        for name in box.node.reads:
            start = boxes[name]
            y0, y1 = start.y + start.height / 2, box.y + box.height / 2
            x0, x1 = start.x + start.width, box.x - 1
            bends = (x0 + x1) / 2, (x0 + x1) / 2
            if start.x == box.x:  # within a column: around its right side
                x1 = box.x + box.width + 1
                bends = x0 + _AROUND, x1 + _AROUND
            way = f"M{x0:.0f} {y0:.0f}C{bends[0]:.0f} {y0:.0f} {bends[1]:.0f} {y1:.0f} {x1:.0f} {y1:.0f}"
            yield f'<path d="{way}" fill="none" stroke="#99a" marker-end="url(#tip)"/>'


def _drawn(box: _Box) -> Iterator[str]:
    fill = _FILLS.get(box.node.group, _FILLS["experts"])
    yield (
        f'<rect x="{box.x:.0f}" y="{box.y:.0f}" width="{box.width:.0f}" height="{box.height:.0f}" rx="5" '
        f'fill="{fill}" stroke="#889"/>'
    )
    for place, line in enumerate(box.lines):
        weight = ' font-weight="bold"' if place == 0 else ""
        y = box.y + _PAD + _LINE * (place + 0.75)
        yield f'<text x="{box.x + _PAD:.0f}" y="{y:.0f}" fill="#223"{weight}>{escape(line)}</text>'

"""What is deployed, read: the compose file, the configuration, rules and dashboards; and the tools that check them."""

import json
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from stream_mtl.config.load import Loaded, load
from tests.services.plugin import missing

ROOT = Path(__file__).parent.parent.parent
DEPLOY = ROOT / "deploy"
COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
ROLES = ("join", "train", "serve", "watch")
OURS = ("topics", *ROLES, "people")
PROMETHEUS: dict[str, Any] = yaml.safe_load((DEPLOY / "prometheus" / "prometheus.yml").read_text())
RULES: list[dict[str, Any]] = [
    rule
    for group in yaml.safe_load((DEPLOY / "prometheus" / "rules.yml").read_text())["groups"]
    for rule in group["rules"]
]
DASHBOARDS: dict[str, dict[str, Any]] = {
    path.stem: json.loads(path.read_text())
    for path in sorted((DEPLOY / "grafana" / "dashboards").glob("*.json"))
}


def config() -> Loaded:
    """Load the configuration of the containers."""
    return load(DEPLOY / "config.toml", {})


def panels(dashboard: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the panels that ask for something."""
    return [panel for panel in dashboard["panels"] if panel["type"] != "row"]


def expressions() -> Iterator[tuple[str, str]]:
    """Give every expression of rules and dashboards, and where it stands, variables filled in."""
    for rule in RULES:
        yield rule["alert"], rule["expr"]
    for name, dashboard in DASHBOARDS.items():
        asking = [*dashboard["annotations"]["list"], *(t for p in panels(dashboard) for t in p["targets"])]
        for place in asking:
            yield name, filled(place["expr"])
        for variable in dashboard["templating"]["list"]:
            yield name, variable["query"]["query"].removeprefix("label_values(").rpartition(",")[0]


def filled(expression: str) -> str:
    """Return an expression as Grafana sends it."""
    return expression.replace("$__range", "1h").replace("$window", "1h").replace("$task", "ctr")


def run(tool: str, *words: str | Path, needed: bool = False) -> subprocess.CompletedProcess[str]:
    """Run a tool; without it, skip the test, or fail it under CI if it is needed there."""
    path = shutil.which(tool)
    if path is None:
        missing(f"{tool}, which checks what is deployed", strict=needed)
    return subprocess.run(
        [str(path), *map(str, words)], capture_output=True, text=True, check=False, cwd=ROOT
    )

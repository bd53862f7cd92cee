"""Rules and dashboards: right by promtool and a parser, and about metrics that our processes really have."""

from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import promql_parser
import pytest
import yaml
from litestar.testing import TestClient
from prometheus_client.parser import text_string_to_metric_families

from stream_mtl.clock import system_clock
from stream_mtl.serve.http import application
from stream_mtl.watch.exporter import watch_metrics
from tests.deploy.files import DASHBOARDS, DEPLOY, ROLES, ROOT, RULES, SERVICES, expressions, panels, run
from tests.processes.scraped import page_of
from tests.processes.small import SMALL, market
from tests.serve.test_http import World
from tests.serve.world import OTHER_RECIPE, candidates
from tests.watch.test_exporter import board

OF_PROMETHEUS = {"up": set[str](), "ALERTS": {"alertname", "alertstate"}}
OF_THE_SCRAPE = {"job", "instance"}


@pytest.fixture(scope="module")
def emitted(tmp_path_factory: pytest.TempPathFactory) -> dict[str, set[str]]:
    """Every series that our processes have: its name, and the names of its labels."""
    found: dict[str, set[str]] = {}
    for name, labels in _emitted(tmp_path_factory.mktemp("emitted")):
        found.setdefault(name, set()).update(labels)
    return found


def _emitted(folder: Path) -> Iterator[tuple[str, set[str]]]:
    config = market(folder / "market", 300)
    for role in ("join", "train"):
        yield from _samples(page_of(role, config, SMALL, system_clock()))
    watcher = SimpleNamespace(board=board(), rows=1, checkpointed=0)
    for metric in watch_metrics(cast(Any, watcher)):
        yield from ((sample.name, set(sample.labels)) for sample in metric.samples)
    world = World()
    world.publish(3)
    with TestClient(application(world.service)) as client:
        client.post("/score", json={"candidates": candidates(2)})
        world.publish(4, of=OTHER_RECIPE)
        yield from _samples(client.get("/metrics").text)


def _samples(text: str) -> Iterator[tuple[str, set[str]]]:
    for family in text_string_to_metric_families(text):
        yield from ((sample.name, set(sample.labels)) for sample in family.samples)


def selectors(expression: str) -> list[Any]:
    """Return the series that an expression asks for. Raises ValueError if it is none."""
    found: list[Any] = []
    promql_parser.walk(promql_parser.parse(expression), lambda node: found.append(node))
    return [node for node in found if isinstance(node, promql_parser.VectorSelector)]


def test_promtool_accepts_configuration_and_rules() -> None:
    checked = run("promtool", "check", "config", "deploy/prometheus/prometheus.yml", needed=True)
    assert checked.returncode == 0, checked.stdout + checked.stderr


def test_alerts_fire_when_they_should() -> None:
    checked = run("promtool", "test", "rules", "tests/deploy/rules.test.yml", needed=True)
    assert checked.returncode == 0, checked.stdout + checked.stderr


@pytest.mark.parametrize("place", sorted({place for place, _ in expressions()}))
def test_an_expression_is_about_what_our_processes_say(place: str, emitted: dict[str, set[str]]) -> None:
    known = emitted | OF_PROMETHEUS
    for where, expression in expressions():
        if where == place:
            for selector in selectors(expression):
                assert selector.name in known, expression
                asked = {matcher.name for matcher in selector.matchers.matchers}
                assert asked <= known[selector.name] | OF_THE_SCRAPE, expression


def test_a_name_that_nobody_says_would_be_found(emitted: dict[str, set[str]]) -> None:
    names = [selector.name for selector in selectors("rate(streammtl_join_record_total[5m]) / streammtl_auc")]
    assert [name in emitted for name in names] == [False, True]


def test_every_rule_says_how_bad_it_is_and_what_to_do() -> None:
    page = (ROOT / "docs" / "deploy.md").read_text()
    for rule in RULES:
        assert rule["labels"]["severity"] in ("page", "ticket")
        assert rule["annotations"]["runbook"] == f"docs/deploy.md#{rule['alert'].lower()}"
        assert f"#### {rule['alert']}\n" in page, rule["alert"]
    assert len({rule["alert"] for rule in RULES}) == len(RULES)


def test_the_labels_that_an_alert_names_are_there(emitted: dict[str, set[str]]) -> None:
    known = set().union(*emitted.values()) | OF_THE_SCRAPE
    for rule in RULES:
        words = rule["annotations"]["summary"].split("$labels.")[1:]
        assert {word.split(" ")[0].rstrip("}") for word in words} <= known, rule["alert"]


@pytest.mark.parametrize("name", DASHBOARDS)
def test_a_dashboard_asks_the_datasource_that_is_provisioned(name: str) -> None:
    path = DEPLOY / "grafana" / "provisioning" / "datasources" / "prometheus.yml"
    (source,) = yaml.safe_load(path.read_text())["datasources"]
    dashboard = DASHBOARDS[name]
    asked = [
        *(panel["datasource"] for panel in panels(dashboard)),
        *(target["datasource"] for panel in panels(dashboard) for target in panel["targets"]),
        *(variable["datasource"] for variable in dashboard["templating"]["list"]),
        *(annotation["datasource"] for annotation in dashboard["annotations"]["list"]),
    ]
    assert all(one == {"type": source["type"], "uid": source["uid"]} for one in asked)
    host, port = source["url"].removeprefix("http://").split(":")
    assert SERVICES[host]["ports"][0].endswith(f":{port}")


@pytest.mark.parametrize("name", DASHBOARDS)
def test_a_dashboard_is_whole(name: str) -> None:
    dashboard = DASHBOARDS[name]
    assert dashboard["uid"] == f"stream-mtl-{name}"
    ids = [panel["id"] for panel in dashboard["panels"]]
    assert len(ids) == len(set(ids))
    cells: set[tuple[int, int]] = set()
    for panel in dashboard["panels"]:
        place = panel["gridPos"]
        own = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert not own & cells, panel["title"]
        assert place["x"] + place["w"] <= 24
        cells |= own
    assert all(panel["description"] and panel["targets"] for panel in panels(dashboard))


def test_grafana_finds_the_dashboards() -> None:
    (provider,) = yaml.safe_load(
        (DEPLOY / "grafana" / "provisioning" / "dashboards" / "stream-mtl.yml").read_text()
    )["providers"]
    service = SERVICES["grafana"]
    path = provider["options"]["path"]
    assert f"./deploy/grafana/dashboards:{path}:ro" in service["volumes"]
    home = Path(service["environment"]["GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH"])
    assert str(home.parent) == path and home.stem in DASHBOARDS


def test_every_role_is_watched() -> None:
    asked = {matcher.value for _, e in expressions() for s in selectors(e) for matcher in s.matchers.matchers}
    assert "|".join(ROLES) in asked

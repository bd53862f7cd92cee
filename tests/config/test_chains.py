"""What the join is built from is what was declared."""

from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings

from stream_mtl.clock import DAY, HOUR, MINUTE
from stream_mtl.config import chain_spec, limits, window
from stream_mtl.errors import ConfigError
from stream_mtl.events.types import Limits
from stream_mtl.join.spec import ChainSpec, KindSpec, TaskSpec
from tests.config.documents import BASE, config_of, documents, loaded, to_toml

SHOP = """
[chain]
key = ["user_id", "product_id"]
lateness = "2m"
remember = "2h"
max_events = 50

[events.purchase]
source = "files:log/*.csv"
time = "event_time"
where = { event_type = "purchase" }
after = ["cart", "view"]
within = "1d"
skew = "1m"

[events.cart]
source = "files:log/*.csv"
time = "event_time"
where = { event_type = "cart" }
after = "view"
within = "1h"

[events.view]
source = "files:log/*.csv"
time = "event_time"
time_format = "%Y-%m-%d %H:%M:%S UTC"
where = { event_type = "view" }
fields = { user_id = "long", product_id = "long" }

[tasks.price]
event = "purchase"
given = "bought"
value = "price"
how = "sum"

[tasks.bought]
event = "purchase"
"""


def test_a_declared_chain_is_the_chain_of_the_join(tmp_path: Path) -> None:
    config = loaded(tmp_path, SHOP).config
    assert chain_spec(config, {"bought": [HOUR, MINUTE, HOUR]}, features_on_final=True) == ChainSpec(
        key=("user_id", "product_id"),
        kinds=(
            KindSpec("view"),
            KindSpec("cart", after=("view",), within=HOUR),
            KindSpec("purchase", after=("cart", "view"), within=DAY, skew=MINUTE),
        ),
        tasks=(
            TaskSpec("price", "purchase", given="bought", value="price", how="sum"),
            TaskSpec("bought", "purchase", waits=(MINUTE, HOUR)),
        ),
        lateness=2 * MINUTE,
        remember=2 * HOUR,
        features_on_final=True,
        max_events=50,
    )


def test_defaults_are_those_of_the_join(tmp_path: Path) -> None:
    spec = chain_spec(config_of(tmp_path))
    assert spec == ChainSpec(spec.key, spec.kinds, spec.tasks)
    assert limits(config_of(tmp_path)) == Limits()


def test_features_on_final_can_be_asked_for_by_the_file_or_by_a_method(tmp_path: Path) -> None:
    asked = config_of(tmp_path, ("[chain]", "[chain]\nfeatures_on_final = true"))
    assert [chain_spec(asked).features_on_final, chain_spec(config_of(tmp_path)).features_on_final] == [
        True,
        False,
    ]


def test_limits_are_the_files(tmp_path: Path) -> None:
    text = BASE + '[join]\nmax_future_skew = "5m"\n[join.limits]\nmax_record_bytes = "4KB"\nmax_items = 7\n'
    expected = Limits(max_record_bytes=4_000, max_items=7, max_future_skew=5 * MINUTE)
    assert limits(loaded(tmp_path, text).config) == expected


def test_scores_are_the_kind_before_the_root(tmp_path: Path) -> None:
    scored = '[events.scored]\nsource = "kafka:s"\ntime = "ts"\nbefore = "impression"\nwithin = "1h"\n[learn]'
    spec = chain_spec(config_of(tmp_path, ("[learn]", scored)))
    assert [kind.name for kind in spec.kinds] == ["impression", "click", "conversion"]
    assert spec.before == KindSpec("scored", within=HOUR)


def test_a_wait_that_a_caller_asks_for_must_fit_the_window(tmp_path: Path) -> None:
    config = config_of(tmp_path)
    assert chain_spec(config, {"ctr": [30 * MINUTE]}).tasks[0].waits == (30 * MINUTE,)
    with pytest.raises(
        ConfigError, match=r"tasks\.ctr\.method: waits 31m, longer than the window of click, 30m"
    ):
        chain_spec(config, {"ctr": [31 * MINUTE]})
    with pytest.raises(ConfigError, match="waits are asked for cttr; declare such a task"):
        chain_spec(config, {"cttr": [MINUTE]})


def test_a_parent_by_name_may_be_any_of_its_kind_so_the_window_is_longer(tmp_path: Path) -> None:
    named = config_of(tmp_path, ('after = "click"', 'after = "click"\nparent = "click_id"'))
    for config, length in ((config_of(tmp_path), 7 * DAY), (named, 7 * DAY + 30 * MINUTE)):
        spec = chain_spec(config)
        assert window(spec, spec.tasks[1]) == length


@given(documents())
@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_kinds_stand_behind_what_they_follow_and_no_event_leaves_its_window(
    tmp_path_factory: Any, document: dict[str, Any]
) -> None:
    spec = chain_spec(loaded(tmp_path_factory.getbasetemp(), to_toml(document)).config)
    names = [kind.name for kind in spec.kinds]
    assert sorted(names) == sorted(document["events"])
    for place, kind in enumerate(spec.kinds):
        assert set(kind.after) <= set(names[:place])
    assert spec.root.after == ()
    assert [task.name for task in spec.tasks] == list(document["tasks"])
    for task in spec.tasks:
        start = spec.root.name
        if task.given is not None:
            start = next(other.event for other in spec.tasks if other.name == task.given)
        # The latest way from the start of the clock to the event, each step on the last moment of its window.
        latest = max(_lengths(spec, start, spec.kind(task.event)), default=0)
        assert window(spec, task) >= latest
        if start == spec.root.name:
            assert window(spec, task) == latest


def _lengths(spec: ChainSpec, start: str, kind: KindSpec) -> list[int]:
    if kind.name == start:
        return [0]
    return [
        (kind.within or 0) + rest for name in kind.after for rest in _lengths(spec, start, spec.kind(name))
    ]

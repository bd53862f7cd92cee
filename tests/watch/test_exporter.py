"""The exporter: counters add up, gauges are what the readings say, and nothing is ever not a number."""

import pytest
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.parser import text_string_to_metric_families

from stream_mtl.clock import HOUR, MINUTE
from stream_mtl.watch import corrected
from stream_mtl.watch.board import Board, BoardOptions
from stream_mtl.watch.exporter import EDGES, BoardCollector, metrics_text
from tests.label.world import CHAIN, cut

from .served import OUTPUTS, PLAN, feed, looking, world

OPTIONS = BoardOptions(slices=("scored.country",), max_slices=2, min_examples=20)

Labels = tuple[tuple[str, str], ...]


def board(count: int = 200) -> Board:
    one = Board(PLAN, CHAIN, OPTIONS)
    if count:
        feed(one, world(count, seed=31))
    return one


def samples(one: Board) -> dict[str, dict[Labels, float]]:
    found: dict[str, dict[Labels, float]] = {}
    for family in text_string_to_metric_families(metrics_text(one).decode()):
        for sample in family.samples:
            found.setdefault(sample.name, {})[tuple(sorted(sample.labels.items()))] = sample.value
    return found


def labels(**named: str) -> Labels:
    return tuple(sorted(named.items()))


def test_counters_of_slices_add_up_to_those_of_all() -> None:
    found = samples(board())
    for name in ("predicted_sum_total", "observed_sum_total", "scored_examples_total"):
        for task in OUTPUTS:
            values = {key: v for key, v in found[f"streammtl_{name}"].items() if ("task", task) in key}
            whole = values.pop(labels(task=task, slice="all"))
            assert sum(values.values()) == pytest.approx(whole)
            assert len(values) == 3


def test_gauges_are_what_the_readings_say() -> None:
    one = board()
    found = samples(one)
    for task, output in one.readings().outputs.items():
        for window, reading in output.views.items():
            key = labels(task=task, slice="all", view="mature", window=window)
            assert found["streammtl_calibration_ratio"][key] == reading.calibration
            assert found["streammtl_calibration_examples"][key] == reading.examples
        for value, reading in output.slices["scored.country"].items():
            key = labels(task=task, slice=f"scored.country={value}", view="mature", window="life")
            assert found["streammtl_calibration_ratio"][key] == reading.calibration


def test_a_gauge_of_too_few_examples_is_absent_and_its_counter_is_not() -> None:
    found = samples(board(5))
    assert "streammtl_calibration_ratio" not in found
    assert found["streammtl_scored_examples_total"][labels(task="ctr", slice="all")] > 0


@pytest.mark.parametrize("count", [0, 1, 200])
def test_nothing_is_ever_not_a_number(count: int) -> None:
    assert all(value == value for series in samples(board(count)).values() for value in series.values())


def test_bins_add_up_to_everything_and_their_edges_never_move() -> None:
    one = board()
    found = samples(one)
    for task in ("ctr", "cvr", "joint.cvr"):
        for kind, total in (
            ("examples", "scored_examples"),
            ("predicted", "predicted_sum"),
            ("observed", "observed_sum"),
        ):
            bins = found[f"streammtl_calibration_bin_{kind}_total"]
            whole = found[f"streammtl_{total}_total"][labels(task=task, slice="all")]
            assert sum(bins[labels(task=task, bin=edge)] for edge in EDGES) == pytest.approx(whole)
    assert sorted(set(EDGES), key=float) == EDGES
    assert set(EDGES) == {dict(key)["bin"] for key in found["streammtl_calibration_bin_examples_total"]}


def test_a_board_shares_a_registry_with_others() -> None:
    registry = CollectorRegistry()
    one = board(0)
    registry.register(BoardCollector(one))
    before = generate_latest(registry)
    feed(one, world(50, seed=32))
    assert generate_latest(registry) != before


@pytest.fixture
def early(monkeypatch: pytest.MonkeyPatch) -> Board:
    """A board in the middle of a log with looks, where few events are enough for an estimate."""
    monkeypatch.setattr(corrected, "LEAST_DELAYS", 5)
    chain = looking(ctr=[0], cvr=[0, 20 * MINUTE])
    whole = world(400, seed=33, chain=chain)
    one = Board(PLAN, chain, BoardOptions(windows=(3 * HOUR,), min_examples=20))
    feed(one, cut(whole, [6 * len(whole) // 7])[0])
    return one


def test_estimates_have_a_view_of_their_own_and_bounds(early: Board) -> None:
    found = samples(early)
    for task in ("ctr", "cvr", "joint.cvr"):
        estimates = early.readings().outputs[task].corrected
        assert "3h" in estimates
        for view, estimate in estimates.items():
            key = labels(task=task, slice="all", view="corrected", window=view)
            assert found["streammtl_calibration_ratio"][key] == estimate.calibration
            assert found["streammtl_calibration_ratio_lower"][key] == estimate.low
            assert found["streammtl_calibration_ratio_upper"][key] == estimate.high
            assert found["streammtl_calibration_examples"][key] == estimate.examples
            complete = found["streammtl_label_completeness_ratio"][labels(task=task, window=view)]
            assert complete == estimate.complete
    views = {dict(key)["view"] for key in found["streammtl_normalized_entropy"]}
    assert views == {"mature"}  # nothing else is estimated


def test_proxies_are_marked_and_never_among_the_ratios(early: Board) -> None:
    proxies = samples(early)["streammtl_proxy_calibration_ratio"]
    assert {dict(key)["maturity"] for key in proxies} == {"proxy"}
    assert {dict(key)["horizon"] for key in proxies if dict(key)["task"] == "cvr"} == {"20m", "so far"}
    proxy = early.readings().outputs["cvr"].proxy["20m"]["3h"]
    key = labels(task="cvr", maturity="proxy", horizon="20m", window="3h")
    assert proxies[key] == proxy.calibration
    assert samples(early)["streammtl_proxy_examples"][key] == proxy.examples


def test_how_mature_labels_are_is_told(early: Board) -> None:
    found = samples(early)
    for task, output in early.readings().outputs.items():
        maturity, key = output.maturity, labels(task=task)
        assert maturity is not None and output.ripe_before is not None and maturity.newest_age is not None
        assert found["streammtl_labels_waiting"].get(key) == maturity.waiting
        assert found["streammtl_label_ripe_timestamp_seconds"][key] == output.ripe_before / 1_000
        assert found["streammtl_label_newest_age_seconds"][key] == maturity.newest_age / 1_000
        for view, share in maturity.shares.items():
            assert found["streammtl_label_mature_ratio"][labels(task=task, window=view)] == share

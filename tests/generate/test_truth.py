"""The truth that is told about a stream is what the rules of the chain make of it."""

from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from stream_mtl.clock import HOUR, MINUTE, SECOND
from stream_mtl.generate.delays import Exponential, Weibull
from stream_mtl.generate.fields import IDS, chain_spec
from stream_mtl.generate.generated import Generated, generate
from stream_mtl.generate.options import EXPOSURE_KEY, PAIR_KEY, GeneratorOptions
from stream_mtl.join.transitions import Telling

from .plainly import join


def small(**knobs: Any) -> GeneratorOptions:
    """Return a busy little market in which everything goes wrong now and then, within narrow windows."""
    rough: dict[str, Any] = {
        "impressions": 1_500,
        "duration": 6 * HOUR,
        "users": 60,
        "items": 30,
        "categories": 4,
        "ctr": 0.4,
        "cvr": 0.5,
        "click_delays": (Exponential(2 * MINUTE), Weibull(MINUTE, 0.6)),
        "conversion_delays": (Weibull(20 * MINUTE, 0.7),),
        "click_within": 5 * MINUTE,
        "conversion_within": HOUR,
        "remember": 10 * MINUTE,
        "duplicates": 0.1,
        "conflicts": 0.05,
        "disorder": 0.3,
        "late": 0.05,
        "missing": 0.05,
        "malformed": 0.05,
        "returning": 0.2,
    }
    return GeneratorOptions(**(rough | knobs))


WORLDS: dict[str, dict[str, Any]] = {
    "by exposure": {},
    "orders name their click": {"conversion_names_click": True},
    "keys come back": {"key": PAIR_KEY},
    "keys come back, orders name their click": {"key": PAIR_KEY, "conversion_names_click": True},
    "hot keys": {"key": PAIR_KEY, "hot_keys": 5, "hot_share": 0.3},
    "clocks differ": {"skew": MINUTE, "skewed": 0.3},
    "clocks differ, keys come back": {"skew": MINUTE, "skewed": 0.3, "key": PAIR_KEY},
    "clocks differ, orders name their click": {
        "skew": MINUTE,
        "skewed": 0.3,
        "conversion_names_click": True,
    },
    "three partitions": {"partitions": 3, "late": 0.1},
    "slates": {"slate": 5, "key": PAIR_KEY},
    "cut at the end": {"drain": False, "skew": MINUTE, "skewed": 0.2},
    "no lateness": {"lateness": 0, "max_disorder": 0, "repeat_within": 0},
    "nothing is forgotten": {"remember": 100 * HOUR},
    "clicks outlive orders": {"click_within": 2 * HOUR, "conversion_within": MINUTE},
    "clicks are the root": {"root": "click"},
    "clicks are the root, keys come back": {"root": "click", "key": PAIR_KEY},
}
BACK: dict[str, Any] = {
    "refund_rate": 0.4,
    "invalid_rate": 0.3,
    "refund_delays": (Weibull(30 * MINUTE, 0.7),),
    "invalid_delays": (Exponential(20 * MINUTE),),
    "refund_within": HOUR,
    "invalid_within": 50 * MINUTE,
}
WORLDS |= {
    f"{world}, some is taken back": {**knobs, **BACK}
    for world, knobs in WORLDS.items()
    if world
    in (
        "keys come back",
        "clocks differ, orders name their click",
        "cut at the end",
        "clicks are the root",
        "clicks are the root, keys come back",
    )
}
WORLDS |= {
    f"{world}, and no order then": {**WORLDS[world], "refund_retracts": True}
    for world in ("keys come back, some is taken back", "clicks are the root, some is taken back")
}
WORLDS["invalid clicks outlive orders"] = {"conversion_within": MINUTE, **BACK, "invalid_within": 2 * HOUR}


def tight(**knobs: Any) -> GeneratorOptions:
    """Return the same in milliseconds: instants are shared, and every border is hit exactly now and then."""
    close: dict[str, Any] = {
        "duration": 4 * SECOND,
        "users": 20,
        "items": 12,
        "new_items": 0.0,
        "daily_amplitude": 0.0,
        "click_delays": (Exponential(10),),
        "conversion_delays": (Exponential(25),),
        "click_within": 15,
        "conversion_within": 30,
        "remember": 12,
        "lateness": 10,
        "max_disorder": 10,
        "repeat_within": 12,
        "late_by": 3,
    }
    return small(**(close | knobs))


def assert_accounts(generated: Generated) -> None:
    """Assert that the plain join counts what the truth says; it is never shown what is malformed."""
    found, _ = join(generated)
    for kind, wanted in generated.accounts().items():
        read = wanted["read"] - wanted["malformed"]
        assert found[kind] == wanted | {"read": read, "malformed": 0}, kind


@pytest.mark.parametrize("seed", [1, 2])
@pytest.mark.parametrize("world", WORLDS)
def test_every_account_is_what_a_join_by_the_rules_counts(world: str, seed: int) -> None:
    assert_accounts(generate(small(seed=seed, **WORLDS[world])))


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("key", [EXPOSURE_KEY, PAIR_KEY])
@pytest.mark.parametrize("by_name", [False, True])
@pytest.mark.parametrize("skew", [0, 12])
def test_every_account_is_right_to_the_millisecond(
    key: tuple[str, ...], by_name: bool, skew: int, seed: int
) -> None:
    skewed = 0.3 if skew else 0.0
    options = tight(key=key, conversion_names_click=by_name, skew=skew, skewed=skewed, seed=seed)
    assert_accounts(generate(options))


@pytest.mark.parametrize("seed", range(2))
@pytest.mark.parametrize("key", [EXPOSURE_KEY, PAIR_KEY])
@pytest.mark.parametrize("root", ["impression", "click"])
@pytest.mark.parametrize("skew", [0, 12])
def test_every_account_of_what_is_taken_back_is_right_to_the_millisecond(
    key: tuple[str, ...], root: str, skew: int, seed: int
) -> None:
    knobs: dict[str, Any] = {
        **BACK,
        "refund_delays": (Exponential(20),),
        "invalid_delays": (Exponential(10),),
        "refund_within": 30,
        "invalid_within": 15,
    }
    skewed = 0.3 if skew else 0.0
    assert_accounts(generate(tight(key=key, root=root, skew=skew, skewed=skewed, seed=seed, **knobs)))


@pytest.mark.parametrize("seed", range(20))
def test_nothing_is_left_waiting_at_the_end_of_the_log(seed: int) -> None:
    options = tight(impressions=40, duration=100, skew=12, missing=0.6, late=0.0, malformed=0.0, seed=seed)
    assert_accounts(generate(options))


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    knobs=st.fixed_dictionaries(
        {
            "seed": st.integers(0, 2**40),
            "key": st.sampled_from([EXPOSURE_KEY, PAIR_KEY]),
            "impressions": st.integers(1, 300),
            "slate": st.integers(1, 4),
            "partitions": st.integers(1, 3),
            "drain": st.booleans(),
            "conversion_names_click": st.booleans(),
            "skew": st.sampled_from([1, SECOND, 5 * MINUTE]),
            "skewed": st.sampled_from([0.0, 0.5]),
            "click_within": st.sampled_from([SECOND, MINUTE, HOUR]),
            "conversion_within": st.sampled_from([SECOND, 10 * MINUTE, 5 * HOUR]),
            "late": st.sampled_from([0.0, 0.3]),
            "lateness": st.sampled_from([MINUTE, 20 * MINUTE]),
            "root": st.sampled_from(["impression", "click"]),
            "refund_rate": st.sampled_from([0.0, 0.5]),
            "invalid_rate": st.sampled_from([0.0, 0.5]),
            "refund_within": st.sampled_from([SECOND, 10 * HOUR]),
            "invalid_within": st.sampled_from([SECOND, 10 * HOUR]),
        }
    )
)
def test_every_account_is_right_whatever_the_options(knobs: dict[str, Any]) -> None:
    slate = 1 if knobs["root"] == "click" else knobs["slate"]
    assert_accounts(generate(small(**{**BACK, **knobs, "slate": slate})))


@pytest.mark.parametrize("world", WORLDS)
def test_the_labels_are_what_a_join_tells_in_the_end(world: str) -> None:
    assert_labels(generate(small(**WORLDS[world])))


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("key", [EXPOSURE_KEY, PAIR_KEY])
@pytest.mark.parametrize("by_name", [False, True])
def test_the_labels_are_right_to_the_millisecond(key: tuple[str, ...], by_name: bool, seed: int) -> None:
    assert_labels(generate(tight(key=key, conversion_names_click=by_name, seed=seed)))


@pytest.mark.parametrize("seed", range(4))
def test_exposures_of_one_key_in_one_instant_have_no_children_to_quarrel_about(seed: int) -> None:
    generated = generate(tight(key=PAIR_KEY, impressions=600, users=2, items=2, duration=SECOND, seed=seed))
    same = generated.truth.group_by(["user_id", "item_id", "ts"]).aggregate(
        [("clicked", "any"), ("ts", "count")]
    )
    tied = np.array(same["ts_count"].to_pylist()) > 1
    assert tied.any() and not np.array(same["clicked_any"].to_pylist())[tied].any()
    assert_labels(generated)


def assert_labels(generated: Generated) -> None:
    """Assert that the last row that the plain join tells of each exposure has the labels of the truth."""
    _, rows = join(generated)
    told: dict[int, list[Any]] = {}
    names: dict[int, str] = {}
    for row in rows:
        told[row.exposure] = [(state.label, state.value) for state in row.states]
        if row.kind is Telling.EXPOSED and row.fields is not None:
            names[row.exposure] = row.fields[IDS[generated.options.root]]
    found = {names[exposure]: states for exposure, states in told.items()}
    tasks = [task.name for task in chain_spec(generated.options).tasks]
    root = generated.options.root
    opened = {row[IDS[root]]: row for row in generated.truth.to_pylist() if row[f"{root}_fate"] == "joined"}
    assert found.keys() == opened.keys()
    for name, row in opened.items():
        for task, (label, value) in zip(tasks, found[name], strict=True):
            if label is None and row[task] is not None:
                break  # the log ended before the window did
            wanted = row[task] if task != "order_value" else _value_label(generated, row)
            assert label == wanted, (task, row)
            assert task != "order_value" or value == (
                None if row[task] is None else pytest.approx(row[task])
            ), row


def _value_label(generated: Generated, row: dict[str, Any]) -> int | None:
    """Return whether there is a value: of orders that are given back, what is left of them, of every click."""
    if row["order_value"] is not None:
        return 1
    net = (
        next(task for task in chain_spec(generated.options).tasks if task.name == "order_value").less
        is not None
    )
    clicked = generated.options.root == "click" or row["ctr"] == 1
    return 0 if net and clicked else None


@pytest.mark.parametrize("world", WORLDS)
def test_every_account_that_a_world_can_fill_is_filled(world: str) -> None:
    accounts = generate(small(**WORLDS[world])).accounts()
    filled = {name for counts in accounts.values() for name, count in counts.items() if count}
    assert filled == {"read", "joined", "duplicate", "conflict", "outside", "late", "orphan", "malformed"}


def test_the_ids_of_different_kinds_have_nothing_in_common() -> None:
    generated = generate(small())
    kinds = [set(stream.table.column(0).to_pylist()) for stream in generated.streams.values()]
    assert len(set.union(*kinds)) == sum(map(len, kinds))


def test_accounts_add_up_to_the_records_that_are_written() -> None:
    generated = generate(GeneratorOptions(impressions=20_000))
    for kind, counts in generated.accounts().items():
        assert counts["read"] == len(generated.streams[kind]) == generated.streams[kind].table.num_rows
        assert sum(counts.values()) == 2 * counts["read"]


def test_without_faults_everything_is_joined_or_beyond_its_window() -> None:
    quiet = GeneratorOptions(
        impressions=20_000, duplicates=0, conflicts=0, disorder=0, late=0, missing=0, malformed=0
    )
    generated = generate(quiet)
    for stream in generated.streams.values():
        assert (np.diff(stream.arrival) >= 0).all()
        assert (stream.arrival == stream.table["ts"].to_numpy()).all()
    accounts = generated.accounts()
    assert accounts["impression"]["joined"] == 20_000
    clicks = accounts["click"]
    assert clicks["joined"] == generated.truth["clicked_in_time"].to_numpy().sum()
    assert clicks["joined"] + clicks["outside"] + clicks["orphan"] == clicks["read"]

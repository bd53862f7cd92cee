"""What is emitted when: exact counts against the lives themselves, and the rules of the emitter."""

from collections import Counter

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stream_mtl.clock import HOUR, MINUTE
from stream_mtl.errors import ConfigError, StateError
from stream_mtl.join.transitions import Telling, Transitions
from stream_mtl.label import CORRECTIONS, MATURED, METHODS, TAKEN_BACK, Examples, Kind, Plan, Truth, parse

from .world import CHAIN, TASKS, Life, lives, planned, tell

CLICK_WINDOW, CONVERSION_WINDOW = 30 * MINUTE, 2 * HOUR
WORLDS = st.builds(lives, st.integers(1, 30), st.integers(0, 10_000), st.floats(0, 1), st.floats(0, 1))

Row = tuple[int, str, int]  # (exposure, kind, label)


def clicked(life: Life) -> bool:
    return life.click is not None and life.click <= CLICK_WINDOW


def bought(life: Life) -> bool:
    return clicked(life) and life.conversion is not None and life.conversion <= CONVERSION_WINDOW


def emit(
    histories: list[Life], methods: dict[str, str], joint: tuple[str, ...] = ()
) -> tuple[Transitions, Examples]:
    plan = Plan(TASKS, {name: parse(text) for name, text in methods.items()}, joint)
    transitions = tell(planned(plan), histories)
    truth = Truth(TASKS)
    truth.add(transitions)
    return transitions, plan.emit(transitions, truth)


def rows(examples: Examples, lesson: str) -> Counter[Row]:
    told = examples.of(lesson)
    places = np.flatnonzero(told.weight)
    kinds = [Kind(kind).name for kind in told.kind[places]]
    return Counter(zip(examples.exposure[places].tolist(), kinds, told.label[places].tolist(), strict=True))


def late(life: Life, wait: int) -> bool:
    return life.conversion is not None and life.conversion > wait


@settings(max_examples=40, deadline=None)
@given(histories=WORLDS)
def test_waiting_tells_each_chain_once_with_what_had_come_by_the_look(histories: list[Life]) -> None:
    _, examples = emit(histories, {"ctr": "wait:15m", "cvr": "wait:1h"})
    ctr: Counter[Row] = Counter()
    cvr: Counter[Row] = Counter()
    for i, life in enumerate(histories):
        seen = life.click is not None and life.click <= 15 * MINUTE
        ctr[i, "IP" if seen else "ON", int(seen)] += 1
        if clicked(life):
            seen = bought(life) and not late(life, HOUR)
            cvr[i, "IP" if seen else "ON", int(seen)] += 1
    assert rows(examples, "ctr") == ctr
    assert rows(examples, "cvr") == cvr


@settings(max_examples=40, deadline=None)
@given(histories=WORLDS)
def test_fake_negatives_are_told_once_a_chain_and_a_positive_once_an_event(histories: list[Life]) -> None:
    _, examples = emit(histories, {"ctr": "fnw", "cvr": "fnw"})
    ctr: Counter[Row] = Counter((i, "ON", 0) for i in range(len(histories)))
    cvr: Counter[Row] = Counter((i, "ON", 0) for i, life in enumerate(histories) if clicked(life))
    ctr += Counter((i, "DP", 1) for i, life in enumerate(histories) if clicked(life))
    cvr += Counter((i, "DP", 1) for i, life in enumerate(histories) if bought(life))
    assert rows(examples, "ctr") == ctr
    assert rows(examples, "cvr") == cvr


@settings(max_examples=40, deadline=None)
@given(histories=WORLDS, method=st.sampled_from(["wait", "oracle"]))
def test_mature_and_oracle_tell_each_chain_its_final_label(histories: list[Life], method: str) -> None:
    transitions, examples = emit(histories, {"ctr": method, "cvr": method})
    ctr = Counter((i, "FINAL", int(clicked(life))) for i, life in enumerate(histories))
    cvr = Counter((i, "FINAL", int(bought(life))) for i, life in enumerate(histories) if clicked(life))
    assert rows(examples, "ctr") == ctr
    assert rows(examples, "cvr") == cvr
    kinds = set(transitions.rows.column("kind").to_numpy()[examples.telling].tolist())
    only_labels = examples.weight[:, :2].any(axis=1)
    at = set(transitions.rows.column("kind").to_numpy()[examples.telling[only_labels]].tolist())
    assert at <= {Telling.FINAL if method == "wait" else Telling.EXPOSED}
    assert kinds <= {Telling.FINAL, Telling.EXPOSED}


@settings(max_examples=40, deadline=None)
@given(histories=WORLDS)
def test_a_value_is_told_once_at_its_final_and_only_where_there_is_one(histories: list[Life]) -> None:
    transitions, examples = emit(histories, {"ctr": "fnw", "cvr": "fnw"})
    told = examples.of("order_value")
    places = np.flatnonzero(told.weight)
    expected = {i: life.amount for i, life in enumerate(histories) if bought(life)}
    found = dict(zip(examples.exposure[places].tolist(), told.label[places].tolist(), strict=True))
    assert found == pytest.approx(expected)
    assert len(places) == len(expected)
    assert (transitions.rows.column("kind").to_numpy()[examples.telling[places]] == Telling.FINAL).all()


SIMPLE = ["wait", "wait:15m", "fnw", "oracle"]


@settings(max_examples=100, deadline=None)
@given(
    histories=WORLDS, ctr=st.sampled_from(SIMPLE), cvr=st.sampled_from(["wait", "wait:1h", "fnw", "oracle"])
)
def test_a_joint_lesson_counts_every_exposure_once(histories: list[Life], ctr: str, cvr: str) -> None:
    _, examples = emit(histories, {"ctr": ctr, "cvr": cvr}, joint=("cvr",))
    in_time = 15 * MINUTE if ctr == "wait:15m" else CLICK_WINDOW
    reached = {i for i, life in enumerate(histories) if life.click is not None and life.click <= in_time}
    shown = {"wait": "FINAL", "oracle": "FINAL"}.get(cvr, "ON")
    expected: Counter[Row] = Counter((i, shown, 0) for i in range(len(histories)) if i not in reached)
    for i in reached:
        came = bought(histories[i])
        in_look = came and not late(histories[i], HOUR)
        if cvr == "fnw":
            expected[i, "ON", 0] += 1
            expected[i, "DP", 1] += came
        elif cvr == "wait:1h":
            expected[i, "IP" if in_look else "ON", int(in_look)] += 1
        else:
            expected[i, "FINAL", int(came)] += 1
    assert rows(examples, "joint.cvr") == +expected


@settings(max_examples=40, deadline=None)
@given(histories=WORLDS, ctr=st.sampled_from(SIMPLE), cvr=st.sampled_from(["wait:1h", "fnw"]))
def test_a_correction_of_the_conversion_carries_no_click_term(
    histories: list[Life], ctr: str, cvr: str
) -> None:
    _, examples = emit(histories, {"ctr": ctr, "cvr": cvr}, joint=("cvr",))
    corrections = np.isin(examples.of("joint.cvr").kind, [int(kind) for kind in CORRECTIONS])
    assert not examples.of("ctr").weight[corrections].any()
    assert int(examples.of("ctr").weight.sum()) == len(histories) + (
        sum(map(clicked, histories)) if ctr == "fnw" else 0
    )


STREAMS: dict[str, tuple[str, ...]] = {  # what is told of a chain, by what becomes of it: early, late, never
    "fnw": ("ON DP", "ON DP", "ON"),
    "fnc": ("ON DP", "ON DP", "ON"),
    "pu": ("ON DP", "ON DP", "ON"),
    "es_dfm": ("IP MATURED_IP", "ON DP MATURED_DP", "ON MATURED_RN"),
    "defuse": ("IP MATURED_IP", "ON DP MATURED_DP", "ON MATURED_RN"),
    "bi_defuse": ("IP", "ON DP", "ON"),
    "ddfm": ("IP MATURED_IP", "ON DP MATURED_DP", "ON RN MATURED_RN"),
    "defer_rn": ("IP MATURED_IP", "ON DP MATURED_DP", "ON RN MATURED_RN"),
    "defer": ("IP IP2 MATURED_IP", "ON DP MATURED_DP", "ON RN MATURED_RN"),
    "fsiw": ("IP MATURED_IP", "ON MATURED_DP", "ON MATURED_RN"),
    "ulc": ("IP MATURED_IP", "ON MATURED_DP", "ON MATURED_RN"),
    "dfm": ("IP", "ON DP", "ON RN"),
}
LATE_KINDS = {"wait", "oracle"}  # told above
NO_EVENT = {"ON", "RN", "MATURED_RN"}


def text(method: str, wait: str = "1h") -> str:
    return f"{method}:{wait}" if METHODS[method].least else method


def label(kind: str, came: bool, wait: str) -> int:
    return 0 if kind in NO_EVENT else int(came)


def test_every_method_is_tested_for_what_it_emits() -> None:
    assert STREAMS.keys() | LATE_KINDS == METHODS.keys()


@settings(max_examples=8, deadline=None)
@given(histories=WORLDS, joint=st.booleans())
@pytest.mark.parametrize("method", STREAMS)
def test_a_chain_is_told_as_its_stream_says(method: str, histories: list[Life], joint: bool) -> None:
    _, examples = emit(histories, {"ctr": "wait:15m", "cvr": text(method)}, ("cvr",) if joint else ())
    early, after, never = STREAMS[method]
    expected: Counter[Row] = Counter()
    for i, life in enumerate(histories):
        seen = life.click is not None and life.click <= (15 * MINUTE if joint else CLICK_WINDOW)
        if seen:
            stream = never if not bought(life) else after if late(life, HOUR) else early
            expected += Counter((i, kind, int(kind not in NO_EVENT)) for kind in stream.split())
        elif joint:
            expected += Counter(
                (i, kind.name, 0) for kind in METHODS[method].make(*[HOUR] * METHODS[method].least).unreached
            )
    assert rows(examples, "joint.cvr" if joint else "cvr") == expected


@settings(max_examples=30, deadline=None)
@given(histories=WORLDS)
def test_the_masses_of_the_streams_are_their_closed_forms(histories: list[Life]) -> None:
    clicks, buys = sum(map(clicked, histories)), sum(map(bought, histories))
    lates = sum(bought(life) and late(life, HOUR) for life in histories)
    masses = {
        "fnw": clicks + buys,
        "es_dfm": clicks + lates,
        "ddfm": clicks + lates + clicks - buys,
        "defer": 2 * clicks,
        "fsiw": clicks,
        "bi_defuse": clicks + lates,
    }
    for method, mass in masses.items():
        _, examples = emit(histories, {"ctr": "wait:15m", "cvr": text(method)})
        told = Counter(kind for _, kind, _ in rows(examples, "cvr").elements())
        matured = sum(told[kind.name] for kind in MATURED)
        assert told.total() - matured == mass
        assert matured in (0, clicks)


@pytest.mark.parametrize("method", STREAMS)
def test_each_kind_leaves_at_its_own_instant(method: str) -> None:
    """At the click, at the look, at the event, at the end of the window; never before the look."""
    early, after, never = Life(0, 5, 7), Life(1, 5, HOUR + 9), Life(2, 5)
    _, examples = emit([early, after, never], {"ctr": "wait:15m", "cvr": text(method)})
    told = examples.of("cvr")
    places = np.flatnonzero(told.weight)
    clicks = np.array([5, 6, 7])
    instants = {"ON": 0 if METHODS[method].least == 0 else HOUR, "IP": HOUR, "DP": HOUR + 9}
    for i in places.tolist():
        kind, exposure = Kind(told.kind[i]).name, int(examples.exposure[i])
        early_event = kind == "DP" and exposure == 0
        instant = 7 if early_event else instants.get(kind, CONVERSION_WINDOW)
        assert examples.told[i] - clicks[exposure] == instant
    assert (np.diff(examples.told) >= 0).all()


@pytest.mark.parametrize("method", [name for name, entry in METHODS.items() if entry.least])
def test_an_event_on_the_look_is_early_and_one_past_its_window_is_none(method: str) -> None:
    on, past = Life(0, 5, HOUR), Life(1, 5, HOUR + 1)
    end, gone = Life(2, 5, CONVERSION_WINDOW), Life(3, 5, CONVERSION_WINDOW + 1)
    _, examples = emit([on, past, end, gone], {"ctr": "wait:15m", "cvr": text(method)})
    early, after, never = STREAMS[method]
    found: dict[int, list[str]] = {i: [] for i in range(4)}
    for i, kind, _ in rows(examples, "cvr").elements():
        found[i].append(kind)
    expected = [early, after, after, never]
    assert [sorted(kinds) for kinds in found.values()] == [sorted(stream.split()) for stream in expected]


def test_an_example_of_any_kind_has_the_features_of_its_exposure() -> None:
    histories = lives(40, seed=3, p=1.0)
    plan = Plan(TASKS[:2], {"cvr": parse("defer:1h")})
    shown = pa.array(range(40))
    transitions = tell(planned(plan), histories, {"number": shown})
    examples = plan.emit(transitions)
    numbers = transitions.fields.column("number").to_numpy()[examples.row]
    assert (numbers == examples.exposure).all()
    told = (CORRECTIONS - TAKEN_BACK) | MATURED
    assert set(examples.of("cvr").kind.tolist()) >= {int(kind) for kind in told}


def test_the_delay_model_looks_again_until_the_event_comes() -> None:
    histories = [Life(0, 5, HOUR - 1), Life(1, 5), Life(2, 5, HOUR)]
    _, examples = emit(histories, {"ctr": "wait:15m", "cvr": "dfm:30m,1h,90m"})
    told = examples.of("cvr")
    found: list[list[tuple[str, float]]] = [[], [], []]
    for i in np.flatnonzero(told.weight):
        found[int(examples.exposure[i])].append((Kind(told.kind[i]).name, float(told.elapsed[i]) / 60))
    assert [kind for kind, _ in found[0]] == ["ON", "DP"]
    assert found[1] == [("ON", 30), ("ON", 60), ("ON", 90), ("RN", 120)]
    assert [kind for kind, _ in found[2]] == ["ON", "DP"]


CORRECTING = [text(name) for name, kinds in STREAMS.items() if {"DP", "RN"} & set(" ".join(kinds).split())]


@pytest.mark.parametrize("method", CORRECTING)
def test_no_click_term_on_any_correction_or_matured_label(method: str) -> None:
    """With or without the product, the click is told what its own method says, and nothing more."""
    histories = lives(60, seed=4)
    methods = {"ctr": parse(method.replace("1h", "15m")), "cvr": parse(method)}
    together = Plan(TASKS[:2], methods, ("cvr",))
    transitions = tell(planned(together), histories)
    alone = Plan(TASKS[:2], {"ctr": methods["ctr"]}).emit(transitions)
    examples = together.emit(transitions)
    assert rows(examples, "ctr") == rows(alone, "ctr")
    again = np.isin(examples.of("joint.cvr").kind, [int(kind) for kind in CORRECTIONS | MATURED])
    assert again.any()


@settings(max_examples=40, deadline=None)
@given(histories=WORLDS)
def test_examples_leave_in_the_order_told_and_never_before_their_look(histories: list[Life]) -> None:
    transitions, examples = emit(histories, {"ctr": "wait:15m", "cvr": "fnw"}, joint=("cvr",))
    assert (np.diff(examples.telling) >= 0).all()
    assert (np.diff(examples.told) >= 0).all()
    time = transitions.rows.column("time").to_numpy()[examples.telling]
    told = examples.of("ctr").weight > 0
    assert (examples.told[told] == time[told] + 15 * MINUTE).all()


def test_an_event_on_the_look_is_in_the_window() -> None:
    on, past = Life(0, click=15 * MINUTE), Life(1, click=15 * MINUTE + 1)
    _, examples = emit([on, past], {"ctr": "wait:15m"})
    assert rows(examples, "ctr") == Counter({(0, "IP", 1): 1, (1, "ON", 0): 1})


def test_a_conversion_in_the_instant_of_its_click_gives_fnw_both_rows() -> None:
    transitions, examples = emit([Life(0, click=5, conversion=0)], {"ctr": "wait:15m", "cvr": "fnw"})
    assert rows(examples, "cvr") == Counter({(0, "ON", 0): 1, (0, "DP", 1): 1})
    told = examples.of("cvr").weight > 0
    kinds = transitions.rows.column("kind").to_numpy()[examples.telling[told]]
    assert kinds.tolist() == [Telling.LOOK, Telling.LOOK]


def test_a_conversion_past_its_window_is_never_told() -> None:
    _, examples = emit([Life(0, click=5, conversion=2 * HOUR + 1)], {"ctr": "fnw", "cvr": "fnw"})
    assert rows(examples, "cvr") == Counter({(0, "ON", 0): 1})


def test_the_elapsed_time_is_the_delay_of_an_event_and_else_the_age_of_the_clock() -> None:
    _, examples = emit([Life(0, click=60_000, conversion=90_000), Life(1)], {"ctr": "wait:15m", "cvr": "fnw"})
    ctr, cvr = examples.of("ctr"), examples.of("cvr")
    assert ctr.elapsed[ctr.weight > 0].tolist() == [60.0, 900.0]
    assert cvr.elapsed[cvr.weight > 0].tolist() == [0.0, 90.0]


def test_the_looks_of_another_learner_on_the_same_log_are_passed_over() -> None:
    short = Plan(TASKS, {"ctr": parse("wait:15m"), "cvr": parse("fnw")})
    long = Plan(TASKS, {"ctr": parse("wait:20m"), "cvr": parse("wait:1h")})
    histories = lives(40, seed=5)
    both = planned(short)
    tasks = tuple(
        task if task.regression else type(task)(task.name, task.event, task.given, waits=waits)
        for task, waits in zip(both.tasks, [(15 * MINUTE, 20 * MINUTE), (0, HOUR), ()], strict=True)
    )
    shared = tell(type(both)(both.key, both.kinds, tasks, remember=0, features_on_final=True), histories)
    for plan in (short, long):
        alone = plan.emit(tell(planned(plan), histories))
        together = plan.emit(shared)
        for lesson in plan.names:
            assert rows(together, lesson) == rows(alone, lesson)


def test_final_rows_without_features_are_refused_with_the_way_out() -> None:
    plan = Plan(TASKS)
    assert plan.features_on_final
    with pytest.raises(StateError, match="features_on_final"):
        plan.emit(tell(CHAIN, lives(5, seed=1)))


def test_an_oracle_without_a_truth_is_refused() -> None:
    plan = Plan(TASKS[:2], {"ctr": parse("oracle"), "cvr": parse("oracle")})
    with pytest.raises(ConfigError, match="reads ahead"):
        plan.emit(tell(planned(Plan(TASKS)), lives(5, seed=1)))


def test_features_on_final_are_asked_for_only_where_they_teach() -> None:
    labels = TASKS[:2]
    quick = {"ctr": parse("wait:15m"), "cvr": parse("fnw")}
    assert not Plan(labels, quick, joint=("cvr",)).features_on_final
    assert Plan(labels, {**quick, "ctr": parse("fnw")}, joint=("cvr",)).features_on_final
    assert not Plan(labels, {**quick, "ctr": parse("fnw")}).features_on_final
    assert Plan(TASKS, quick).features_on_final


def test_a_count_of_an_event_that_did_not_come_is_zero() -> None:
    tasks = (TASKS[0], type(TASKS[0])("buys", "conversion", given="ctr", how="count"))
    plan = Plan(tasks)
    histories = [Life(0, click=5), Life(1, click=5, conversion=7), Life(2)]
    examples = plan.emit(tell(planned(plan), histories))
    told = examples.of("buys")
    assert dict(
        zip(examples.exposure[told.weight > 0].tolist(), told.label[told.weight > 0].tolist(), strict=True)
    ) == {
        0: 0.0,
        1: 1.0,
    }


def test_rows_that_arrive_with_labels_teach_a_product_everywhere_and_a_task_where_it_is_defined() -> None:
    nan = np.nan
    labels = {
        "ctr": np.array([1, 1, 0, nan]),
        "cvr": np.array([1, 0, nan, 1]),
        "order_value": np.array([3.0, nan, nan, 2]),
    }
    plan = Plan(TASKS, joint=("cvr",))
    examples = plan.label(labels)
    assert examples.of("joint.cvr").label.tolist() == [1, 0, 0, 0]
    assert examples.of("joint.cvr").weight.tolist() == [1, 1, 1, 0]
    assert examples.of("ctr").weight.tolist() == [1, 1, 1, 0]
    assert examples.of("order_value").weight.tolist() == [1, 0, 0, 0]
    assert Plan(TASKS).label(labels).of("cvr").weight.tolist() == [1, 1, 0, 0]


def test_a_method_that_reckons_with_corrections_is_refused_where_labels_are_final() -> None:
    with pytest.raises(ConfigError, match="cvr"):
        Plan(TASKS, {"ctr": parse("wait:15m"), "cvr": parse("fnw")}).label({"ctr": np.ones(2)})


@pytest.mark.parametrize(
    ("methods", "joint"),
    [
        ({"order_value": "fnw"}, ()),
        ({"nothing": "fnw"}, ()),
        ({}, ("ctr",)),
        ({}, ("order_value",)),
        ({}, ("x",)),
    ],
)
def test_a_plan_that_cannot_be_is_refused(methods: dict[str, str], joint: tuple[str, ...]) -> None:
    with pytest.raises(ConfigError):
        Plan(TASKS, {name: parse(text) for name, text in methods.items()}, joint)


def test_a_batch_without_rows_gives_no_examples() -> None:
    plan = Plan(TASKS, {"ctr": parse("wait:15m"), "cvr": parse("fnw")}, joint=("cvr",))
    full = tell(planned(plan), lives(3, seed=1))
    empty = Transitions(full.rows.slice(0, 0), full.keys, full.fields)
    assert len(plan.emit(empty)) == 0
    assert isinstance(full.fields, pa.Table)

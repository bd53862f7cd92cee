"""What is taken back is undone: every method rests at the rate of what is kept, alone and over all exposures."""

from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from stream_mtl.clock import HOUR, MINUTE
from stream_mtl.errors import ConfigError
from stream_mtl.join.spec import TaskSpec
from stream_mtl.join.transitions import Transitions
from stream_mtl.label import METHODS, TAKEN_BACK, Examples, Kind, Lesson, Plan, Reading, Truth, parse
from stream_mtl.label.plan import lives as ends_of
from stream_mtl.learn.outcomes import final_rows, final_truths

from .world import BACK, CHAIN, Life, cut, lives, planned, taken_back, tell

LABELS = BACK.tasks[:2]
WAIT = 30 * MINUTE
CORRECTED = [
    f"{name}:30m" if METHODS[name].least else name for name in METHODS if name not in ("wait", "oracle")
]


def clicked(life: Life) -> bool:
    return life.click is not None and life.click <= 30 * MINUTE


def valid(life: Life) -> bool:
    return clicked(life) and (life.invalid is None or life.invalid > HOUR)


def bought(life: Life) -> bool:
    return clicked(life) and life.conversion is not None and life.conversion <= 2 * HOUR


def kept(life: Life) -> bool:
    return bought(life) and (life.refund is None or life.refund > 3 * HOUR)


def late(life: Life) -> bool:
    return life.conversion is not None and life.conversion > WAIT


def world(clicks: float = 0.0, conversions: float = 0.4, count: int = 500) -> list[Life]:
    return taken_back(lives(count, seed=3, p=0.7), 8, clicks, conversions)


def emit(
    method: str, histories: list[Life], joint: bool = False, ctr: str = "wait"
) -> tuple[Plan, Transitions, Examples]:
    plan = Plan(LABELS, {"ctr": parse(ctr), "cvr": parse(method)}, ("cvr",) if joint else ())
    transitions = tell(planned(plan, BACK), histories)
    truth = Truth(plan.tasks)
    truth.add(transitions)
    return plan, transitions, plan.emit(transitions, truth)


def rest(lesson: Lesson, examples: Examples, heads: dict[str, float], reach: float | None) -> float:
    """Return the probability that is served where the gradients of all examples add up to nothing."""
    told = examples.of(lesson.name)
    rows = np.flatnonzero(told.weight)
    auxiliary = {
        name: torch.full((len(rows),), value, dtype=torch.double).logit() for name, value in heads.items()
    }
    low, high = -12.0, 12.0
    for _ in range(60):
        middle = (low + high) / 2
        logit = torch.full((len(rows),), middle, dtype=torch.double, requires_grad=True)
        reading = Reading(
            logit=logit,
            auxiliary=auxiliary,
            reach=None if reach is None else torch.full((len(rows),), reach, dtype=torch.double),
            label=torch.from_numpy(told.label[rows].astype(np.float64)),
            kind=torch.from_numpy(told.kind[rows]),
            elapsed=torch.from_numpy(told.elapsed[rows].astype(np.float64)),
        )
        (slope,) = torch.autograd.grad(lesson.method.loss(reading).sum(), logit)
        low, high = (middle, high) if float(slope.sum()) < 0 else (low, middle)
    one = {name: value[:1] for name, value in auxiliary.items()}
    return float(lesson.method.probability(torch.tensor([low], dtype=torch.double), one))


def shares(histories: list[Life], joint: bool) -> tuple[dict[str, float], float]:
    """Return what auxiliary logits would say had they learned everything, and the rate of what is kept."""
    over = [life for life in histories if (valid(life) if joint else clicked(life))]
    p = sum(map(kept, over)) / len(over)
    dp = sum(kept(life) and late(life) for life in over) / len(over)
    heads = {"late": dp, "real": (1 - p) / (1 - p + dp), "in_time": 1 - dp / p, "out": dp, "rate": 0.5}
    return heads, p


@pytest.mark.parametrize("method", CORRECTED)
def test_a_method_rests_at_the_rate_of_what_is_kept(method: str) -> None:
    histories = world()
    plan, _, examples = emit(method, histories)
    heads, p = shares(histories, joint=False)
    assert any(kept(life) != bought(life) for life in histories)
    assert rest(plan.lessons[1], examples, heads, None) == pytest.approx(p, abs=2e-6)


@pytest.mark.parametrize("ctr", ["wait", "wait:20m", "fnw"])
@pytest.mark.parametrize("method", [method for method in CORRECTED if not method.startswith("dfm")])
def test_over_all_exposures_it_rests_at_the_product_of_what_is_kept(method: str, ctr: str) -> None:
    histories = world(clicks=0.4)
    if ctr == "wait:20m":  # a click after the look is no click to the product
        histories = [
            replace(one, click=None) if one.click and one.click > 20 * MINUTE else one for one in histories
        ]
    plan, _, examples = emit(method, histories, joint=True, ctr=ctr)
    heads, p = shares(histories, joint=True)
    reach = sum(map(valid, histories)) / len(histories)
    heads["out"] *= reach
    assert any(valid(life) != clicked(life) for life in histories)
    assert rest(plan.lessons[1], examples, heads, reach) == pytest.approx(reach * p, abs=2e-6)


def told_of(examples: Examples, lesson: str) -> list[Counter[str]]:
    told = examples.of(lesson)
    found: list[Counter[str]] = [Counter() for _ in range(int(examples.exposure.max()) + 1)]
    for i in np.flatnonzero(told.weight):
        found[int(examples.exposure[i])][Kind(told.kind[i]).name] += 1
    return found


EARLY, LATE = Life(0, 5, 7, refund=HOUR), Life(1, 5, HOUR, refund=HOUR)
QUICK, NEVER = Life(2, 5, 7, refund=9), Life(3, 5)


@pytest.mark.parametrize(
    ("method", "early", "later"),
    [
        ("wait", "FINAL", "FINAL"),
        ("oracle", "FINAL", "FINAL"),
        ("wait:30m", "IP IP_BACK ON_BACK", "ON"),
        ("fnw", "ON DP DP_BACK", "ON DP DP_BACK"),
        ("es_dfm:30m", "IP IP_BACK ON_BACK MATURED_RN", "ON DP DP_BACK MATURED_RN"),
        ("bi_defuse:30m", "IP IP_BACK ON_BACK", "ON DP DP_BACK"),
        ("ddfm:30m", "IP IP_BACK ON_BACK RN MATURED_RN", "ON DP DP_BACK RN MATURED_RN"),
        ("defer:30m", "IP IP_BACK ON_BACK RN MATURED_RN", "ON DP DP_BACK RN MATURED_RN"),
        ("ulc:30m", "IP IP_BACK ON_BACK MATURED_RN", "ON MATURED_RN"),
        ("dfm:30m,45m,90m", "IP IP_BACK ON_BACK ON_BACK ON RN", "ON ON DP DP_BACK ON_BACK RN"),
    ],
)
def test_what_undoes_a_positive_is_told_only_where_it_was_told(method: str, early: str, later: str) -> None:
    _, _, examples = emit(method, [EARLY, LATE, QUICK, NEVER])
    found = told_of(examples, "cvr")
    assert found[0] == Counter(early.split())
    assert found[1] == Counter(later.split())
    if method != "fnw":  # gone before the look: as if it had never come
        assert found[2] == found[3]


def test_the_looks_of_the_delay_model_telescope_where_an_event_is_taken_back() -> None:
    plan, _, examples = emit("dfm:30m,45m,90m", [EARLY, LATE, QUICK, NEVER])
    told = examples.of("cvr")
    sums = torch.zeros(4, dtype=torch.double)
    for i in np.flatnonzero(told.weight):
        one = torch.ones(1, dtype=torch.double)
        reading = Reading(
            -0.7 * one, {"rate": 1.3 * one}, None, one * float(told.label[i]),
            torch.tensor([told.kind[i]]), one * float(told.elapsed[i]),
        )  # fmt: skip
        sums[int(examples.exposure[i])] += plan.lessons[1].method.loss(reading)[0]
    assert sums.tolist() == pytest.approx([float(torch.tensor(-0.7).exp().log1p())] * 4, abs=1e-6)


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 1000), method=st.sampled_from(CORRECTED), joint=st.booleans())
def test_what_undoes_carries_no_click_term_and_does_not_depend_on_where_a_batch_ends(
    seed: int, method: str, joint: bool
) -> None:
    joint = joint and not method.startswith("dfm")
    histories = taken_back(lives(40, seed, p=0.8, q=0.8), seed, 0.4, 0.5)
    plan, transitions, examples = emit(method, histories, joint)
    own = examples.of(plan.names[1])
    undoes = np.isin(own.kind, [int(kind) for kind in TAKEN_BACK])
    assert not examples.of("ctr").weight[undoes].any()
    n = len(transitions)
    pieces = [plan.emit(piece) for piece in cut(transitions, [n // 3, n // 2])]
    kinds = np.concatenate([piece.of(plan.names[1]).kind for piece in pieces])
    assert kinds.tolist() == own.kind.tolist()


def test_a_label_is_final_when_it_cannot_be_taken_back_any_more_whether_the_event_came_or_not() -> None:
    plan, transitions, _ = emit("wait", [Life(0, 5, 7), NEVER])
    rows = final_rows(transitions)
    truths = final_truths(plan, transitions, rows)
    told = transitions.rows.column("told").to_numpy()[rows]
    known = ~np.isnan(truths[:, 1])
    assert told[known].tolist() == [5 + 5 * HOUR, 8 + 5 * HOUR]
    assert truths[known, 1].tolist() == [1, 0]
    assert ends_of(plan, planned(plan, BACK)) == {
        "ctr": 30 * MINUTE + HOUR,
        "cvr": 30 * MINUTE + 5 * HOUR,
    }


KEPT = (*CHAIN.tasks[:2], TaskSpec("kept", "refund", given="cvr", absent=True))
STEP = replace(BACK, kinds=tuple(replace(kind, retracts=False) for kind in BACK.kinds), tasks=KEPT)


@pytest.mark.parametrize("method", ["wait", "fnw", "es_dfm:30m", "ddfm:30m"])
def test_a_task_whose_event_does_not_come_serves_the_complement_and_is_graded_by_it(method: str) -> None:
    histories = world()
    plan = Plan(KEPT, {"kept": parse(method)})
    transitions = tell(planned(plan, STEP), histories)
    truths = final_truths(plan, transitions, final_rows(transitions))[:, 2]
    truths = truths[~np.isnan(truths)]
    over = [life for life in histories if bought(life)]
    assert (len(truths), truths.sum()) == (len(over), sum(map(kept, over)))
    p = 1 - truths.mean()
    dp = sum(not kept(life) and (life.refund or 0) > WAIT for life in over) / len(over)
    heads = {"late": dp, "real": (1 - p) / (1 - p + dp)}
    examples = plan.emit(transitions)
    assert rest(plan.lessons[2], examples, heads, None) == pytest.approx(truths.mean(), abs=2e-6)


def test_what_cannot_be_made_right_is_refused() -> None:
    with pytest.raises(ConfigError, match="no product"):
        Plan(KEPT, joint=("kept",))
    with pytest.raises(ConfigError, match="given another"):
        Plan((*KEPT, TaskSpec("more", "refund", given="kept")))
    with pytest.raises(ConfigError, match="dfm"):
        Plan(LABELS, {"cvr": parse("dfm:30m")}, ("cvr",))


def test_a_sum_is_taught_less_what_was_given_back_once_nothing_can_be() -> None:
    net = TaskSpec("net", "conversion", value="amount", how="sum", less=("refund", "amount"))
    plan = Plan((BACK.tasks[0], net))
    histories = [
        Life(0, 5, 7, 20.0, refund=9, refunded=5.5),
        Life(1, 5, 7, 30.0),
        Life(2, 5),
        Life(3, 5, 7, 10.0, refund=4 * HOUR, refunded=3.0),
    ]
    examples = plan.emit(tell(planned(plan, BACK), histories))
    told = examples.of("net")
    rows = np.flatnonzero(told.weight)
    assert dict(zip(examples.exposure[rows].tolist(), told.label[rows].tolist(), strict=True)) == {
        0: 14.5,
        1: 30.0,
        2: 0.0,
        3: 10.0,
    }
    assert examples.told[rows].tolist() == [5 + 5 * HOUR + i for i in range(4)]

"""Where each method comes to rest at one x, by root finding: the loss and the stream must fit each other."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import pytest
import torch
from torch import Tensor

from stream_mtl.label import Kind, Reading, parse
from stream_mtl.label.base import DelayedFeedback, negative_log, negative_log_not

Stream = list[tuple[Kind, float, float]]  # (kind, label, mass per click)
Heads = Mapping[str, float]  # auxiliary probabilities
Loss = Callable[[Reading], Tensor]

PLACES = [(0.10, 0.4), (0.25, 0.4), (0.02, 0.6)]  # the rate p, and the share r of it that comes late


def mature(p: float, r: float) -> Stream:
    return [(Kind.FINAL, 1, p), (Kind.FINAL, 0, 1 - p)]


def wait(p: float, r: float) -> Stream:
    return [(Kind.IP, 1, p * (1 - r)), (Kind.ON, 0, 1 - p * (1 - r))]


def elapsed_sampling(p: float, r: float) -> Stream:
    return [*wait(p, r), (Kind.DP, 1, p * r)]


def real_negatives(p: float, r: float) -> Stream:
    return [*elapsed_sampling(p, r), (Kind.RN, 0, 1 - p)]


def twice(p: float, r: float) -> Stream:
    return [*real_negatives(p, r), (Kind.IP2, 1, p * (1 - r))]


def fake_negatives(p: float, r: float) -> Stream:
    return [(Kind.ON, 0, 1), (Kind.DP, 1, p)]


def heads(p: float, r: float) -> Heads:
    """Return what auxiliary logits would say had they learned everything."""
    return {"late": p * r, "real": (1 - p) / (1 - p + p * r), "in_time": 1 - r, "out": p * r, "rate": 0.5}


def read(
    stream: Stream,
    logit: float | Tensor,
    given: Heads,
    reach: float | None = None,
    hours: float = 1.0,
) -> tuple[Reading, Tensor]:
    """Return what a loss sees of a stream's examples, once for each logit, (logits, examples) flat; and masses."""
    logits = torch.as_tensor(logit, dtype=torch.float64).reshape(-1)
    kinds, labels, masses = (
        torch.tensor(column, dtype=torch.float64).repeat(len(logits)) for column in zip(*stream, strict=True)
    )
    full = logits.repeat_interleave(len(stream))
    reading = Reading(
        logit=full.requires_grad_(),
        auxiliary={
            name: torch.full_like(labels, value).logit().requires_grad_() for name, value in given.items()
        },
        reach=None if reach is None else torch.full_like(labels, reach),
        label=labels,
        kind=kinds.to(torch.int8),
        elapsed=torch.full_like(labels, hours * 3600),
    )
    return reading, masses


def slopes(
    loss: Loss, stream: Stream, logits: Tensor, given: Heads, reach: float | None = None, of: str = ""
) -> Tensor:
    """Return, at each logit, the gradient of the stream's expected loss, or that of one auxiliary logit."""
    reading, masses = read(stream, logits, given, reach)
    if of:
        varied = reading.logit.detach().clone().requires_grad_()
        reading = replace(reading, auxiliary={**reading.auxiliary, of: varied})
    (gradient,) = torch.autograd.grad(
        (loss(reading) * masses).sum(), reading.auxiliary[of] if of else reading.logit
    )
    return gradient.reshape(len(logits), -1).sum(dim=1)


def slope(loss: Loss, stream: Stream, logit: float, given: Heads) -> float:
    return float(slopes(loss, stream, torch.tensor([logit], dtype=torch.float64), given))


def at_rest(loss: Loss, stream: Stream, given: Heads, reach: float | None = None, of: str = "") -> Tensor:
    """Return the logit at which the slope goes from below zero to above it, on finer and finer grids."""
    low, high = -11.0, 11.0
    for _ in range(7):
        logits = torch.linspace(low, high, 101, dtype=torch.float64)
        first = int((slopes(loss, stream, logits, given, reach, of) >= 0).to(torch.int8).argmax())
        low, high = float(logits[max(first - 1, 0)]), float(logits[first])
    return torch.tensor(low, dtype=torch.float64)


def rest(method: DelayedFeedback, stream: Stream, given: Heads, reach: float | None = None) -> float:
    """Return the probability that is served at rest."""
    logit = at_rest(method.loss, stream, given, reach)
    auxiliary = {name: torch.tensor(value, dtype=torch.float64).logit() for name, value in given.items()}
    return float(method.probability(logit, auxiliary))


@dataclass(frozen=True)
class Case:
    method: str
    stream: Callable[[float, float], Stream]
    formula: Callable[[float, float], float]
    table: tuple[float, float, float]  # to five digits, from the table of published fixed points


TRUE = (0.10000, 0.25000, 0.02000)


def rate(p: float, r: float) -> float:
    return p


CASES: Mapping[str, Case] = {
    "oracle": Case("oracle", mature, rate, TRUE),
    "mature": Case("wait", mature, rate, TRUE),
    "wait, plain": Case("wait:15m", wait, lambda p, r: p * (1 - r), (0.06000, 0.15000, 0.00800)),
    "elapsed sampling, plain": Case(
        "wait:15m", elapsed_sampling, lambda p, r: p / (1 + p * r), (0.09615, 0.22727, 0.01976)
    ),
    "fake negatives, plain": Case(
        "wait:15m", fake_negatives, lambda p, r: p / (1 + p), (0.09091, 0.20000, 0.01961)
    ),
    "fnc, served": Case("fnc", fake_negatives, rate, TRUE),
    "fnw": Case("fnw", fake_negatives, rate, TRUE),
    "fnw on elapsed sampling": Case(
        "fnw", elapsed_sampling, lambda p, r: p / (1 - p + p * r), (0.10638, 0.29412, 0.02016)
    ),
    "pu": Case("pu", fake_negatives, rate, TRUE),
    "fsiw": Case("fsiw:15m", wait, rate, TRUE),
    "es_dfm": Case("es_dfm:15m", elapsed_sampling, rate, TRUE),
    "defer": Case("defer:15m", twice, rate, TRUE),
    "defer's stream, plain": Case("wait:15m", twice, lambda p, r: p - p * r / 2, (0.08, 0.2, 0.014)),
    "defer_rn": Case("defer_rn:15m", real_negatives, rate, TRUE),
    "defuse": Case("defuse:15m", elapsed_sampling, rate, TRUE),
    "bi_defuse, served": Case("bi_defuse:15m", elapsed_sampling, rate, TRUE),
    "ddfm": Case("ddfm:15m", real_negatives, rate, TRUE),
    "ulc": Case("ulc:15m", wait, rate, TRUE),
    "dfm": Case("dfm:1h", real_negatives, rate, TRUE),
}

UNBIASED = [name for name, case in CASES.items() if case.formula is rate]


@pytest.mark.parametrize("place", range(len(PLACES)))
@pytest.mark.parametrize("case", CASES)
def test_a_method_rests_where_its_algebra_says(case: str, place: int) -> None:
    one, (p, r) = CASES[case], PLACES[place]
    found = rest(parse(one.method), one.stream(p, r), heads(p, r))
    assert found == pytest.approx(one.formula(p, r), abs=1e-9)
    assert round(found, 5) == one.table[place]


@pytest.mark.parametrize("case", UNBIASED)
def test_there_is_one_place_to_rest(case: str) -> None:
    one, (p, r) = CASES[case], (0.10, 0.4)
    stream, loss = one.stream(p, r), parse(one.method).loss
    logits = torch.linspace(-9, 9, 200, dtype=torch.float64)
    signs = (slopes(loss, stream, logits, heads(p, r)) > 0).tolist()
    assert signs == sorted(signs)
    assert signs[0] != signs[-1]


REACH = 0.2
JOINT = [name for name in UNBIASED if name not in ("oracle", "mature")]


def over_all(stream: Stream, unreached: tuple[Kind, ...]) -> Stream:
    """Return a stream over all exposures, of which a part reaches the task."""
    reached = [(kind, label, mass * REACH) for kind, label, mass in stream]
    return [*reached, *((kind, 0.0, 1 - REACH) for kind in unreached)]


@pytest.mark.parametrize("case", JOINT)
@pytest.mark.parametrize(("p", "r"), PLACES)
def test_over_all_exposures_it_rests_at_the_rate_of_the_product(case: str, p: float, r: float) -> None:
    one = CASES[case]
    method = parse(one.method)
    stream = over_all(one.stream(p, r), method.unreached)
    known = {**heads(p, r), "out": REACH * p * r}  # *out* learns the product by itself
    assert rest(method, stream, known, REACH) == pytest.approx(REACH * p, abs=1e-9)


@pytest.mark.parametrize(
    ("place", "biased"), [(0, (0.18010, 0.26122)), (1, (0.39338, 0.53333)), (2, (0.03913, 0.04971))]
)
def test_ours_are_not_the_public_code_that_is_biased(place: int, biased: tuple[float, float]) -> None:
    p, r = PLACES[place]
    dp, known = p * r, heads(p, r)

    def defuse_as_coded(reading: Reading) -> Tensor:
        """Every positive weighs 2 + dp, early or late."""
        z = 1 - known["real"]
        yes = reading.label * (2 + dp) + (1 - reading.label) * z * dp
        no = (1 - reading.label) * (1 - z) * (1 + dp)
        loss: Tensor = yes * negative_log(reading.logit) + no * negative_log_not(reading.logit)
        return loss

    def defer_as_coded(reading: Reading) -> Tensor:
        """2 (2 - r) for 2/(2 - r), and r taken for dp in the weight of negatives."""
        f = reading.logit.detach().sigmoid()
        yes = reading.label * 2 * (2 - r) * negative_log(reading.logit)
        no = (1 - reading.label) * (1 - f) / (1 - f + r / 2) * negative_log_not(reading.logit)
        loss: Tensor = yes + no
        return loss

    for coded, stream, ours, wrong in [
        (defuse_as_coded, elapsed_sampling(p, r), "defuse:15m", biased[0]),
        (defer_as_coded, twice(p, r), "defer:15m", biased[1]),
    ]:
        found = float(at_rest(coded, stream, {}).sigmoid())
        assert round(found, 5) == wrong
        assert rest(parse(ours), stream, known) == pytest.approx(p, abs=1e-9)


@pytest.mark.parametrize(("p", "r"), PLACES)
def test_in_es_dfm_a_wrong_rn_moves_the_rest_and_a_wrong_dp_does_not(p: float, r: float) -> None:
    method, stream, known = parse("es_dfm:15m"), elapsed_sampling(p, r), heads(p, r)
    for dp in (0.001, 0.9):
        assert rest(method, stream, {**known, "late": dp}) == pytest.approx(p, abs=1e-9)
        for rn in (0.2, 0.999):
            found = rest(method, stream, {"late": dp, "real": rn})
            assert found == pytest.approx(p / (p + rn * (1 - p + p * r)), abs=1e-9)


@pytest.mark.parametrize(("p", "r"), PLACES)
def test_the_two_heads_of_bi_defuse_rest_at_the_early_and_the_late_share(p: float, r: float) -> None:
    method, stream = parse("bi_defuse:15m"), elapsed_sampling(p, r)

    early = float(at_rest(method.loss, stream, heads(p, r)).sigmoid())
    out = float(at_rest(method.loss, stream, heads(p, r), of="out").sigmoid())
    assert early == pytest.approx(p * (1 - r), abs=1e-9)
    assert out == pytest.approx(p * r, abs=1e-9)
    assert round(out, 5) == {0.10: 0.04, 0.25: 0.10, 0.02: 0.012}[p]


@pytest.mark.parametrize("logit", [-2.0, 0.0, 1.5])
def test_the_weights_of_fnw_are_constants(logit: float) -> None:
    f = torch.tensor(logit, dtype=torch.float64).sigmoid().item()
    assert slope(parse("fnw").loss, [(Kind.DP, 1, 1)], logit, {}) == pytest.approx(-(1 + f) * (1 - f))
    assert slope(parse("fnw").loss, [(Kind.ON, 0, 1)], logit, {}) == pytest.approx((1 - f) * (1 + f) * f)


def test_pu_takes_back_what_the_negative_taught() -> None:
    loss = parse("pu").loss
    for logit in (-3.0, 0.0, 2.0):
        both = slope(loss, [(Kind.ON, 0, 1), (Kind.DP, 1, 1)], logit, {})
        assert both == pytest.approx(slope(parse("wait").loss, [(Kind.FINAL, 1, 1)], logit, {}))


def test_fnc_never_serves_more_than_one() -> None:
    served = parse("fnc").probability(torch.tensor([-2.0, 0.0, 0.1, 40.0]), {})
    assert served.tolist() == pytest.approx([math.exp(-2), 1, 1, 1])


@pytest.mark.parametrize("f", [1e-9, 0.01, 0.19, 0.2, 0.21, 0.24, 0.5, 0.99])
def test_the_weight_of_a_positive_of_defer_stays_between_1_and_5_around_its_pole(f: float) -> None:
    logit = torch.tensor(f, dtype=torch.float64).logit().item()
    weight = slope(parse("defer:15m").loss, [(Kind.DP, 1, 1)], logit, {"late": 0.4}) / -(1 - f)
    assert weight == pytest.approx(f / (f - 0.2) if f > 0.25 else 5.0)


def test_below_its_pole_defer_still_rises() -> None:
    given = {"late": 0.4}
    assert slope(parse("defer:15m").loss, twice(0.5, 0.8), -6.0, given) < -1


def test_the_second_weight_of_ddfm_stays_between_0_and_1() -> None:
    loss, given = parse("ddfm:15m").loss, {"late": 0.6, "real": 0.5}
    assert slope(loss, [(Kind.RN, 0, 1)], -3.0, given) == pytest.approx(1 / (1 + math.exp(3)))
    reading, _ = read([(Kind.RN, 0, 1)], -3.0, given)
    assert (loss(reading) >= 0).all()


def test_a_share_in_time_near_0_gives_fsiw_no_weight_above_10() -> None:
    given = {"in_time": 1e-6, "real": 0.5}
    assert slope(parse("fsiw:15m").loss, [(Kind.IP, 1, 1)], 0.0, given) == pytest.approx(-5)


def delay_model(looks: str, kind: Kind, label: float, hours: float, logit: float, rate: float) -> Reading:
    """Return one example of the delay model, its rate per day."""
    log_rate = torch.tensor(rate, dtype=torch.float64).log()
    return read([(kind, label, 1.0)], logit, {"rate": float(log_rate.sigmoid())}, hours=hours)[0]


@pytest.mark.parametrize("logit", [-2.0, 0.0, 1.0])
@pytest.mark.parametrize("rate", [0.5, 3.0, 40.0])
def test_the_gradients_of_the_delay_model_are_those_of_its_paper(logit: float, rate: float) -> None:
    p, fade = 1 / (1 + math.exp(-logit)), math.exp(-rate / 24)

    def gradient(kind: Kind, label: float, hours: float) -> float:
        reading = delay_model("1h", kind, label, hours, logit, rate)
        return float(torch.autograd.grad(parse("dfm:1h").loss(reading).sum(), reading.logit)[0])

    assert gradient(Kind.IP, 1, 0.3) == pytest.approx(-(1 - p))
    assert gradient(Kind.ON, 0, 1) == pytest.approx(p * (1 - p) * (1 - fade) / (1 - p + p * fade))
    assert gradient(Kind.ON, 0, 0) == pytest.approx(0, abs=1e-12)
    assert gradient(Kind.FINAL, 0, 24) == pytest.approx(p)


@pytest.mark.parametrize("looks", ["1h", "1h,2h", "1h,3h,5h,7h"])
def test_the_looks_of_the_delay_model_telescope(looks: str) -> None:
    logit, rate, p = -0.7, 5.0, 1 / (1 + math.exp(0.7))
    ages = [float(look.removesuffix("h")) for look in looks.split(",")]

    def one(kind: Kind, label: float, hours: float) -> float:
        reading = delay_model(looks, kind, label, hours, logit, rate)
        return float(parse(f"dfm:{looks}").loss(reading).detach())

    def come(delay: float) -> float:
        return -math.log(p) - math.log(rate) + rate * delay / 24

    seen = sum(one(Kind.ON, 0, age) for age in ages)
    assert seen == pytest.approx(-math.log(1 - p + p * math.exp(-rate * ages[-1] / 24)))
    assert seen + one(Kind.RN, 0, 24) == pytest.approx(-math.log(1 - p))
    assert seen + one(Kind.RN, 0, ages[-1]) == pytest.approx(-math.log(1 - p))  # the end on the last look
    assert seen + one(Kind.DP, 1, ages[-1] + 0.5) == pytest.approx(come(ages[-1] + 0.5))
    if len(ages) > 1:
        told = sum(one(Kind.ON, 0, age) for age in ages[:-1]) + one(Kind.DP, 1, ages[-2] + 0.5)
        assert told == pytest.approx(come(ages[-2] + 0.5))


def test_the_delay_model_learns_how_fast_events_come() -> None:
    delays = torch.tensor([1.0, 2.0, 9.0], dtype=torch.float64)  # hours: 6 a day
    method = parse("dfm:1d")

    def loss(reading: Reading) -> Tensor:
        loss: Tensor = method.loss(replace(reading, elapsed=delays.repeat(len(reading.label) // 3) * 3600))
        return loss

    found = at_rest(loss, [(Kind.IP, 1, 1.0)] * 3, {"rate": 0.5}, of="rate")
    assert float(found.exp()) == pytest.approx(6.0)


def pull(method: DelayedFeedback, logits: Tensor, p: float, r: float) -> Tensor:
    """Return the gradient (2,) of a click and a conversion logit of one x, taught by clicks and by their product."""
    logits = logits.clone().requires_grad_()
    click, both = logits[0], logits.sigmoid().prod().logit()
    reading, masses = read(
        over_all(CASES[JOINT_CASE[method]].stream(p, r), method.unreached), 0.0, heads(p, r)
    )
    reach = click.detach().sigmoid().expand(len(masses))
    conversions = method.loss(replace(reading, logit=both.expand(len(masses)), reach=reach)) * masses
    clicks = REACH * negative_log(click) + (1 - REACH) * negative_log_not(click)
    (gradient,) = torch.autograd.grad(conversions.sum() + clicks, logits)
    return gradient


JOINT_CASE: Mapping[Any, str] = {parse(CASES[name].method): name for name in ("es_dfm", "defer", "ddfm")}


@pytest.mark.parametrize("method", JOINT_CASE, ids=JOINT_CASE.values())
def test_with_corrections_esmm_rests_at_the_click_and_the_conversion_rate(method: DelayedFeedback) -> None:
    p, r = 0.25, 0.4
    logits = torch.tensor([REACH, p], dtype=torch.float64).logit() + torch.tensor([0.4, -0.3])
    for _ in range(8):  # Newton's steps
        here, tiny = pull(method, logits, p, r), 1e-6
        columns = [(pull(method, logits + tiny * one, p, r) - here) / tiny for one in torch.eye(2)]
        logits = logits - torch.linalg.solve(torch.stack(columns, dim=1), here)
    assert logits.sigmoid().tolist() == pytest.approx([REACH, p], abs=1e-6)

"""The people of a demo do what their known truth says, and what they do happens in its order, once."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest

from stream_mtl.clock import DAY, HOUR, MINUTE, Millis
from stream_mtl.errors import ConfigError
from stream_mtl.generate.delays import Exponential
from stream_mtl.generate.fields import event_fields
from stream_mtl.generate.live import Population, Record
from stream_mtl.generate.market import Market
from stream_mtl.generate.options import GeneratorOptions

OPTIONS = GeneratorOptions(
    impressions=1_000,
    duration=2 * DAY,
    users=100,
    items=60,
    new_items=0.0,
    slate=8,
    ctr=0.3,
    cvr=0.5,
    click_delays=(Exponential(8 * MINUTE),),
    conversion_delays=(Exponential(10 * MINUTE),),
    click_within=10 * MINUTE,
    conversion_within=40 * MINUTE,
    lateness=2 * MINUTE,
    remember=10 * MINUTE,
)
SHOWN = 4


def best_first(request: str, time: Millis, candidates: Sequence[Record]) -> list[int]:
    return list(reversed(range(len(candidates))))


def nobody(request: str, time: Millis, candidates: Sequence[Record]) -> None:
    return None


def population(unranked: float = 0.5, seed: int = 3) -> Population:
    return Population(Market(OPTIONS), SHOWN, unranked, seed)


def lived(people: Population, requests: int = 1_500) -> list[tuple[str, Record]]:
    """Let people come in two hours, a quarter at a time; return all that happens."""
    begin, out = OPTIONS.start + HOUR, []
    for quarter in range(8):
        at = begin + quarter * 15 * MINUTE
        people.visit(requests // 8, at, at + 15 * MINUTE, best_first)
        out += list(people.until(at + 15 * MINUTE))
    return out + list(people.until(begin + 30 * DAY))


@pytest.fixture(scope="module")
def world() -> tuple[Population, list[tuple[str, Record]]]:
    people = population()
    return people, lived(people)


World = tuple[Population, list[tuple[str, Record]]]


def of_kind(world: World, kind: str) -> list[Record]:
    return [record for name, record in world[1] if name == kind]


def test_what_happens_is_told_in_its_order(world: World) -> None:
    times = [record["ts"] for _, record in world[1]]
    assert times == sorted(times)


def test_until_gives_what_is_before_a_time_and_keeps_the_rest() -> None:
    people, begin = population(), OPTIONS.start + HOUR
    people.visit(50, begin, begin + MINUTE, best_first)
    early = list(people.until(begin + MINUTE))
    late = list(people.until(begin + 30 * DAY))
    assert early and all(record["ts"] < begin + MINUTE for _, record in early)
    assert late and all(record["ts"] >= begin + MINUTE for _, record in late)
    assert list(people.until(begin + 60 * DAY)) == []


@pytest.mark.parametrize(
    ("kind", "id"), [("impression", "exposure_id"), ("click", "click_id"), ("conversion", "conversion_id")]
)
def test_ids_are_unique(world: World, kind: str, id: str) -> None:
    ids = [record[id] for record in of_kind(world, kind)]
    assert len(ids) > 100
    assert len(set(ids)) == len(ids)


def test_clicks_and_orders_follow_what_was_shown_and_clicked(world: World) -> None:
    shown = {record["exposure_id"]: record for record in of_kind(world, "impression")}
    clicks = {record["click_id"]: record for record in of_kind(world, "click")}
    for click in clicks.values():
        before = shown[click["exposure_id"]]
        assert click["ts"] >= before["ts"] and click["item_id"] == before["item_id"]
    for order in of_kind(world, "conversion"):
        click = clicks[order["click_id"]]
        assert order["ts"] >= click["ts"] and order["exposure_id"] == click["exposure_id"]


def test_the_truth_counts_what_was_shown_and_clicked_within_the_window(world: World) -> None:
    people = world[0]
    shown = {record["exposure_id"]: record["ts"] for record in of_kind(world, "impression")}
    within = [
        click
        for click in of_kind(world, "click")
        if click["ts"] - shown[click["exposure_id"]] <= OPTIONS.click_within
    ]
    assert people.ranked.shown + people.unranked.shown == len(shown) == (1_500 // 8) * 8 * SHOWN
    assert people.ranked.clicks + people.unranked.clicks == len(within)
    assert len(within) < len(of_kind(world, "click"))  # some come too late


def test_people_click_at_the_true_rate(world: World) -> None:
    for truth in (world[0].ranked, world[0].unranked):
        assert truth.shown > 1_000
        error = np.sqrt(truth.expected * (1 - truth.expected / truth.shown))  # at least the true one
        assert abs(truth.clicks - truth.expected) < 5 * error
        assert 0 < truth.entropy / truth.shown < np.log(2)


def test_a_ranking_is_shown_as_it_was_given() -> None:
    people, asked = population(unranked=0.0), {}
    begin = OPTIONS.start + HOUR

    def ask(request: str, time: Millis, candidates: Sequence[Record]) -> list[int]:
        asked[request] = [candidate["exposure_id"] for candidate in candidates]
        return best_first(request, time, candidates)

    people.visit(20, begin, begin + MINUTE, ask)
    seen: dict[str, list[str]] = {}
    for kind, record in people.until(begin + MINUTE):
        if kind == "impression":
            seen.setdefault(record["exposure_id"].rpartition("-")[0], []).append(record["exposure_id"])
            assert record["position"] == len(seen[record["exposure_id"].rpartition("-")[0]]) - 1
    assert seen == {request: ids[::-1][:SHOWN] for request, ids in asked.items()}
    assert people.unranked.shown == 0


def test_who_gets_no_answer_sees_something_and_counts_as_unranked() -> None:
    people, begin = population(unranked=0.0), OPTIONS.start + HOUR
    people.visit(20, begin, begin + MINUTE, nobody)
    assert people.unanswered == 20
    assert people.ranked.shown == 0 and people.unranked.shown == 20 * SHOWN


def test_the_same_seed_lives_the_same_life(world: World) -> None:
    assert lived(population()) == world[1]
    assert lived(population(seed=4)) != world[1]


def test_orders_are_given_back_and_clicks_found_out_behind_them_as_often_as_is_true() -> None:
    knobs = replace(OPTIONS, refund_rate=0.4, invalid_rate=0.3)
    people = Population(Market(knobs), SHOWN, 0.5, seed=3)
    world = people, lived(people)
    orders = {record["conversion_id"]: record for record in of_kind(world, "conversion")}
    clicks = {record["click_id"]: record for record in of_kind(world, "click")}
    back, found = of_kind(world, "refund"), of_kind(world, "invalid_click")
    assert len({record["refund_id"] for record in back}) == len(back)
    assert len(back) / len(orders) == pytest.approx(0.4, abs=0.08)
    assert len(found) / len(clicks) == pytest.approx(0.3, abs=0.05)
    for refund in back:
        order = orders[refund["conversion_id"]]
        assert refund["ts"] >= order["ts"] and refund["amount"] <= order["amount"]
    for record in found:
        assert record["ts"] >= clicks[record["click_id"]]["ts"]
    for kind in ("refund", "invalid_click"):
        assert set(event_fields(knobs, kind)) == set(of_kind(world, kind)[0])


def test_people_live_where_impressions_are_shown() -> None:
    with pytest.raises(ConfigError, match='write root = "impression"'):
        Population(Market(replace(OPTIONS, root="click", slate=1)), 1, 0.5, seed=3)

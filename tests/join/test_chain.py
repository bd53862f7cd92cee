"""What an exposure's events make true, rule by rule."""

from dataclasses import replace
from itertools import permutations
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stream_mtl.errors import ConfigError
from stream_mtl.join.chain import (
    Chain,
    Fact,
    State,
    end,
    first,
    known,
    last,
    life,
    moments,
    parent_time,
    record,
    state,
    tellings,
    told_at,
)
from stream_mtl.join.spec import Aggregate, ChainSpec, KindSpec, TaskSpec
from tests.join.streams import AD, NAMED, SHOP, SOCIAL, chain_specs
from tests.join.told import show

CTR, CVR, ORDER_VALUE = AD.tasks


def exposure(spec: ChainSpec, *events: tuple[Any, ...], time: int = 0) -> Chain:
    """An exposure at 0 and its events: (kind, time) or (kind, time, fields)."""
    chain = Chain(spec, number=0, key=("u",), time=time, fields={"tags": ["x"]})
    for position, (kind, at, *fields) in enumerate(events):
        chain = record(chain, Fact(kind, at, at, (0, position), dict(*fields)))
    return chain


def lines(spec: ChainSpec, *events: tuple[Any, ...], upto: int) -> list[str]:
    return show(spec, tellings(exposure(spec, *events), upto))


def with_within(spec: ChainSpec, **windows: int) -> ChainSpec:
    kinds = [replace(kind, within=windows.get(kind.name, kind.within)) for kind in spec.kinds]
    return replace(spec, kinds=tuple(kinds))


# The end of a kind's window


def test_a_child_of_the_root_can_join_until_its_window_has_passed() -> None:
    assert end(exposure(AD, time=7), "click", at=7) == 7 + 4


def test_what_comes_after_a_kind_that_has_not_happened_ends_with_it() -> None:
    assert end(exposure(AD), "conversion", at=0) == 4
    assert end(exposure(SOCIAL), "mic_seconds", at=0) == 9


def test_what_comes_after_a_kind_that_happened_ends_its_own_window_later() -> None:
    clicked = exposure(AD, ("click", 3))
    assert (end(clicked, "conversion", at=2), end(clicked, "conversion", at=3)) == (4, 13)


def test_the_window_counts_from_the_first_event_of_the_kind_it_comes_after() -> None:
    assert end(exposure(AD, ("click", 1), ("click", 3)), "conversion", at=4) == 11


def test_a_kind_that_names_its_parent_may_follow_the_last_event() -> None:
    assert end(exposure(NAMED, ("click", 1), ("click", 3)), "conversion", at=2) == 11
    assert end(exposure(NAMED, ("click", 1), ("click", 3)), "conversion", at=3) == 13


def test_a_kind_that_names_its_parent_may_follow_one_that_is_still_to_come() -> None:
    spec = with_within(NAMED, conversion=1)
    assert end(exposure(spec, ("click", 1)), "conversion", at=1) == 4


def test_of_several_kinds_that_one_comes_after_the_last_to_end_counts() -> None:
    assert end(exposure(SHOP), "purchase", at=0) == 8  # a cart may come until 8, a view gives 5
    assert end(exposure(SHOP, ("cart", 7)), "purchase", at=7) == 12


def test_a_window_may_end_earlier_when_its_parent_comes_early() -> None:
    carted = exposure(SHOP, ("cart", 1))
    assert (end(carted, "purchase", at=0), end(carted, "purchase", at=1)) == (8, 6)


def test_a_child_without_a_window_is_a_mistake_of_the_configuration() -> None:
    spec = replace(AD, kinds=(AD.root, KindSpec("click", after=("impression",))), tasks=())
    with pytest.raises(ConfigError, match=r"events\.click.*within"):
        end(exposure(spec), "click", at=0)


def test_an_exposure_lives_until_its_last_window_ends_if_nothing_happens() -> None:
    assert (life(AD), life(SHOP), life(SOCIAL)) == (4, 8, 9)


def test_an_exposure_is_known_until_remember_after_its_last_window() -> None:
    assert (known(exposure(AD), at=4 + 3), known(exposure(AD), at=4 + 4)) == (True, False)
    clicked = exposure(AD, ("click", 2))
    assert (known(clicked, at=12 + 3), known(clicked, at=12 + 4)) == (True, False)


# The parent of a child that was found by key


def test_the_preferred_kind_that_had_happened_is_the_parent() -> None:
    chain = exposure(SHOP, ("cart", 3))
    assert parent_time(chain, "purchase", event_time=3, at=3) == 3
    assert parent_time(chain, "purchase", event_time=2, at=3) == 0  # the view: no cart by then
    turned = replace(SHOP.kind("purchase"), after=("view", "cart"))
    prefers_view = replace(SHOP, kinds=(*SHOP.kinds[:2], turned))
    assert parent_time(exposure(prefers_view, ("cart", 3)), "purchase", event_time=3, at=3) == 0


def test_of_kinds_that_had_not_happened_the_earliest_within_skew_is_the_parent() -> None:
    chain = exposure(SHOP, ("cart", 6), time=5)
    assert parent_time(chain, "purchase", event_time=4, at=6) == 5
    assert parent_time(chain, "purchase", event_time=3, at=4) is None
    assert parent_time(chain, "purchase", event_time=2, at=6) is None


# The state of a task


def test_a_label_is_not_known_before_the_window_has_ended() -> None:
    chain = exposure(AD)
    assert (state(chain, CTR, at=3), state(chain, CTR, at=4)) == (State(None), State(0))


def test_a_label_is_1_from_the_event_on() -> None:
    chain = exposure(AD, ("click", 3), ("click", 4))
    assert (state(chain, CTR, at=2), state(chain, CTR, at=3)) == (State(None), State(1, 3))


def test_a_task_that_is_given_another_is_null_unless_that_one_is_1() -> None:
    assert state(exposure(AD), CVR, at=100) == State(None)
    assert state(exposure(AD, ("click", 3)), CVR, at=12) == State(None)
    assert state(exposure(AD, ("click", 3)), CVR, at=13) == State(0)


def test_an_event_that_its_given_task_missed_teaches_nothing() -> None:
    spec = replace(SHOP, tasks=(SHOP.tasks[0], replace(SHOP.tasks[1], given="carted")))
    bought = exposure(spec, ("purchase", 2))
    assert state(bought, spec.tasks[1], at=100) == State(None)
    assert lines(spec, ("purchase", 2), upto=100)[-1] == "8 final #0 carted/bought carted=0"


@pytest.mark.parametrize(("how", "value"), [("first", 5), ("last", -1), ("sum", 6), ("max", 5), ("count", 5)])
def test_a_value_passes_over_nulls_and_a_count_counts_events(how: Aggregate, value: float) -> None:
    amounts = [None, 5.0, 2.0, -1.0, None]
    task = TaskSpec("value", "click", value="amount", how=how)
    spec = replace(AD, tasks=(task,))
    chain = exposure(spec, *(("click", at, {"amount": amount}) for at, amount in enumerate(amounts)))
    assert state(chain, task, at=100) == State(1, 0, value)


def test_a_value_is_null_where_no_event_has_the_field() -> None:
    task = TaskSpec("value", "click", value="amount", how="sum")
    chain = exposure(replace(AD, tasks=(task,)), ("click", 1, {"amount": None}))
    assert state(chain, task, at=1) == State(1, 1, None)


def test_a_value_knows_only_the_events_up_to_the_telling() -> None:
    task = TaskSpec("value", "click", value="amount", how="sum")
    chain = exposure(replace(AD, tasks=(task,)), ("click", 1, {"amount": 2}), ("click", 3, {"amount": 4}))
    assert [state(chain, task, at).value for at in (0, 1, 2, 3)] == [None, 2, 2, 6]


def test_only_the_first_max_events_count_towards_a_value() -> None:
    task = TaskSpec("value", "click", value="amount", how="sum")
    spec = replace(AD, tasks=(task,), max_events=2)
    chain = exposure(spec, *(("click", at, {"amount": amount}) for at, amount in [(1, 1), (2, None), (3, 4)]))
    assert state(chain, task, at=3).value == 1


def test_a_task_without_a_value_has_none() -> None:
    assert state(exposure(AD, ("click", 1, {"amount": 2})), CTR, at=1) == State(1, 1, None)


def test_events_are_ordered_by_when_they_count_then_by_their_own_time_and_place() -> None:
    facts = [
        Fact("click", 3, 2, (1, 9), {}),
        Fact("click", 3, 3, (0, 4), {}),
        Fact("click", 3, 3, (0, 5), {}),
        Fact("click", 4, 1, (0, 0), {}),
    ]
    for order in permutations(facts):
        chain = exposure(AD)
        for fact in order:
            chain = record(chain, fact)
        assert chain.facts["click"] == tuple(facts)
        assert (first(chain, "click", 2), first(chain, "click", 3), last(chain, "click", 3)) == (None, 3, 3)


# What is told


def test_an_exposure_without_a_click_has_one_final_row_for_all_tasks() -> None:
    assert lines(AD, upto=100) == [
        "0 exposed #0 -",
        "2 look+2 #0 ctr",
        "4 final #0 ctr/cvr/order_value ctr=0",
    ]


def test_the_clock_of_a_given_task_starts_at_the_click() -> None:
    told = lines(AD, ("click", 3), ("conversion", 5, {"amount": 2.5}), upto=100)
    assert told == [
        "0 exposed #0 -",
        "2 look+2 #0 ctr",
        "3 event #0 ctr ctr=1@3",
        "4 look+1 #0 cvr ctr=1@3",
        "4 final #0 ctr ctr=1@3",
        "5 event #0 cvr ctr=1@3 cvr=1@5 order_value=1@5=2.5",
        "8 look+5 #0 cvr ctr=1@3 cvr=1@5 order_value=1@5=2.5",
        "13 final #0 cvr/order_value ctr=1@3 cvr=1@5 order_value=1@5=2.5",
    ]


def test_nothing_is_told_that_lies_beyond_the_instant_asked_for() -> None:
    told = lines(AD, ("click", 3), upto=100)
    for upto in range(-1, 20):
        assert lines(AD, ("click", 3), upto=upto) == [one for one in told if int(one.split()[0]) <= upto]


def test_a_look_is_told_up_to_the_end_of_the_window_and_not_beyond() -> None:
    assert lines(with_within(AD, click=2), upto=100)[1:] == [
        "2 look+2 #0 ctr ctr=0",
        "2 final #0 ctr/cvr/order_value ctr=0",
    ]
    assert lines(with_within(AD, click=1), upto=100)[1:] == ["1 final #0 ctr/cvr/order_value ctr=0"]


def test_a_label_known_by_the_earliest_look_has_no_row_of_its_own() -> None:
    for click in (0, 1, 2):
        told = lines(AD, ("click", click), upto=100)
        assert f"2 look+2 #0 ctr ctr=1@{click}" in told
        assert not any("event" in line for line in told)
    assert "3 event #0 ctr ctr=1@3" in lines(AD, ("click", 3), upto=100)


def test_a_task_without_looks_has_no_event_row() -> None:
    spec = replace(AD, tasks=(replace(CTR, waits=()),))
    assert lines(spec, ("click", 3), upto=100) == ["0 exposed #0 -", "4 final #0 ctr ctr=1@3"]


def test_a_second_event_tells_nothing_new() -> None:
    assert lines(AD, ("click", 3), ("click", 4), upto=100) == lines(AD, ("click", 3), upto=100)


def test_rows_of_one_instant_kind_and_wait_are_one() -> None:
    again = replace(CTR, name="again", waits=(2, 3))
    assert lines(replace(AD, tasks=(CTR, again)), upto=3) == [
        "0 exposed #0 -",
        "2 look+2 #0 ctr/again",
        "3 look+3 #0 again",
    ]


def test_looks_of_one_instant_are_told_by_wait() -> None:
    slow = TaskSpec("slow", "conversion", waits=(4, 0))
    late = TaskSpec("late", "conversion", given="ctr", waits=(1,))
    spec = replace(AD, tasks=(replace(CTR, waits=()), slow, late))
    told = lines(spec, ("click", 3), upto=4)
    assert told[-3:] == [
        "4 look+1 #0 late ctr=1@3",
        "4 look+4 #0 slow ctr=1@3",
        "4 final #0 ctr ctr=1@3",
    ]


def test_an_event_before_its_task_started_shows_in_its_looks_only() -> None:
    heard = TaskSpec("heard", "is_view", given="on_mic", waits=(1,))
    on_mic = TaskSpec("on_mic", "is_on_mic")
    assert lines(replace(SOCIAL, tasks=(on_mic, heard)), ("is_view", 2), ("is_on_mic", 5), upto=9) == [
        "0 exposed #0 -",
        "6 look+1 #0 heard on_mic=1@5 heard=1@2",
        "6 final #0 heard on_mic=1@5 heard=1@2",
        "9 final #0 on_mic on_mic=1@5 heard=1@2",
    ]


def test_beside_a_task_that_ended_the_others_go_on() -> None:
    told = lines(SOCIAL, ("is_on_mic", 8), upto=100)
    assert [one for one in told if "final" in one] == [
        "6 final #0 viewed/view_seconds viewed=0",
        "9 final #0 on_mic viewed=0 on_mic=1@8",
        "15 final #0 spoke/times viewed=0 on_mic=1@8 spoke=0",
    ]


def test_a_final_row_carries_features_only_where_a_method_trains_on_it() -> None:
    told = tellings(exposure(AD, ("click", 3)), upto=100)
    assert all((row.fields is None) == (row.kind.name == "FINAL") for row in told)
    asked = tellings(exposure(replace(AD, features_on_final=True), ("click", 3)), upto=100)
    assert all(row.fields == {"tags": ["x"]} for row in asked)


@st.composite
def chains(draw: st.DrawFn) -> Chain:
    """An exposure whose events may have joined: each comes in time after something that it may come after."""
    chain = exposure(draw(chain_specs()))
    at = 0
    for _ in range(draw(st.integers(0, 8))):
        at += draw(st.integers(0, 4))
        child = draw(st.sampled_from(chain.spec.kinds[1:]))
        begun = [first(chain, parent, at) for parent in child.after]
        parents = [time for time in begun if time is not None]
        if child.parent is not None:
            parents += [last(chain, name, at) for name in child.after if chain.facts.get(name)]
        elif parents:
            parents = parents[:1]
        if any(at - time <= (child.within or 0) for time in parents):
            chain = record(chain, Fact(child.name, at, at, (0, at), {"amount": 1.0, "seconds": 1}))
    return chain


@settings(max_examples=200, deadline=None)
@given(chains(), st.integers(0, 60))
def test_all_that_is_told_is_found_by_asking_at_every_instant(chain: Chain, upto: int) -> None:
    asked = [row for at in range(upto + 1) for row in told_at(chain, at)]
    assert tellings(chain, upto) == asked


@settings(max_examples=200, deadline=None)
@given(chains())
def test_every_task_ends_once_and_what_it_said_then_stays_so(chain: Chain) -> None:
    far = 200
    for bit, task in enumerate(chain.spec.tasks):
        finals = [row for row in tellings(chain, far) if row.kind.name == "FINAL" and row.tasks >> bit & 1]
        assert len(finals) == 1
        said = finals[0].states[bit]
        assert said in (State(), state(chain, task, far))


@settings(max_examples=200, deadline=None)
@given(chains(), st.integers(0, 40))
def test_what_may_be_told_next_is_announced_by_what_is_known(chain: Chain, at: int) -> None:
    """A joiner that looks at an exposure only when something happens to it misses nothing."""
    happens = [fact.time for facts in chain.facts.values() for fact in facts if fact.time > at]
    coming = [row.told for row in tellings(chain, min([200, *happens]) - 1) if row.told > at]
    assert set(coming) <= moments(chain, at)

"""What is told, by brute force, against examples by hand: one for a sentence of decision 1."""

from dataclasses import replace
from typing import Any

from stream_mtl.join.spec import TaskSpec

from .brute import EVENT, EXPOSED, FINAL, LOOK, BruteResult, BruteRow, TaskState
from .test_brute import BUY, CLICK, CTR, CVR, SHOP, fates, finals, join, kinds, on, rows

NOTHING = TaskState(None, None, None)


# 6. State of a task


def told(result: BruteResult, kind: int, task: int = 0) -> dict[int, TaskState]:
    """When rows of a kind are told, and what they say of one task."""
    return {r.told: r.states[task] for r in rows(result, kind)}


def test_a_label_is_null_until_its_event_or_the_end_of_its_window() -> None:
    chain = replace(SHOP, tasks=(replace(CTR, waits=(3, 4, 5)),))
    looks = told(join(chain, on("view", 0), on("click", 4), to=99), LOOK)
    assert looks == {3: NOTHING, 4: TaskState(1, 4, None), 5: TaskState(1, 4, None)}
    assert told(join(chain, on("view", 0), to=99), FINAL) == {10: TaskState(0, None, None)}


def test_a_task_is_undefined_where_the_task_that_it_is_given_has_no_label_1() -> None:
    assert told(join(SHOP, on("view", 0), to=99), FINAL, 1) == {10: NOTHING}
    clicked = told(join(SHOP, on("view", 0), on("click", 4), to=99), FINAL, 1)
    assert clicked == {10: NOTHING, 24: TaskState(0, None, None)}


def worth(how: Any, *amounts: int | None, field: str | None = "x", cap: int = 9) -> list[Any]:
    """What each of the three looks at 0, 1 and 2 says, with one event per amount at 1, 2, 3."""
    task = TaskSpec("worth", "click", value=field, how=how, waits=(0, 1, 2))
    chain = replace(SHOP, tasks=(task,), max_events=cap)
    clicks = [on("click", i, x=x) for i, x in enumerate(amounts)]
    return [s.value for s in told(join(chain, on("view", 0), *clicks, to=99), LOOK).values()]


def test_a_value_is_the_aggregate_of_the_events_up_to_then_without_nulls() -> None:
    assert worth("first", None, 5, 7) == [None, 5, 5]
    assert worth("last", 5, 7, None) == [5, 7, 7]
    assert worth("sum", 5, None, 7) == [5, 5, 12]
    assert worth("max", 5, 7, 6) == [5, 7, 7]
    assert worth("count", 5, None, 7) == [1, 2, 3]
    assert worth("count", 5, None, 7, field=None) == [1, 2, 3]
    assert worth("first", 5, 7, field=None) == [None] * 3  # no value task


def test_only_the_first_events_count_towards_values_but_more_are_joined() -> None:
    assert worth("last", None, 7, 8, cap=2) == [None, 7, 7]
    assert worth("count", 5, 6, 7, cap=2) == [1, 2, 2]
    assert fates(replace(SHOP, max_events=1), on("view", 0), on("click", 1), on("click", 2))[2] == "joined"


def test_events_of_one_time_are_ordered_by_their_own_time() -> None:
    task = TaskSpec("worth", "click", value="x", how="last")
    chain = kinds(replace(CLICK, skew=4), tasks=(task,))
    stream = on("click", 3, x=1), on("click", 4, x=2), on("click", 5, x=3), on("view", 5)
    assert told(join(chain, *stream, to=99), FINAL) == {15: TaskState(1, 5, 3)}
    chain = replace(chain, lateness=9)
    assert told(join(chain, *reversed(stream), to=99), FINAL) == {15: TaskState(1, 5, 3)}


# 7. What is told


def test_a_telling_leaves_when_the_watermark_is_beyond_it() -> None:
    assert finals(SHOP, on("view", 3), to=13) == []
    assert finals(SHOP, on("view", 3), to=14) == [(0, 13, 0b11)]


def test_an_exposure_is_told_with_what_is_known_in_its_instant() -> None:
    (row,) = rows(join(SHOP, on("view", 3), on("click", 3), to=4), EXPOSED)
    assert row == BruteRow(3, EXPOSED, 0, 3, 0, 0, (1,), (TaskState(1, 3, None), NOTHING), {"k": 1})


def test_looks_count_from_the_start_of_the_task_and_not_past_its_end() -> None:
    chain = replace(SHOP, tasks=(replace(CTR, waits=(4, 10, 11)), replace(CVR, waits=(4, 20, 21))))
    looks = [(r.told, r.wait, r.tasks) for r in rows(join(chain, on("view", 0), to=99), LOOK)]
    assert looks == [(4, 4, 0b01), (10, 10, 0b01)]
    looks = [(r.told, r.wait, r.tasks) for r in rows(join(chain, on("view", 0), on("click", 6), to=99), LOOK)]
    assert looks == [(4, 4, 0b01), (10, 4, 0b10), (10, 10, 0b01), (26, 20, 0b10)]


def test_looks_of_two_tasks_at_one_time_with_one_wait_are_one_row() -> None:
    tasks = replace(CTR, waits=(4,)), TaskSpec("worth", "click", how="count", waits=(4, 5))
    looks = rows(join(replace(SHOP, tasks=tasks), on("view", 0), to=99), LOOK)
    assert [(r.told, r.tasks) for r in looks] == [(4, 0b11), (5, 0b10)]


def test_an_event_is_told_when_a_look_came_before_it() -> None:
    chain = replace(SHOP, tasks=(replace(CTR, waits=(9, 4)), CVR))
    assert told(join(chain, on("view", 0), on("click", 4), to=99), EVENT) == {}
    assert told(join(chain, on("view", 0), on("click", 5), to=99), EVENT) == {5: TaskState(1, 5, None)}
    assert told(join(SHOP, on("view", 0), on("click", 5), to=99), EVENT) == {}  # no waits


def test_an_event_before_the_start_of_its_task_is_not_told() -> None:
    chain = kinds(CLICK, replace(BUY, after=("view",)), tasks=(CTR, replace(CVR, waits=(2,))))
    early = join(chain, on("view", 0), on("buy", 1), on("click", 2), to=99)
    assert (told(early, EVENT), told(early, LOOK, 1)) == ({}, {4: TaskState(1, 1, None)})
    assert told(join(chain, on("view", 0), on("click", 2), on("buy", 5), to=99), EVENT, 1).keys() == {5}


def test_looks_and_events_carry_the_fields_of_the_exposure() -> None:
    chain = replace(SHOP, tasks=(replace(CTR, waits=(1,)),))
    shown = [(r.kind, r.fields) for r in join(chain, on("view", 0, x=5), on("click", 2), to=5).rows]
    assert shown == [(kind, {"k": 1, "x": 5}) for kind in (EXPOSED, LOOK, EVENT)]


def test_finals_carry_the_fields_of_the_exposure_only_where_that_is_asked_for() -> None:
    asked = replace(SHOP, features_on_final=True)
    assert [r.fields for r in join(SHOP, on("view", 0), to=99).rows] == [{"k": 1}, None]
    assert [r.fields for r in join(asked, on("view", 0), to=99).rows] == [{"k": 1}] * 2


def test_rows_are_ordered_by_time_kind_exposure_and_wait() -> None:
    chain = replace(
        SHOP, tasks=(replace(CTR, waits=(5, 1, 10)), TaskSpec("again", "buy", "ctr", waits=(0, 4)))
    )
    stream = on("view", 0, 2), on("view", 0, 1), on("click", 1, 2), on("click", 6, 1), on("view", 10, 3)
    found = [(r.told, r.kind, r.exposure, r.wait, r.tasks) for r in join(chain, *stream, to=11).rows]
    assert found == [
        (0, EXPOSED, 0, 0, 0), (0, EXPOSED, 1, 0, 0),
        (1, LOOK, 0, 1, 1), (1, LOOK, 1, 0, 2), (1, LOOK, 1, 1, 1),
        (5, LOOK, 0, 5, 1), (5, LOOK, 1, 4, 2), (5, LOOK, 1, 5, 1),
        (6, LOOK, 0, 0, 2), (6, EVENT, 0, 0, 1),
        (10, EXPOSED, 2, 0, 0), (10, LOOK, 0, 4, 2), (10, LOOK, 0, 10, 1), (10, LOOK, 1, 10, 1),
        (10, FINAL, 0, 0, 1), (10, FINAL, 1, 0, 1),
    ]  # fmt: skip

"""The course of an output: how long its label is open, and whether anything is to be known before it is final."""

from dataclasses import replace

from stream_mtl.clock import HOUR, MINUTE
from stream_mtl.join.spec import KindSpec, TaskSpec
from stream_mtl.label.plan import Plan
from stream_mtl.watch.course import UNASKED, Course, courses

from .served import PLAN, looking

CHAIN = looking(ctr=[0], cvr=[HOUR, 0], order_value=[0])
REFUND = KindSpec("refund", after=("conversion",), within=HOUR, retracts=True)
INVALID = KindSpec("invalid", after=("click",), within=HOUR, retracts=True)


def test_a_label_is_open_for_its_window_and_a_product_for_a_life() -> None:
    found = courses(PLAN, CHAIN)
    assert found["ctr"] == Course(30 * MINUTE, (0,))
    assert found["cvr"] == Course(2 * HOUR, (0, HOUR), given=True)
    assert found["joint.cvr"] == Course(150 * MINUTE, (0, HOUR), joint=True)


def test_a_label_that_names_its_parent_or_may_be_taken_back_is_open_for_longer() -> None:
    named = replace(CHAIN.kinds[2], parent="click_id")
    assert courses(PLAN, replace(CHAIN, kinds=(*CHAIN.kinds[:2], named)))["cvr"].open == 150 * MINUTE
    back = courses(PLAN, replace(CHAIN, kinds=(*CHAIN.kinds, REFUND)))
    assert back["cvr"].open == back["joint.cvr"].open == 210 * MINUTE


def test_what_is_known_at_its_end_only_says_so() -> None:
    assert courses(PLAN, looking())["cvr"].silent == UNASKED
    assert courses(PLAN, CHAIN)["order_value"].looks == ()
    assert "value" in courses(PLAN, CHAIN)["order_value"].silent
    unsure = courses(PLAN, replace(CHAIN, kinds=(*CHAIN.kinds, INVALID)))
    assert unsure["ctr"].looks == (0,)
    assert unsure["cvr"].looks == unsure["joint.cvr"].looks == ()
    assert "taken back" in unsure["cvr"].silent


def test_an_event_that_does_not_come_is_known_at_its_end() -> None:
    kept = TaskSpec("kept", "refund", given="cvr", waits=(0,), absent=True)
    chain = replace(CHAIN, kinds=(*CHAIN.kinds, replace(REFUND, retracts=False)), tasks=(*CHAIN.tasks, kept))
    course = courses(Plan(chain.tasks), chain)["kept"]
    assert course.looks == () and "does not come" in course.silent

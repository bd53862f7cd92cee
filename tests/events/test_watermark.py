"""The watermark of decision 1, section 1."""

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stream_mtl.events.watermark import Watermark, Watermarks

TIMES = st.integers(-50, 50)
STEPS = st.lists(st.one_of(TIMES, st.tuples(st.just("floor"), TIMES)), max_size=40)


def by_the_rule(steps, lateness):
    """Decision 1, word for word: one record at a time."""
    seen, floor, late = [], None, []
    for step in steps:
        if isinstance(step, tuple):
            floor = step[1] if floor is None else max(floor, step[1])
            continue
        seen.append(step)
        mark = max(seen) - lateness
        late.append(step < (mark if floor is None else max(mark, floor)))
    marks = ([max(seen) - lateness] if seen else []) + ([] if floor is None else [floor])
    return late, max(marks, default=None)


@settings(max_examples=300, deadline=None)
@given(steps=STEPS, lateness=st.integers(0, 30), data=st.data())
def test_any_cut_into_batches_gives_the_masks_and_the_value_of_the_rule(steps, lateness, data):
    mark, late, batch = Watermark(lateness), [], []

    def flush():
        late.extend(mark.advance(np.array(batch, np.int64)).tolist())
        batch.clear()

    for step in steps:
        if isinstance(step, tuple):
            flush()
            mark.floor(step[1])
            continue
        batch.append(step)
        if data.draw(st.booleans()):
            flush()
        if data.draw(st.integers(0, 9)) == 0:
            flush()
            mark = Watermark.from_dict(json.loads(json.dumps(mark.to_dict())))
    flush()
    assert (late, mark.value) == by_the_rule(steps, lateness)
    assert mark.greatest == max((s for s in steps if not isinstance(s, tuple)), default=None)


def test_a_record_at_the_watermark_is_not_late():
    assert Watermark(10).advance(np.array([100, 90, 89])).tolist() == [False, False, True]


def test_there_is_no_watermark_before_the_first_record():
    assert Watermark(0).value is None


def test_a_floor_moves_a_silent_partition_and_never_falls():
    mark = Watermark(10)
    mark.floor(40)
    mark.floor(30)
    assert mark.value == 40
    assert mark.advance(np.array([39, 45])).tolist() == [True, False]
    assert mark.value == 40


def test_the_least_waits_for_the_partition_that_is_behind():
    marks = Watermarks({("views", 0): 5, ("views", 1): 5, ("buys", 0): 0})
    assert marks.least() is None
    marks["views", 0].advance(np.array([100]))
    marks["views", 1].advance(np.array([50]))
    assert marks.least() is None
    marks["buys", 0].advance(np.array([70]))
    assert (marks.least(), marks.greatest()) == (45, 100)


def test_no_partition_at_all_has_no_watermark():
    assert Watermarks({}).least() is None
    assert Watermarks({}).greatest() is None


def test_watermarks_go_through_json_and_come_back():
    marks = Watermarks({("views", 0): 5, ("views", 1): 7, ("buys", 0): 0})
    marks["views", 0].advance(np.array([100]))
    marks["buys", 0].floor(7)
    again = Watermarks.from_dict(json.loads(json.dumps(marks.to_dict())))
    assert again.to_dict() == marks.to_dict()
    assert list(again) == list(marks)
    with pytest.raises(KeyError):
        again["views", 2]

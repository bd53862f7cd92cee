"""Outcomes: final labels beside what was served, each output of an exposure once, nothing that is not ripe."""

from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest

from stream_mtl.clock import HOUR, MINUTE
from stream_mtl.errors import ConfigError, StateError
from stream_mtl.join.transitions import Telling
from stream_mtl.label.plan import lives
from stream_mtl.watch.outcomes import UNKNOWN, Outcomes, score_column
from tests.label.world import CHAIN, Life, planned, tell

from .served import OUTPUTS, PLAN, joined, made, scores, serve, told, world

CTR, CVR, VALUE, JOINT = range(4)


def one(life: Life, **served: float) -> Outcomes:
    columns = {score_column(name.replace("__", ".")): pa.array([score]) for name, score in served.items()}
    return made(serve(tell(planned(PLAN), [life]), columns))


def test_an_exposure_without_a_click_is_a_miss_of_click_and_product() -> None:
    found = one(Life(0), ctr=0.2, cvr=0.3, joint__cvr=0.06)
    assert found.told.tolist() == [30 * MINUTE]
    np.testing.assert_equal(found.truth, [[0, np.nan, np.nan, 0]])
    np.testing.assert_equal(found.served, [[0.2, 0.3, np.nan, 0.06]])


def test_a_click_and_its_conversion_come_at_their_own_ends() -> None:
    found = one(Life(0, MINUTE, HOUR, 12.5), ctr=0.2)
    assert found.told.tolist() == [30 * MINUTE, 2 * HOUR + MINUTE]
    np.testing.assert_equal(found.truth, [[1, np.nan, np.nan, np.nan], [np.nan, 1, 12.5, 1]])


def test_what_is_not_final_does_not_count() -> None:
    transitions = world(40, seed=1)
    finals = transitions.rows.column("kind").to_numpy() == Telling.FINAL
    found = made(transitions)
    assert 40 < len(found) <= finals.sum() < len(transitions)
    early = tell(planned(PLAN), [Life(0, MINUTE, HOUR)], upto=30 * MINUTE)
    assert len(made(early)) == 0


def test_every_output_of_an_exposure_is_known_once() -> None:
    known = ~np.isnan(made(world(60, seed=2)).truth)
    assert known[:, CTR].sum() == known[:, JOINT].sum() == 60


def test_a_score_that_was_not_served_is_not_a_number() -> None:
    found = one(Life(0), ctr=0.2)
    assert np.isnan(found.served[:, JOINT]).all()
    assert found.snapshot.tolist() == [-1]


def test_a_score_that_cannot_be_one_is_counted_and_left_out() -> None:
    found = one(Life(0), ctr=1.2, joint__cvr=float("inf"))
    assert found.impossible.tolist() == [1, 0, 0, 1]
    assert np.isnan(found.served).all()


def test_nothing_but_known_truths_makes_a_score_impossible() -> None:
    assert one(Life(0), cvr=7.0).impossible.tolist() == [0, 0, 0, 0]


def test_the_join_tells_what_was_served() -> None:
    histories = [Life(0), Life(MINUTE), Life(2 * MINUTE)]
    scored = pa.RecordBatch.from_pydict(
        {
            "exposure_id": ["e000000", "e000002", "other"],
            "snapshot": [7, 8, 9],
            "ctr": [0.1, 0.2, 0.3],
            "joint_cvr": [0.01, None, 0.03],
        }
    )
    found = made(joined(histories, planned(PLAN), scored))
    assert found.snapshot.tolist() == [7, -1, 8]
    np.testing.assert_equal(found.served[:, CTR], [0.1, np.nan, 0.2])
    np.testing.assert_equal(found.served[:, JOINT], [0.01, np.nan, np.nan])
    assert found.time.tolist() == [0, MINUTE, 2 * MINUTE]


def test_slices_are_texts_of_the_exposure_and_null_is_unknown() -> None:
    transitions = world(50, seed=3)
    places = transitions.keys.column("scored.country").to_pylist()
    coded = made(transitions, ["scored.country"]).slices["scored.country"]
    assert set(coded.values) <= {*places, UNKNOWN} - {None}
    assert UNKNOWN in coded.values
    assert list(dict.fromkeys(coded.codes.tolist())) == list(range(len(coded.values)))


def test_slices_by_features_need_them_on_final_rows() -> None:
    features = {"age": pa.array([30, 40])}
    plan = replace(planned(PLAN), features_on_final=False)
    with pytest.raises(StateError, match="features_on_final"):
        made(tell(plan, [Life(0), Life(1)], features), ["age"])
    rich = replace(planned(PLAN), features_on_final=True)
    assert made(tell(rich, [Life(0), Life(1)], features), ["age"]).slices["age"].values == ["30", "40"]


def test_a_slice_of_an_unknown_field_is_refused() -> None:
    with pytest.raises(ConfigError, match="no plain field moon"):
        made(world(3, seed=4), ["moon"])


def test_labels_are_told_within_a_life() -> None:
    found, ends = made(world(200, seed=5)), lives(PLAN, CHAIN)
    assert ends == {"ctr": 30 * MINUTE, **dict.fromkeys(OUTPUTS[1:], 150 * MINUTE)}
    for i, name in enumerate(OUTPUTS):
        known = ~np.isnan(found.truth[:, i])
        assert (found.told[known] - found.time[known] <= ends[name]).all()


def test_rows_keep_the_order_of_telling() -> None:
    transitions = serve(world(30, seed=6), {"scored.other": scores(30, 1)["scored.ctr"]})
    assert made(transitions).told.tolist() == sorted(made(transitions).told.tolist())
    assert told(transitions) == sorted(told(transitions))

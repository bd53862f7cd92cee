"""The trainer: what it learns, predicts and measures is a function of the log, however it was cut or interrupted."""

from collections.abc import Mapping
from dataclasses import replace
from functools import cache
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stream_mtl import measures
from stream_mtl.clock import HOUR, MINUTE
from stream_mtl.errors import FingerprintMismatch
from stream_mtl.join.transitions import Telling, Transitions
from stream_mtl.label import Truth, parse
from stream_mtl.learn.checkpoint import read_checkpoint, write_checkpoint
from stream_mtl.learn.recipe import LearnOptions, Recipe
from stream_mtl.learn.sharing import ModelOptions
from stream_mtl.learn.trainer import Trainer
from tests.label.world import Life, cut, lives, planned, tell

from .small import equal, fields, labels, recipe

ESMM = ModelOptions(relation="esmm", bottom=(8, 6), towers=(5,))
PLAIN = ModelOptions(bottom=(8, 6), towers=(5,))
LEARN = LearnOptions(batch_size=7, predict_rows=9, evict_every=5)
COUNT = 50

RUNS: Mapping[str, tuple[ModelOptions, LearnOptions, Mapping[str, str]]] = {
    "esmm, waiting and fake negatives": (ESMM, LEARN, {"ctr": "wait:15m", "cvr": "fnw"}),
    "plain, mature": (PLAIN, LEARN, {}),
    "esmm, fake negatives, dropout": (replace(ESMM, dropout=0.3), LEARN, {"ctr": "fnw", "cvr": "fnw"}),
    "plain, batch norm, clipped": (
        replace(PLAIN, norm="batch"),
        replace(LEARN, clip_norm=0.1),
        {"ctr": "wait:15m"},
    ),
    "oracle": (ESMM, LEARN, {"ctr": "oracle", "cvr": "oracle"}),
}
EVERY = pytest.mark.parametrize("name", RUNS)


@cache
def made(name: str) -> tuple[Recipe, list[Life], Transitions, Truth]:
    """Return a recipe with a log that was joined for it."""
    model, learn, methods = RUNS[name]
    one = recipe(model, learn, {task: parse(text) for task, text in methods.items()})
    histories = lives(COUNT, seed=4)
    transitions = tell(planned(one.plan), histories, columns())
    truth = Truth(one.tasks)
    truth.add(transitions)
    return one, histories, transitions, truth


def columns() -> dict[str, object]:
    table = fields(COUNT, seed=9)
    return {name: table[name].combine_chunks() for name in table.column_names}


def state(trainer: Trainer) -> dict[str, np.ndarray]:
    return trainer.state()[0]


@EVERY
@settings(max_examples=5, deadline=None)
@given(borders=st.lists(st.integers(0, 300), max_size=8))
def test_nothing_depends_on_where_a_batch_of_transitions_ends(name: str, borders: list[int]) -> None:
    one, _, transitions, truth = made(name)
    whole, pieces = Trainer(one), Trainer(one)
    steps = whole.take(transitions, truth=truth)
    borders = [min(border, len(transitions)) for border in borders]
    reports = [
        stepped.report for piece in cut(transitions, borders) for stepped in pieces.take(piece, truth=truth)
    ]
    assert reports == [stepped.report for stepped in steps]
    assert len(steps) > 5
    assert sum(report.admitted for report in reports) > 10
    assert sum(report.evicted for report in reports) > 0
    equal(state(whole), state(pieces))


@EVERY
def test_it_goes_on_from_a_checkpoint_bit_for_bit_wherever_it_was_cut(name: str, tmp_path: Path) -> None:
    one, _, transitions, truth = made(name)
    whole = Trainer(one)
    steps = whole.take(transitions, truth=truth)
    expected = state(whole)
    for number, at in enumerate(sorted({stepped.upto + near for stepped in steps for near in (0, 2)})):
        before, after = cut(transitions, [min(at, len(transitions))])
        first = Trainer(one)
        first.take(before, truth=truth)
        write_checkpoint(tmp_path, number, *first.state())
        saved = read_checkpoint(tmp_path)
        assert saved is not None
        second = Trainer(one)
        second.load_state(saved.arrays, saved.facts)
        equal(state(first), state(second))
        second.take(after, truth=truth)
        equal(expected, state(second))


@EVERY
def test_a_run_is_repeated_bit_for_bit(name: str) -> None:
    one, _, transitions, truth = made(name)
    runs = [Trainer(one), Trainer(one)]
    for run in runs:
        run.take(transitions, truth=truth)
    equal(state(runs[0]), state(runs[1]))
    assert any((array != 0).any() for key, array in state(runs[0]).items() if "adam" in key)


def outcomes(one: Recipe, life: Life) -> dict[str, float]:
    """Return what becomes of an exposure, by output."""
    clicked = life.click is not None and life.click <= 30 * MINUTE
    bought = clicked and life.conversion is not None and life.conversion <= 2 * HOUR
    found = {"ctr": float(clicked)}
    if clicked:
        found["cvr"] = float(bought)
    if bought and life.amount is not None:
        found["order_value"] = life.amount
    return found | {name: float(bought) for name in one.plan.outputs if name.startswith("joint.")}


@EVERY
def test_every_exposure_is_scored_by_what_was_predicted_when_it_was_told(name: str) -> None:
    one, histories, transitions, truth = made(name)
    whole, slow = Trainer(one), Trainer(one)
    whole.take(transitions, truth=truth)
    encoded = one.features.encode(transitions.fields)
    rows = transitions.rows.to_pylist()
    predicted: dict[str, list[float]] = {output: [] for output in one.plan.outputs}
    observed: dict[str, list[float]] = {output: [] for output in one.plan.outputs}
    for piece, row in zip(cut(transitions, list(range(1, len(rows)))), rows, strict=True):
        if row["kind"] == Telling.EXPOSED:
            said = slow.learner.predict(encoded.take(np.array([row["row"]])))[0]
            for output, value in outcomes(one, histories[row["exposure"]]).items():
                predicted[output].append(float(said[one.plan.outputs.index(output)]))
                observed[output].append(value)
        slow.take(piece, truth=truth)
    for trainer in (whole, slow):
        trainer.flush()
        assert trainer.waiting == 0
        for output, sums in trainer.measures.items():
            assert measures.count(sums) == len(observed[output]) > 0
            assert measures.observed(sums) == pytest.approx(sum(observed[output]))
            assert measures.predicted(sums) == pytest.approx(sum(predicted[output]), rel=1e-4)


def test_exposures_of_two_partitions_do_not_mix() -> None:
    one, _, transitions, truth = made("plain, mature")
    trainer = Trainer(one)
    half = len(transitions) // 2
    early, late = cut(transitions, [half])
    for partition in (0, 1):
        trainer.take(early, partition, truth)
    middle = Trainer(one)
    middle.load_state(*trainer.state())
    for which in (trainer, middle):
        for partition in (1, 0):
            which.take(late, partition, truth)
        which.flush()
        assert measures.count(which.measures["ctr"]) == 2 * COUNT
        assert which.waiting == 0
    equal(state(trainer), state(middle))


def test_what_was_told_before_the_trainer_began_is_not_scored() -> None:
    one, _, transitions, truth = made("plain, mature")
    trainer = Trainer(one)
    trainer.take(cut(transitions, [COUNT // 2])[1], truth=truth)
    trainer.flush()
    assert 0 < measures.count(trainer.measures["ctr"]) < COUNT


def test_a_step_says_how_far_in_the_batch_it_was_taken() -> None:
    one, _, transitions, truth = made("plain, mature")
    examples = one.plan.emit(transitions, truth)
    steps = Trainer(one).take(transitions, truth=truth)
    assert [stepped.report.rows for stepped in steps] == [7] * (len(examples) // 7)
    assert [stepped.upto - 1 for stepped in steps] == examples.telling[6::7].tolist()
    assert [stepped.report.time for stepped in steps] == examples.told[6::7].tolist()


def test_a_flush_learns_what_waits_and_then_nothing() -> None:
    one, _, transitions, truth = made("plain, mature")
    trainer = Trainer(one)
    steps = trainer.take(transitions, truth=truth)
    left = len(one.plan.emit(transitions, truth)) - 7 * len(steps)
    report = trainer.flush()
    assert report is not None
    assert report.rows == left > 0
    assert trainer.flush() is None


def test_rows_with_labels_are_predicted_just_before_they_are_learned() -> None:
    one = recipe(ESMM, LearnOptions(batch_size=8))
    trainer, twin = Trainer(one), Trainer(one)
    table, told = fields(45), labels(45)
    trainer.learn_rows(table, told)
    said = []
    for start in range(0, 40, 8):
        said.append(twin.learner.predict(one.features.encode(table.slice(start, 8)))[:, 0])
        twin.learn_rows(
            table.slice(start, 8), {name: label[start : start + 8] for name, label in told.items()}
        )
    assert measures.count(trainer.measures["ctr"]) == 40
    assert measures.count(trainer.measures["cvr"]) == np.isfinite(told["cvr"][:40]).sum()
    assert measures.count(trainer.measures["joint.cvr"]) == 40
    assert measures.predicted(trainer.measures["ctr"]) == pytest.approx(float(np.concatenate(said).sum()))
    trainer.flush()
    assert measures.count(trainer.measures["ctr"]) == 45


@settings(max_examples=10, deadline=None)
@given(borders=st.lists(st.integers(0, 50), max_size=4), dropout=st.sampled_from([0.0, 0.5]))
def test_rows_with_labels_may_come_in_any_portions(borders: list[int], dropout: float) -> None:
    one = recipe(replace(ESMM, dropout=dropout), LearnOptions(batch_size=8))
    whole, pieces = Trainer(one), Trainer(one)
    table, told = fields(50), labels(50)
    whole.learn_rows(table, told)
    edges = [0, *sorted(borders), 50]
    for start, stop in pairwise(edges):
        pieces.learn_rows(
            table.slice(start, stop - start), {n: label[start:stop] for n, label in told.items()}
        )
        back = Trainer(one)
        back.load_state(*pieces.state())
        pieces = back
    equal(state(whole), state(pieces))


def test_a_gradient_that_is_not_finite_is_skipped_and_said() -> None:
    one = replace(recipe(), learn=LearnOptions(batch_size=8))
    trainer = Trainer(one)
    told = labels(16)
    trainer.learn_rows(fields(8), {name: label[:8] for name, label in told.items()})
    before = trainer.learner.weights()
    told["ctr"][8:] = told["cvr"][8:] = 1
    told["order_value"][8:] = 3e38
    (report,) = trainer.learn_rows(fields(16).slice(8), {name: label[8:] for name, label in told.items()})
    assert report.skipped
    assert not np.isfinite(report.norm)
    equal(before, trainer.learner.weights())
    (after,) = trainer.learn_rows(fields(8, seed=3), {name: label[:8] for name, label in told.items()})
    assert not after.skipped
    assert all(np.isfinite(array).all() for array in trainer.learner.weights().values())


def test_state_of_another_recipe_is_refused_by_name() -> None:
    one = recipe()
    arrays, facts = Trainer(one).state()
    for other, part in [
        (recipe(ESMM), "model"),
        (recipe(methods={"ctr": parse("fnw")}), "methods"),
        (recipe(tasks=one.tasks[:2]), "tasks"),
    ]:
        with pytest.raises(FingerprintMismatch, match=part):
            Trainer(other).load_state(arrays, facts)


def test_how_fast_it_learns_may_change_from_one_run_to_the_next() -> None:
    arrays, facts = Trainer(recipe()).state()
    Trainer(recipe(learn=LearnOptions(batch_size=16, rate=1e-4))).load_state(arrays, facts)


def test_the_saved_names_are_these() -> None:
    one, _, transitions, truth = made("esmm, waiting and fake negatives")
    trainer = Trainer(one)
    trainer.take(cut(transitions, [100])[0], truth=truth)
    names = {
        ".".join(part for part in name.split(".")[:3] if not part.isdecimal()) for name in state(trainer)
    }
    tables = {"learner.table"}
    assert names - tables == {
        "learner.step",
        "learner.dense.sharing",
        "learner.dense.towers",
        "learner.dense.relation",
        "learner.adam.step",
        "learner.adam.mean",
        "learner.adam.square",
        "learner.scale.count",
        "learner.scale.mean",
        "learner.scale.squares",
        "segment.pending",
        *(f"segment.measures.{name}" for name in measured_names()),
        "segment.exposed.exposure",
        "segment.exposed.features",
        "segment.exposed.partition",
        *(f"segment.final.{name}" for name in ("exposure", "partition", "tasks", "time", "told", "truth")),
        *(f"carry.{name}" for name in ("label", "weight", "elapsed", "kind", "told", "truth")),
        *(f"carry.features.{name}" for name in ("ids", "bag", "numbers", "bad")),
    }


def measured_names() -> set[str]:
    binary = {f"{name}/{key}" for name in ("ctr", "cvr") for key in ("counts", "loss", "predicted")}
    keys = ("absolute_error", "count", "observed", "observed_squared", "predicted", "squared_error")
    return binary | {f"order_value/{key}" for key in keys} | {"joint"}

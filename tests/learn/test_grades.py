"""Grades are those of the rows one by one, by block and by hour, however they were told."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stream_mtl import measures
from stream_mtl.clock import DAY, HOUR, MINUTE
from stream_mtl.learn.grades import MEASURES, Grader, Grades, Marks, Span, Value
from stream_mtl.measures import BinarySums

START = 1_704_067_200_000  # a midnight


def told(seed: int, n: int = 800) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    time = START + rng.integers(-DAY, 4 * DAY, n)
    predicted = rng.random(n).astype(np.float32)
    truth = np.where(rng.random(n) < 0.1, np.nan, (rng.random(n) < predicted).astype(float))
    predicted[rng.random(n) < 0.05] = np.nan
    return time, predicted, truth


def directly(span: Span, time: np.ndarray, predicted: np.ndarray, truth: np.ndarray) -> Marks:
    """The same, row by row and measure by measure."""
    rows = [
        (int(t), float(p), float(y))
        for t, p, y in zip(time, predicted, truth, strict=True)
        if span.since <= t < span.until and p == p and y == y
    ]

    def sums(keep: list[tuple[int, float, float]]) -> BinarySums:
        p, y = (np.array([row[i] for row in keep]) for i in (1, 2))
        return BinarySums.of(p.astype(np.float32), y)

    blocks = [(t - span.since) // span.width for t, _, _ in rows]
    hours = [t // HOUR % 24 for t, _, _ in rows]

    def value(how: object) -> Value:
        assert callable(how)
        return Value(
            how(sums(rows)),
            tuple(
                how(sums([r for r, b in zip(rows, blocks, strict=True) if b == n])) for n in range(len(span))
            ),
            tuple(
                how(sums([r for r, b in zip(rows, blocks, strict=True) if b != n])) for n in range(len(span))
            ),
            tuple(how(sums([r for r, h in zip(rows, hours, strict=True) if h == n])) for n in range(24)),
        )

    return Marks(
        tuple(blocks.count(n) for n in range(len(span))),
        sum(int(y) for _, _, y in rows),
        {name: value(how) for name, how in MEASURES.items()},
    )


@settings(max_examples=8, deadline=None)
@given(seed=st.integers(0, 1_000), cut=st.integers(0, 800))
def test_marks_are_those_of_the_rows_however_they_were_told(seed: int, cut: int) -> None:
    time, predicted, truth = told(seed)
    span = Span(START + 5 * HOUR, START + 3 * DAY, blocks=6)
    grades = Grades(span)
    for rows in (slice(0, cut), slice(cut, None)):
        grades.add(time[rows], predicted[rows], truth[rows])
    found, wanted = grades.marks(), directly(span, time, predicted, truth)
    assert (found.examples, found.positives) == (wanted.examples, wanted.positives)
    for name, value in wanted.values.items():
        for part in ("blocks", "without", "hours"):
            numbers = np.array(getattr(found.values[name], part), float)
            assert numbers == pytest.approx(np.array(getattr(value, part), float), rel=1e-9, nan_ok=True), (
                name
            )
        assert found.values[name].whole == pytest.approx(value.whole)


def test_a_grader_looks_at_the_outputs_that_it_was_given() -> None:
    span = Span(START, START + DAY)
    grader = Grader(("ctr", "cvr", "joint.cvr"), ("cvr",), span)
    predictions = np.array([[0.9, 0.2, 0.1], [0.8, np.nan, 0.1]], np.float32)
    grader(np.array([START, START]), predictions, np.array([[1.0, 1.0, 0.0], [0.0, 1.0, 0.0]]))
    marks = grader.grades["cvr"].marks()
    assert list(grader.grades) == ["cvr"]
    assert sum(marks.examples) == 1
    assert marks.values["log_loss"].whole == pytest.approx(-np.log(0.2), rel=1e-6)


@pytest.mark.parametrize("hours", [1, 7, 24, 24 * 30, 24 * 365])
def test_blocks_are_of_round_lengths_and_no_more_than_were_asked_for(hours: int) -> None:
    span = Span(START, START + hours * HOUR, blocks=48)
    assert len(span) <= 48
    assert span.width % MINUTE == 0
    assert int(span.block(np.array([span.until - 1]))[0]) == len(span) - 1


def test_every_measure_is_one_of_the_sums() -> None:
    assert all(getattr(measures, name) is how for name, how in MEASURES.items())

"""Exact measures are those of a second, slower computation; means over hours are by the hours' rows."""

import math
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stream_mtl.processes.criteo_measures import HourlyMeans, hour, improvement

Rows = list[tuple[float, bool]]
SOME = st.lists(
    st.tuples(st.sampled_from([0.1, 0.2, 0.25, 0.5, 0.9]), st.booleans()), min_size=2, max_size=30
)


def plainly(rows: Rows) -> dict[str, float]:
    """Compute the measures pair by pair and threshold by threshold."""
    yes, no = ([p for p, label in rows if label is wanted] for wanted in (True, False))
    pairs = [1.0 if a > b else 0.5 if a == b else 0.0 for a in yes for b in no]
    points = [(0.0, 1.0)]
    for threshold in sorted({p for p, _ in rows}, reverse=True):
        above = [label for p, label in rows if p >= threshold]
        points.append((sum(above) / len(yes), sum(above) / len(above)))
    steps = list(pairwise(points))
    return {
        "auc": sum(pairs) / len(pairs),
        "pr_auc_trapezoid": sum((r - r0) * (p + p0) / 2 for (r0, p0), (r, p) in steps),
        "average_precision": sum((r - r0) * p for (r0, _), (r, p) in steps),
        "nll": -sum(math.log(p if label else 1 - p) for p, label in rows) / len(rows),
    }


def of(rows: Rows) -> tuple[np.ndarray, np.ndarray]:
    return np.array([p for p, _ in rows]), np.array([label for _, label in rows])


@given(SOME.filter(lambda rows: len({label for _, label in rows}) == 2))
def test_measures_are_those_of_a_plain_computation(rows: Rows) -> None:
    assert hour(*of(rows)) == pytest.approx(plainly(rows))


def test_a_perfect_order_and_a_constant_have_known_measures() -> None:
    label = np.array([True, False, False, True])
    perfect, same = hour(np.array([0.9, 0.1, 0.2, 0.8]), label), hour(np.full(4, 0.5), label)
    assert (perfect["auc"], perfect["average_precision"], perfect["pr_auc_trapezoid"]) == (1, 1, 1)
    assert (same["auc"], same["average_precision"], same["pr_auc_trapezoid"]) == (0.5, 0.5, 0.75)


@given(st.lists(SOME, min_size=1, max_size=5))
def test_means_are_by_rows_and_hours_of_one_class_are_left_out_and_counted(hours: list[Rows]) -> None:
    means = HourlyMeans()
    for rows in hours:
        p, label = of(rows)
        means.add(p.astype(np.float32), label)
    counted = [rows for rows in hours if len({label for _, label in rows}) == 2]
    n = sum(map(len, counted))
    assert (means.hours, means.one_class, means.rows) == (len(counted), len(hours) - len(counted), n)
    for name in ("auc", "pr_auc_trapezoid", "average_precision", "nll"):
        if counted:
            expected = sum(len(rows) * plainly(rows)[name] for rows in counted) / n
            assert means.means[name] == pytest.approx(expected, rel=1e-5)
        else:
            assert means.means[name] is None
    if counted:
        came = sum(label for rows in counted for _, label in rows)
        assert means.means["calibration"] == pytest.approx(
            sum(p for r in counted for p, _ in r) / came, rel=1e-5
        )


def test_an_improvement_is_counted_between_two_references() -> None:
    assert improvement(0.8402, 0.8376, 0.8450) == pytest.approx(0.3514, abs=1e-4)
    assert improvement(0.4, 0.4, 0.4) is None
    assert improvement(None, 0.0, 1.0) is None

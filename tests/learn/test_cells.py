"""Columns read together give what each gives alone."""

import math

import numpy as np
import pyarrow as pa
import pytest

from stream_mtl.hashing import hash_columns
from stream_mtl.learn import cells
from stream_mtl.learn.cells import hash_each, read_numbers

HASHED = {
    "a": pa.array([1, None, 3]),
    "b": pa.array(["x", None, "a longer text than a word"]),
    "c": pa.array([3, 1], pa.int32()),
    "d": pa.array([4, 5, 6, 7]),
    "e": pa.array([], pa.string()),
    "f": pa.array(["y", "x"]).dictionary_encode(),
    "g": pa.array([1.5, None]),
    "h": pa.array([True, False]),
    "i": pa.array([9, 1, None, 3])[1:],
    "j": pa.nulls(2),
}


@pytest.mark.parametrize("together", [1, 4, 1 << 14])
def test_columns_hashed_together_are_hashed_as_each_alone(
    together: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cells, "TOGETHER", together)
    found = hash_each(HASHED)
    plain = {"f": pa.array(["y", "x"]), "j": pa.nulls(2, pa.int64())}
    for name, column in (HASHED | plain).items():
        np.testing.assert_array_equal(found[name], hash_columns([column]), err_msg=name)


@pytest.mark.parametrize("together", [1, 4, 1 << 14])
def test_numbers_are_read_together_as_each_alone(together: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cells, "TOGETHER", together)
    columns = {
        "a": pa.array([1.5, None, math.nan, -1.0]),
        "b": pa.array([1, None, 3, 4]),
        "c": pa.array([True, False, None, True]),
        "d": pa.array([1.0, 2.0, 3.0, math.inf]),
        "e": pa.nulls(4),
    }
    found, bad = read_numbers(columns, 4)
    nan = math.nan
    wanted = [[1.5, nan, nan, -1], [1, nan, 3, 4], [1, 0, nan, 1], [1, 2, 3, nan], [nan] * 4]
    np.testing.assert_array_equal([found[name] for name in columns], wanted)
    assert bad.tolist() == [False, False, True, True]


def test_no_columns_and_no_rows_are_read_too() -> None:
    assert hash_each({}) == {}
    assert read_numbers({}, 3)[1].tolist() == [False] * 3
    assert read_numbers({"a": pa.array([], pa.float64())}, 0)[0]["a"].shape == (0,)


def test_an_integer_that_no_float_equals_is_rounded() -> None:
    found, bad = read_numbers({"a": pa.array([2**53 + 1, -(2**63)])}, 2)
    assert found["a"].tolist() == [2.0**53, -(2.0**63)]
    assert not bad.any()

"""Fields become ids, bags and numbers: stable, never raising for a value, wherever a batch was cut."""

import math
import subprocess
import sys

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stream_mtl.errors import ConfigError
from stream_mtl.learn.encoded import Bag, Encoded, concat
from stream_mtl.learn.features import Categorical, FeatureSpec, Numeric, Sequence

SPEC = FeatureSpec(
    {
        "user": Categorical(),
        "ad": Categorical(dim=8),
        "recent": Sequence(dim=8, share="ad", max_items=3),
        "tags": Sequence(pooling="sum"),
        "price": Numeric(log1p=True),
        "age": Numeric(boundaries=(18, 30, 65)),
        "hour": Numeric(limits=(0, 23)),
        "city": Categorical(buckets=7),
    }
)

TEXT = st.none() | st.text(max_size=9)
NUMBER = st.none() | st.floats() | st.sampled_from([math.nan, math.inf, -math.inf, 1e300, -1e39, 0.0])
LONG = st.none() | st.integers(-(2**63), 2**63 - 1)
ROW = st.fixed_dictionaries(
    {
        "user": LONG,
        "ad": LONG,
        "recent": st.none() | st.lists(LONG, max_size=6),
        "tags": st.none() | st.lists(TEXT, max_size=4),
        "price": NUMBER,
        "age": NUMBER,
        "hour": NUMBER,
        "city": TEXT,
    }
)
SCHEMA = pa.schema(
    {
        "user": pa.int64(),
        "ad": pa.int64(),
        "recent": pa.list_(pa.int64()),
        "tags": pa.list_(pa.string()),
        "price": pa.float64(),
        "age": pa.float64(),
        "hour": pa.float64(),
        "city": pa.string(),
    }
)


def same(a: Encoded, b: Encoded) -> None:
    assert a.arrays().keys() == b.arrays().keys()
    for name, array in a.arrays().items():
        np.testing.assert_array_equal(array, b.arrays()[name], err_msg=name)


def encode(rows: list[dict[str, object]]) -> Encoded:
    return SPEC.encode(pa.Table.from_pylist(rows, SCHEMA))


@settings(max_examples=150, deadline=None)
@given(rows=st.lists(ROW, max_size=8), at=st.integers(0, 8))
def test_no_value_raises_and_rows_do_not_depend_on_the_rows_beside_them(
    rows: list[dict[str, object]], at: int
) -> None:
    table = pa.Table.from_pylist(rows, SCHEMA)
    whole = SPEC.encode(table)
    at = min(at, len(rows))
    pieces = [SPEC.encode(table.slice(0, at)), SPEC.encode(table.slice(at))]
    same(concat(pieces), whole)
    chunked = pa.concat_tables([table.slice(0, at), table.slice(at)])
    same(SPEC.encode(chunked), whole)
    same(whole.take(np.arange(len(rows))), whole)
    same(Encoded.of_arrays(whole.arrays()), whole)
    assert not np.isinf(whole.numbers).any()
    assert (whole.ids != 0).all()


@settings(max_examples=100, deadline=None)
@given(rows=st.lists(ROW, min_size=1, max_size=6))
def test_a_row_is_bad_exactly_when_a_number_of_it_is_there_and_not_finite(
    rows: list[dict[str, object]],
) -> None:
    def wild(value: object) -> bool:
        return isinstance(value, float) and not abs(value) <= 1e38

    expected = [any(wild(row[name]) for name in ("price", "age", "hour")) for row in rows]
    assert encode(rows).bad.tolist() == expected


def test_the_input_is_laid_out_by_width_columns_before_bags_numbers_last() -> None:
    assert SPEC.id_columns == ["user", "city", "ad", "age"]
    assert SPEC.bag_columns == ["recent", "tags"]
    assert SPEC.number_columns == ["price", "hour"]
    assert [(table.dim, table.columns, table.bags) for table in SPEC.tables] == [
        (16, slice(0, 2), (1,)),
        (8, slice(2, 4), (0,)),
    ]
    assert SPEC.width == 16 * 3 + 8 * 3 + 2
    assert [owner.name for owner in SPEC.tables[1].owners] == ["ad", "age"]


def test_an_id_in_a_sequence_is_the_id_of_the_feature_whose_rows_it_shares() -> None:
    encoded = encode([{"ad": 7, "recent": [3, 7]}])
    assert encoded.bags[0].ids[1] == encoded.ids[0, 2]
    assert encoded.bags[0].ids[0] != encoded.ids[0, 2]


def test_equal_values_of_different_features_have_different_ids() -> None:
    encoded = encode([{"user": 7, "ad": 7}])
    assert encoded.ids[0, 0] != encoded.ids[0, 2]


def test_ids_beyond_the_range_of_floats_stay_apart() -> None:
    near = [2**24, 2**24 + 1, 2**53, 2**53 + 1, 2**63 - 1, 2**63 - 2]
    assert len(set(encode([{"user": one} for one in near]).ids[:, 0].tolist())) == len(near)


def test_a_column_that_is_not_there_is_all_missing() -> None:
    absent = SPEC.encode(pa.table({"user": [1, 2]}))
    null = encode([{"user": 1}, {"user": 2}])
    same(absent, null)


def test_only_the_last_items_of_a_sequence_are_used() -> None:
    long = encode([{"recent": [1, 2, 3, 4, 5]}]).bags[0]
    short = encode([{"recent": [3, 4, 5]}]).bags[0]
    np.testing.assert_array_equal(long.ids, short.ids)
    assert long.lengths.tolist() == [3]


def test_null_and_empty_sequences_have_no_items() -> None:
    assert encode([{"recent": None}, {"recent": []}, {"recent": [1]}]).bags[0].lengths.tolist() == [0, 0, 1]


def test_a_number_on_a_boundary_is_in_the_upper_bucket_and_a_missing_one_in_its_own() -> None:
    ages = [17.9, 18, 29, 30, 65, 99, None]
    ids = encode([{"age": age} for age in ages]).ids[:, 3].tolist()
    assert [ids.index(one) for one in ids] == [0, 1, 1, 3, 4, 4, 6]


def test_limits_clip_and_scale_to_one() -> None:
    hours = encode([{"hour": hour} for hour in (-5.0, 0.0, 11.5, 23.0, 40.0, None)]).numbers[:, 1]
    np.testing.assert_allclose(hours, [0, 0, 0.5, 1, 1, math.nan])


def test_log1p_keeps_the_sign() -> None:
    prices = encode([{"price": math.e - 1}, {"price": 1 - math.e}, {"price": 0.0}]).numbers[:, 0]
    np.testing.assert_allclose(prices, [1, -1, 0])


def test_buckets_fold_many_values_into_few_ids() -> None:
    cities = encode([{"city": f"c{i}"} for i in range(500)]).ids[:, 1]
    assert len(np.unique(cities)) == 7


def test_integers_and_booleans_are_numbers_too() -> None:
    spec = FeatureSpec({"n": Numeric(), "b": Numeric()})
    encoded = spec.encode(pa.table({"n": [1, None, 3], "b": [True, False, None]}))
    np.testing.assert_array_equal(encoded.numbers, [[1, 1], [math.nan, 0], [3, math.nan]])


GOLDEN = [3616887928769959181, 4168965354069561712, -8574854387553809007]


def test_ids_are_the_same_in_every_process_and_on_every_day() -> None:
    program = (
        "import pyarrow as pa\n"
        "from stream_mtl.learn.features import *\n"
        "spec = FeatureSpec({'u': Categorical(), 's': Categorical()}, seed=3)\n"
        "e = spec.encode(pa.table({'u': [1, 2**40], 's': ['a', None]}))\n"
        "print(e.ids[0, 0], e.ids[1, 0], e.ids[0, 1])"
    )
    ran = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert [int(word) for word in ran.stdout.split()] == GOLDEN


def test_another_seed_gives_other_ids() -> None:
    table = pa.table({"u": [1]})
    ids = [FeatureSpec({"u": Categorical()}, seed).encode(table).ids[0, 0] for seed in (0, 1, -1, 2**63)]
    assert len(set(ids)) == 4


@pytest.mark.parametrize(
    ("feature", "column"),
    [
        (Categorical(), pa.array([[1]])),
        (Sequence(), pa.array([1])),
        (Numeric(), pa.array(["1"])),
        (Numeric(boundaries=(1.0,)), pa.array([[1.0]])),
    ],
)
def test_a_column_of_a_wrong_type_is_refused_by_name(feature: object, column: pa.Array) -> None:
    with pytest.raises(ConfigError, match=r"features\.f"):
        FeatureSpec({"f": feature}).encode(pa.table({"f": column}))  # type: ignore[dict-item]


@pytest.mark.parametrize("share", ["nothing", "other width", "number", "sharer"])
def test_sharing_what_cannot_be_shared_is_refused(share: str) -> None:
    features = {
        "ad": Categorical(),
        "other width": Categorical(dim=4),
        "number": Numeric(boundaries=(1.0,), dim=16),
        "sharer": Categorical(share="ad"),
        "bag": Sequence(share=share),
    }
    with pytest.raises(ConfigError, match=r"features\.bag"):
        FeatureSpec(features)


@settings(max_examples=100, deadline=None)
@given(
    rows=st.lists(st.lists(st.integers(1, 9), max_size=4), max_size=6),
    picks=st.lists(st.integers(0, 5), max_size=8),
)
def test_taking_rows_of_a_bag_takes_their_items(rows: list[list[int]], picks: list[int]) -> None:
    flat = np.array([item for row in rows for item in row], np.int64)
    bag = Bag(flat, np.cumsum([0] + [len(row) for row in rows]))
    picks = [pick for pick in picks if pick < len(rows)]
    taken = bag.take(np.array(picks, np.int64))
    found = [taken.ids[a:b].tolist() for a, b in zip(taken.offsets, taken.offsets[1:], strict=False)]
    assert found == [rows[pick] for pick in picks]


def test_a_slice_of_rows_is_encoded_as_those_rows() -> None:
    tags = pa.array([["a", "b"], None, [], ["c", None], ["a"], ["b", "b", "d"]], pa.list_(pa.string()))
    spec = FeatureSpec({"tags": Sequence(dim=2), "user": Categorical(dim=2)})
    table = pa.table({"tags": tags, "user": pa.array(range(6))})
    whole = spec.encode(table)
    for start in range(6):
        part = spec.encode(table.slice(start, 3))
        assert (
            part.bags[0].ids.tolist() == whole.take(np.arange(start, min(start + 3, 6))).bags[0].ids.tolist()
        )
        assert part.bags[0].lengths.tolist() == whole.bags[0].lengths[start : start + 3].tolist()

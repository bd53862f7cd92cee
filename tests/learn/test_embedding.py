"""Embedding rows: a sparse update is the dense one, ids are admitted, evicted and start as they should."""

import numpy as np
import pyarrow as pa
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from stream_mtl.learn.embedding import DEVIATION, EPSILON, Table, start
from stream_mtl.learn.features import Categorical, Feature, FeatureSpec, Owner, Sequence, TableSpec
from stream_mtl.learn.inputs import Inputs

RATE = 0.1


def table(
    admit: int = 1, evict_after: int | None = None, owners: int = 1, dim: int = 3, seed: int = 0
) -> Table:
    rules = tuple(Owner(f"f{i}", admit, evict_after) for i in range(owners))
    return Table(TableSpec(dim, rules, slice(0, owners), tuple(range(owners)), (), (), ()), seed, RATE)


def ids(*values: int) -> np.ndarray:
    return np.array(values, np.int64) * 7919 + 1


def owners(*values: int) -> np.ndarray:
    return np.array(values, np.int64)


def admit(one: Table, *values: int, now: int = 0) -> int:
    return one.admit(ids(*values), owners(*([0] * len(values))), now, step=1)


def rows(one: Table, *values: int) -> list[int]:
    return one.find(ids(*values))[0].tolist()


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 9_999), steps=st.integers(1, 5))
def test_updates_of_distinct_rows_are_the_dense_row_wise_adagrad(seed: int, steps: int) -> None:
    rng = np.random.default_rng(seed)
    one = table()
    admit(one, *range(20))
    weight = one.weight[:21].clone().double()
    squares = torch.zeros(21, dtype=torch.double)
    for _ in range(steps):
        batch = rng.integers(0, 21, 30)
        distinct = one.distinct(batch)
        np.testing.assert_array_equal(distinct.rows[distinct.inverse], batch)
        assert len(np.unique(distinct.rows)) == len(distinct.rows)
        each = torch.from_numpy(rng.normal(size=(30, 3)).astype(np.float32))
        gradient = torch.zeros(len(distinct.rows), 3).index_add_(0, torch.from_numpy(distinct.inverse), each)
        one.learn(distinct.rows, gradient, now=0, step=1)
        full = torch.zeros(21, 3, dtype=torch.double).index_add_(0, torch.from_numpy(batch), each.double())
        squares += full.square().mean(1)
        weight -= RATE * full / (squares.sqrt() + EPSILON).unsqueeze(1)
    torch.testing.assert_close(one.weight[:21].double(), weight, rtol=1e-4, atol=1e-5)


def test_rows_that_a_batch_does_not_read_are_not_touched_and_a_zero_gradient_moves_nothing() -> None:
    one = table()
    admit(one, 1, 2, 3)
    before = one.weight[:4].clone()
    one.learn(np.array([1, 2]), torch.tensor([[1.0, 1, 1], [0, 0, 0]]), now=5, step=1)
    assert not torch.equal(one.weight[1], before[1])
    assert torch.equal(one.weight[[0, 2, 3]], before[[0, 2, 3]])


def test_an_id_has_its_own_row_once_it_has_been_seen_often_enough() -> None:
    one = table(admit=3)
    assert admit(one, 1, 1, 2) == 0
    assert rows(one, 1, 2) == [-1, -1]
    assert admit(one, 1, 2) == 1
    assert rows(one, 1, 2) == [1, -1]
    assert admit(one, 2) == 1
    assert rows(one, 1, 2) == [1, 2]
    assert len(one) == 2


def test_owners_admit_by_their_own_count() -> None:
    spec = TableSpec(2, (Owner("a", 1), Owner("b", 2)), slice(0, 2), (0, 1), (), (), ())
    one = Table(spec, 0, RATE)
    one.admit(ids(1, 2), owners(0, 1), 0, 1)
    assert rows(one, 1, 2) == [2, -1]


def test_an_id_that_was_not_seen_for_long_loses_its_row_and_the_next_one_starts_there_afresh() -> None:
    one = table(evict_after=100)
    admit(one, 1, 2, now=0)
    one.learn(np.array([1, 2]), torch.ones(2, 3), now=50, step=1)
    one.learn(np.array([2]), torch.ones(1, 3), now=120, step=2)
    assert one.evict(now=151) == 1
    assert rows(one, 1, 2) == [-1, 2]
    assert admit(one, 9, 1, now=151) == 2
    assert sorted(rows(one, 1, 9)) == [1, 3]
    fresh = table(evict_after=100)
    admit(fresh, 1, 9)
    for value in (1, 9):
        assert torch.equal(one.weight[rows(one, value)[0]], fresh.weight[rows(fresh, value)[0]])
    gradient = torch.tensor([[0.3, -0.2, 0.1]])
    for which in (one, fresh):
        which.learn(np.array(rows(which, 9)), gradient, now=152, step=3)
    assert torch.equal(one.weight[rows(one, 9)[0]], fresh.weight[rows(fresh, 9)[0]])


def test_an_id_seen_just_in_time_stays_and_without_a_limit_all_stay() -> None:
    one, endless = table(evict_after=100), table()
    for which in (one, endless):
        admit(which, 1, now=0)
    assert one.evict(now=100) == 0
    assert one.evict(now=101) == 1
    assert endless.evict(now=10**15) == 0


def test_an_evicted_id_must_be_seen_as_often_again() -> None:
    one = table(admit=2, evict_after=100)
    admit(one, 1, 1, now=0)
    assert rows(one, 1) == [1]
    one.evict(now=200)
    assert admit(one, 1, now=200) == 0
    assert rows(one, 1) == [-1]
    assert admit(one, 1, now=201) == 1


def test_counts_of_ids_that_wait_are_forgotten_with_them() -> None:
    one = table(admit=2, evict_after=100)
    admit(one, 1, now=0)
    one.evict(now=101)
    assert admit(one, 1, now=101) == 0
    assert admit(one, 1, now=102) == 1


def test_a_table_grows_and_keeps_every_row() -> None:
    one = table()
    for part in np.array_split(np.arange(1, 9_001), 13):
        admit(one, *part.tolist())
    assert len(one) == 9_000
    found = np.array(rows(one, *range(1, 9_001)))
    assert len(np.unique(found)) == 9_000
    np.testing.assert_array_equal(one.weight.numpy()[found], start(ids(*range(1, 9_001)), 3, 0))


def test_a_row_starts_as_a_function_of_seed_and_id_whatever_came_before() -> None:
    early, late = table(), table()
    admit(early, 5, 6, 7)
    admit(late, 7)
    admit(late, 1, 2, 3, 5)
    for value in (5, 7):
        assert torch.equal(early.weight[rows(early, value)[0]], late.weight[rows(late, value)[0]])
    other = table(seed=1)
    admit(other, 5)
    assert not torch.equal(other.weight[1], early.weight[rows(early, 5)[0]])


def test_starting_rows_are_small_centred_and_unlike_each_other() -> None:
    found = start(np.arange(1, 20_001) * 7919, 16, seed=4)
    assert abs(found.mean()) < 1e-3
    assert found.std() == pytest.approx(DEVIATION, rel=0.01)
    assert np.abs(np.corrcoef(found.T) - np.eye(16)).max() < 0.05
    assert len(np.unique(found[:, 0])) > 15_000


def test_what_changed_since_a_step_is_told_with_its_ids() -> None:
    one = table()
    one.admit(ids(1, 2, 3), owners(0, 0, 0), 0, step=1)
    one.learn(np.array([2]), torch.ones(1, 3), now=0, step=4)
    changed = one.weights(since=3)
    assert changed["id"].tolist() == ids(2).tolist()
    np.testing.assert_array_equal(changed["weight"], one.weight.numpy()[[2]])
    assert len(one.weights(since=0)["id"]) == 3
    assert one.weights()["id"].tolist() == [0, *ids(1, 2, 3).tolist()]


def test_rows_loaded_in_any_order_are_the_rows() -> None:
    one, back = table(owners=2), table(owners=2)
    one.admit(ids(1, 2, 3), owners(0, 1, 0), 0, step=1)
    one.learn(np.arange(5), torch.ones(5, 3), now=0, step=2)
    arrays = one.weights()
    shuffled = np.random.default_rng(0).permutation(5)
    back.load({name: array[shuffled] for name, array in arrays.items()})
    assert torch.equal(back.weight[:2], one.weight[:2])
    for value in (1, 2, 3):
        assert torch.equal(back.weight[rows(back, value)[0]], one.weight[rows(one, value)[0]])
    assert len(back) == 3


def test_a_table_goes_on_from_saved_state_bit_for_bit() -> None:
    def go(one: Table, first: int, last: int) -> None:
        for step in range(first, last):
            rng = np.random.default_rng(step)
            values = rng.integers(0, 60, 25)
            found, unknown = one.find(ids(*values))
            found[unknown] = 0
            distinct = one.distinct(found)
            gradient = torch.from_numpy(rng.normal(size=(len(distinct.rows), 3)).astype(np.float32))
            one.learn(distinct.rows, gradient, now=step * 10, step=step)
            one.admit(ids(*values)[unknown], np.zeros(len(unknown), np.int64), step * 10, step)
            if step % 5 == 0:
                one.evict(step * 10)

    for cut in (0, 1, 7, 20, 33):
        whole, back = table(admit=2, evict_after=60), table(admit=2, evict_after=60)
        go(whole, 0, cut)
        back.restore({name: array.copy() for name, array in whole.arrays().items()})
        go(whole, cut, 40)
        go(back, cut, 40)
        expected, found = whole.arrays(), back.arrays()
        assert expected.keys() == found.keys()
        for name, array in expected.items():
            np.testing.assert_array_equal(array, found[name], err_msg=name)


FEATURES: dict[str, Feature] = {
    "user": Categorical(dim=4),
    "ad": Categorical(dim=2),
    "mean": Sequence(dim=4),
    "sum": Sequence(dim=4, pooling="sum"),
    "max": Sequence(dim=2, pooling="max", share="ad"),
}


def drawn(seed: int, n: int) -> pa.Table:
    rng = np.random.default_rng(seed)
    return pa.table(
        {
            "user": rng.integers(0, 5, n),
            "ad": rng.integers(0, 5, n),
            **{
                name: [rng.integers(0, 5, rng.integers(0, 4)).tolist() for _ in range(n)]
                for name in ("mean", "sum", "max")
            },
        },
        schema=pa.schema(
            {
                "user": pa.int64(),
                "ad": pa.int64(),
                **{name: pa.list_(pa.int64()) for name in ("mean", "sum", "max")},
            }
        ),
    )


def looked_up(inputs: Inputs, number: int, one: int, owner: int) -> np.ndarray:
    found = int(inputs.tables[number].find(np.array([one]))[0][0])
    return inputs.tables[number].weight.numpy()[owner if found < 0 else found]


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 999), n=st.integers(1, 6))
def test_the_input_is_what_a_loop_over_rows_and_items_gives(seed: int, n: int) -> None:
    spec = FeatureSpec(FEATURES)
    inputs = Inputs(spec, rate=RATE)
    first = spec.encode(drawn(seed + 1, 4))
    opened = inputs.open(first)
    opened.x.sum().backward()
    inputs.close(opened, now=0, step=1)
    encoded = spec.encode(drawn(seed, n))
    pools = {"mean": lambda x: x.mean(0), "sum": lambda x: x.sum(0), "max": lambda x: x.max(0)}
    expected = []
    for i in range(n):
        row = [looked_up(inputs, 0, encoded.ids[i, 0], 0)]
        for bag, owner in (("mean", 1), ("sum", 2)):
            items = encoded.bags[spec.bag_columns.index(bag)].take(np.array([i])).ids
            found = np.array([looked_up(inputs, 0, item, owner) for item in items])
            row.append(pools[bag](found) if len(items) else np.zeros(4))
        row.append(looked_up(inputs, 1, encoded.ids[i, 1], 0))
        items = encoded.bags[spec.bag_columns.index("max")].take(np.array([i])).ids
        found = np.array([looked_up(inputs, 1, item, 0) for item in items])
        row.append(pools["max"](found) if len(items) else np.zeros(2))
        expected.append(np.concatenate(row))
    np.testing.assert_allclose(inputs.read(encoded).numpy(), np.array(expected), atol=1e-6)
    torch.testing.assert_close(inputs.open(encoded).x.detach(), inputs.read(encoded))


def test_unknown_ids_read_the_row_of_their_feature_and_teach_it() -> None:
    spec = FeatureSpec({"a": Categorical(dim=2), "b": Categorical(dim=2)})
    inputs = Inputs(spec, rate=RATE)
    encoded = spec.encode(pa.table({"a": [1, 2], "b": [3, 3]}))
    x = inputs.read(encoded)
    assert torch.equal(x[0], x[1])
    assert not torch.equal(x[0, :2], x[0, 2:])
    opened = inputs.open(encoded)
    opened.x.sum().backward()
    before = inputs.tables[0].weight[:2].clone()
    assert inputs.close(opened, now=0, step=1) == 3
    assert not torch.equal(inputs.tables[0].weight[:2], before)
    assert not torch.equal(inputs.read(encoded)[0, :2], inputs.read(encoded)[1, :2])


def test_features_without_rows_or_columns_make_an_input_all_the_same() -> None:
    spec = FeatureSpec({"bag": Sequence(dim=3)})
    inputs = Inputs(spec)
    empty = spec.encode(pa.table({"bag": pa.array([[], None], pa.list_(pa.int64()))}))
    assert inputs.read(empty).tolist() == [[0.0] * 3] * 2

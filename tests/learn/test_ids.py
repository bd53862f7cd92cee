"""The map of ids does as a dict does, whatever collides."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from stream_mtl.learn.ids import IdMap

# Few low bits, so that most ids want the same places.
ID = st.integers(-(2**63), 2**63 - 1).filter(bool) | st.integers(1, 40).map(lambda i: i << 50)
ROUNDS = st.lists(st.tuples(st.booleans(), st.lists(ID, max_size=40)), max_size=12)


@settings(max_examples=200, deadline=None)
@given(rounds=ROUNDS)
def test_it_holds_what_a_dict_holds(rounds: list[tuple[bool, list[int]]]) -> None:
    held: dict[int, int] = {}
    found = IdMap()
    number = 0
    for adding, ids in rounds:
        wanted = [one for one in dict.fromkeys(ids) if (one in held) != adding]
        if adding:
            numbers = list(range(number, number + len(wanted)))
            number += len(wanted)
            held.update(zip(wanted, numbers, strict=True))
            found.add(np.array(wanted, np.int64), np.array(numbers, np.int64))
        else:
            for one in wanted:
                del held[one]
            found.remove(np.array(wanted, np.int64))
        asked = np.array([*held, *ids, 12345], np.int64)
        assert found.find(asked).tolist() == [held.get(int(one), -1) for one in asked]
        assert len(found) == len(held)


def test_it_grows_and_still_finds_everything() -> None:
    rng = np.random.default_rng(0)
    ids = np.unique(rng.integers(1, 2**62, 50_000))
    found = IdMap()
    for part in np.array_split(np.arange(len(ids)), 37):
        found.add(ids[part], part)
    np.testing.assert_array_equal(found.find(ids), np.arange(len(ids)))
    assert (found.find(-ids) == -1).all()

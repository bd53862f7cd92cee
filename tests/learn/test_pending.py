"""Predictions wait under their exposure's number until the last task is over."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from stream_mtl.learn.pending import Pending

TASKS = 2


@settings(max_examples=100, deadline=None)
@given(data=st.data(), rounds=st.integers(1, 8))
def test_it_does_as_a_dict_does(data: st.DataObject, rounds: int) -> None:
    held: dict[int, tuple[float, int]] = {}
    pending = Pending(1, TASKS)
    number = 0
    for _ in range(rounds):
        count = data.draw(st.integers(0, 900))
        exposures = np.arange(number, number + count)
        number += count
        pending.add(exposures, exposures[:, None].astype(np.float32))
        held |= {int(one): (float(one), 0b11) for one in exposures}
        asked = data.draw(st.lists(st.integers(0, number + 3), max_size=30))
        asked += list(range(0, number, data.draw(st.sampled_from([1, 2, 100]))))
        asked = list(dict.fromkeys(asked))
        bits = [data.draw(st.sampled_from([1, 2, 3])) if len(asked) < 40 else 3 for _ in asked]
        found = pending.settle(np.array(asked, np.int64), np.array(bits, np.int64))[:, 0]
        expected = [held[one][0] if one in held else np.nan for one in asked]
        np.testing.assert_array_equal(found, expected)
        for one, bit in zip(asked, bits, strict=True):
            if one in held:
                value, left = held.pop(one)
                if left & ~bit:
                    held[one] = (value, left & ~bit)
        assert len(pending) == len(held)
        if data.draw(st.booleans()):
            back = Pending(1, TASKS)
            back.restore(pending.arrays())
            pending = back

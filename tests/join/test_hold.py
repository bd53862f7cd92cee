"""What is held back leaves in order of facts once the watermark has passed it, against a plain list."""

import numpy as np
import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st

from stream_mtl.events.types import Events
from stream_mtl.join.hold import Facts, Hold

SCHEMA = pa.schema([("name", pa.string())])

ARRIVALS = st.lists(
    st.tuples(st.integers(0, 2), st.lists(st.integers(0, 30), max_size=8), st.integers(0, 32)), max_size=8
)


def plainly(facts: Facts) -> list[tuple[int, int, int, str]]:
    columns = facts.time, facts.partition, facts.position, facts.column("name").to_pylist()
    return [(int(t), int(p), int(o), name) for t, p, o, name in zip(*columns, strict=True)]


@given(ARRIVALS)
def test_a_record_leaves_once_the_watermark_has_passed_it(
    arrivals: list[tuple[int, list[int], int]],
) -> None:
    hold, held, position = Hold(SCHEMA), [], 0
    for partition, times, watermark in arrivals:
        places = np.arange(position, position + len(times))
        fields = pa.RecordBatch.from_arrays([pa.array([f"n{place}" for place in places])], schema=SCHEMA)
        hold.add(Events("click", places, np.array(times, np.int64), fields), partition)
        held += [(t, partition, int(o), f"n{o}") for t, o in zip(times, places, strict=True)]
        position += len(times)
        assert plainly(hold.contents()) == sorted(held)
        assert plainly(hold.release(watermark)) == sorted(one for one in held if one[0] < watermark)
        held = [one for one in held if one[0] >= watermark]
        assert len(hold) == len(held)

"""The columns tell what the plain specification tells, row by row, however the stream is read."""

from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stream_mtl.hashing import hash_columns
from stream_mtl.join import keys
from stream_mtl.join.joiner import Joiner
from stream_mtl.join.plain import PlainJoin
from stream_mtl.join.spec import ChainSpec
from stream_mtl.join.state import restore, save
from stream_mtl.join.store import SegmentStore

from .columns import arrivals, bare, plain_rows, run, schemas_of
from .streams import Stream, chain_specs, polls, streams


def plainly(spec: ChainSpec, stream: Stream) -> PlainJoin:
    join = PlainJoin(spec, stream.partitions)
    join.feed(stream.records)
    return join


def expect_equal(spec: ChainSpec, stream: Stream, read: list) -> None:
    plain = plainly(spec, stream)
    plain.end()
    expected = [bare(row) for row in plain.tell()]
    rows, joiner = run(spec, stream.partitions, read)
    assert rows == expected
    accounts = plain.accounts()
    for kind, counts in joiner.accounts().items():
        read_count = accounts[kind].pop("read")
        assert counts == accounts[kind]
        assert sum(counts.values()) == read_count


@given(st.data())
@settings(max_examples=400, deadline=None)
def test_columns_tell_what_the_plain_join_tells(data: st.DataObject) -> None:
    spec = data.draw(chain_specs())
    stream = data.draw(streams(spec))
    expect_equal(spec, stream, data.draw(polls(stream)))


@given(st.data())
@settings(max_examples=150, deadline=None)
def test_keys_that_share_a_hash_are_told_apart(data: st.DataObject) -> None:
    spec = data.draw(chain_specs())
    stream = data.draw(streams(spec))
    read = data.draw(polls(stream))

    def weak(columns: list) -> np.ndarray:
        return (hash_columns(columns) & np.uint64(1)) << np.uint64(40)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(keys, "HASH_ROWS", weak)
        expect_equal(spec, stream, read)


@given(st.data())
@settings(max_examples=150, deadline=None)
def test_a_joiner_that_is_saved_and_restored_goes_on_as_if_nothing_had_happened(data: st.DataObject) -> None:
    spec = data.draw(chain_specs())
    stream = data.draw(streams(spec))
    read = data.draw(polls(stream))
    expected, whole = run(spec, stream.partitions, read)
    stops = data.draw(st.sets(st.integers(0, len(read)), max_size=4))
    with TemporaryDirectory() as folder:
        rows = []
        joiner = Joiner(spec, schemas_of(spec), list(stream.partitions))
        for place, poll in enumerate(read):
            if place in stops:
                SegmentStore(Path(folder), sync=False).save(save(joiner))
                joiner = Joiner(spec, schemas_of(spec), list(stream.partitions))
                restore(joiner, SegmentStore(Path(folder)).load()[0])
            for one in arrivals(spec, poll):
                joiner.admit(one)
            rows += plain_rows(spec, joiner.tell())
        rows += plain_rows(spec, joiner.tell(joiner.end()))
    assert rows == expected
    assert joiner.accounts() == whole.accounts()
    assert joiner.positions == whole.positions

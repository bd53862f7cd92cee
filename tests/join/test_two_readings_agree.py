"""The plain join and the brute-force join, written apart from the same page, tell the same rows."""

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from stream_mtl.join.plain import PlainJoin

from .brute import BruteRecord, brute_join
from .streams import chain_specs, streams


@given(st.data())
@settings(max_examples=200, deadline=None)
def test_two_readings_agree(data: st.DataObject) -> None:
    spec = data.draw(chain_specs(scores=False))
    stream = data.draw(streams(spec))
    plain = PlainJoin(spec, stream.partitions)
    plain.feed(stream.records)
    plain.end()
    records = [
        BruteRecord(*record.source, record.position, record.kind, record.time, dict(record.fields))
        for record in stream.records
    ]
    brute = brute_join(spec, records, list(stream.partitions), ended=True)
    told, expected = [_flat(row) for row in plain.tell()], [_flat(row) for row in brute.rows]
    assert told == expected
    accounts = plain.accounts()
    for kind, fates in brute.accounts.items():
        assert {fate: accounts[kind][fate] for fate in fates} == fates


def _flat(row: Any) -> tuple[object, ...]:
    states = [(state.label, state.at, state.value, state.came, state.gone) for state in row.states]
    wait = row.wait or 0  # the brute-force join has 0 where there is none
    return (row.told, int(row.kind), row.exposure, row.time, wait, row.tasks, row.key, row.fields, *states)

"""Records become events of their kinds; every record read is accounted for."""

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stream_mtl.clock import DAY, HOUR
from stream_mtl.connectors.base import Format, Records
from stream_mtl.connectors.memory import MemorySource
from stream_mtl.errors import ConfigError
from stream_mtl.events.codec import Codec
from stream_mtl.events.types import EventSpec, Limits
from stream_mtl.testing import ManualClock, drain

NOW = 1_700_000_000_000
LIMITS = Limits()
SPEC = EventSpec(
    "view",
    "s",
    "ts",
    {"id": "string", "price": "double", "tags": "array<string>", "weights": "array<double>"},
    required=("id",),
)


def records(values, format="json", schema=None, time=None, name="s"):
    source = MemorySource(name, Format(format, schema))
    source.append(values, at=100, time=time)
    (batch,) = drain(source, 1 << 30)
    return batch


def rows(*values):
    return [json.dumps(value).encode() for value in values]


def decode(specs, batch, limits=LIMITS, **options):
    return Codec(specs, limits, ManualClock(NOW), **options).decode(batch)


def faults(arrivals):
    bad = arrivals.malformed
    return list(zip(bad.position.tolist(), bad.reason, bad.kind, strict=True))


def test_events_have_position_time_and_exactly_the_columns_of_their_spec():
    arrivals = decode(
        [SPEC], records(rows({"ts": 5, "id": "a", "price": 2, "x": 1}, {"ts": 7, "id": "b", "tags": ["t"]}))
    )
    (events,) = arrivals.events
    assert (events.kind, events.position.tolist(), events.time.tolist()) == ("view", [100, 101], [5, 7])
    assert events.fields.schema == SPEC.schema
    assert events.fields.to_pylist() == [
        {"id": "a", "price": 2.0, "tags": None, "weights": None},
        {"id": "b", "price": None, "tags": ["t"], "weights": None},
    ]
    assert (arrivals.source, arrivals.partition, arrivals.first, arrivals.next) == ("s", 0, 100, 102)
    assert (arrivals.ignored, len(arrivals.malformed)) == (0, 0)


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ({"id": "a"}, "time_missing"),
        ({"ts": None, "id": "a"}, "time_missing"),
        ({"ts": "yesterday", "id": "a"}, "time_unreadable"),
        ({"ts": -1, "id": "a"}, "time_out_of_range"),
        ({"ts": 2**62, "id": "a"}, "time_out_of_range"),
        ({"ts": 10**25, "id": "a"}, "time_out_of_range"),
        ({"ts": NOW + HOUR + 1, "id": "a"}, "time_in_future"),
        ({"ts": 5}, "field_missing"),
        ({"ts": 5, "id": "k" * 1_025}, "key_too_large"),
        ({"ts": 5, "id": "é" * 513}, "key_too_large"),
        ({"ts": 5, "id": "a", "tags": ["t"] * 10_001}, "too_many_items"),
        ({"ts": 5, "id": "a", "price": "cheap"}, "wrong_type"),
        ({"ts": 5, "id": "a", "x": "y" * (1 << 20)}, "too_large"),
    ],
)
def test_a_record_that_may_be_no_event_says_why_and_keeps_its_bytes(row, reason):
    values = rows({"ts": 5, "id": "a"}, row, {"ts": 6, "id": "b"})
    arrivals = decode([SPEC], records(values))
    assert faults(arrivals) == [(101, reason, "view")]
    assert arrivals.malformed.value == [values[1]]
    assert 0 < len(arrivals.malformed.detail[0]) <= 200
    assert arrivals.events[0].position.tolist() == [100, 102]
    assert arrivals.next == 103


def test_what_is_just_within_the_limits_is_an_event():
    good = rows(
        {"ts": 0, "id": "k" * 1_024},
        {"ts": NOW + HOUR, "id": "", "tags": ["t"] * 10_000},
        {"ts": 200 * 365 * DAY, "id": "a"},
    )
    assert faults(decode([SPEC], records(good), Limits(max_future_skew=2**60))) == []


@pytest.mark.parametrize("field", ["price", "weights"])
@pytest.mark.parametrize("value", ["nan", "inf", "-inf", "1e999"])
def test_a_number_that_is_not_finite_never_becomes_an_event(field, value):
    header = b"ts,id,price,weights"
    bad = f"5,a,{value},1" if field == "price" else f"5,a,1,2|{value}|3"
    arrivals = decode([SPEC], records([b"5,a,1,", bad.encode(), b"5,b,,1|2"], "csv", header))
    assert faults(arrivals) == [(101, "not_finite", "view")]
    assert arrivals.events[0].fields.column("weights").to_pylist() == [None, [1.0, 2.0]]


def test_the_future_begins_at_the_brokers_time_where_there_is_one():
    row = rows({"ts": NOW, "id": "a"})
    assert faults(decode([SPEC], records(row, time=NOW - HOUR))) == []
    assert faults(decode([SPEC], records(row, time=NOW - HOUR - 1))) == [(100, "time_in_future", "view")]
    source = MemorySource("s")
    source.append(row, time=0)
    source.append(row)
    assert faults(decode([SPEC], source.poll(9)[0])) == [(0, "time_in_future", "view")]


# kinds

VIEW = EventSpec("view", "s", "ts", {"user": "long"}, where={"type": "view"})
DEAL = EventSpec(
    "deal", "s", "at", {"user": "long", "price": "double"}, time_unit="s", where={"type": ["buy", "sell"]}
)


def test_kinds_that_share_a_source_are_told_apart_and_what_none_wants_is_counted():
    values = rows(
        {"type": "buy", "at": 1, "user": 1, "price": 5},
        {"type": "view", "ts": 2, "user": 2},
        {"type": "wave", "ts": 3},
        {"ts": 4},
        {"type": "sell", "at": 5.5, "user": 3},
    )
    arrivals = decode([VIEW, DEAL], records(values))
    assert {e.kind: (e.position.tolist(), e.time.tolist()) for e in arrivals.events} == {
        "view": ([101], [2]),
        "deal": ([100, 104], [1_000, 5_500]),
    }
    assert [e.fields.schema for e in arrivals.events] == [VIEW.schema, DEAL.schema]
    assert arrivals.ignored == 2


def test_only_what_a_kind_wants_is_held_against_it():
    values = rows({"type": "view", "user": 1}, {"type": "wave"}, {"type": "buy", "at": 1}, {"type": 3.5})
    assert faults(decode([VIEW, DEAL], records(values))) == [
        (100, "time_missing", "view"),
        (103, "wrong_type", None),
    ]


@pytest.mark.parametrize(
    ("where", "wanted"),
    [
        ({"flag": True}, [0]),
        ({"flag": [True, False]}, [0, 1]),
        ({"text": None}, [2, 3]),
        ({"n": 1}, [0, 2]),
        ({"n": [1, 2], "flag": False}, [1]),
        ({"d": 0.5}, [3]),
        ({"d": [None, 0.5]}, [0, 1, 2, 3]),
    ],
)
def test_where_may_ask_for_any_plain_value_or_one_of_several(where, wanted):
    values = rows(
        {"ts": 1, "flag": True, "n": 1, "text": "x"},
        {"ts": 1, "flag": False, "n": 2, "text": ""},
        {"ts": 1, "n": 1},
        {"ts": 1, "d": 0.5},
    )
    arrivals = decode([EventSpec("k", "s", "ts", {}, where=where)], records(values))
    assert [p - 100 for e in arrivals.events for p in e.position.tolist()] == wanted
    assert arrivals.ignored == 4 - len(wanted)
    assert all(event.fields.num_rows == len(wanted) for event in arrivals.events)


def test_a_record_that_two_kinds_want_is_an_event_of_both_and_may_be_bad_for_one():
    click = EventSpec("click", "s", "ts", {}, where={"clicked": 1})
    seen = EventSpec("seen", "s", "seen_at", {})
    arrivals = decode(
        [click, seen], records(rows({"ts": 1, "clicked": 1, "seen_at": 2}, {"ts": 3, "clicked": 1}))
    )
    assert {e.kind: e.time.tolist() for e in arrivals.events} == {"click": [1, 3], "seen": [2]}
    assert faults(arrivals) == [(101, "time_missing", "seen")]
    assert arrivals.ignored == 0


@pytest.mark.parametrize(
    "specs",
    [
        [EventSpec("a", "s", "ts", {"x": "long"}), EventSpec("b", "s", "ts", {"x": "string"})],
        [EventSpec("a", "s", "ts", {"x": "long"}, where={"x": "view"})],
        [EventSpec("a", "s", "ts", {"x": "long"}, where={"x": 1.5})],
        [EventSpec("a", "s", "ts", {"x": "array<long>"}, where={"x": 1})],
        [EventSpec("a", "s", "ts", {}, where={"x": [1, "view"]})],
        [EventSpec("a", "s", "ts", {}, where={"x": []})],
        [EventSpec("a", "s", "ts", {}, where={"x": {}})],
        [EventSpec("a", "s", "ts", {"x": "long"}, required=("y",))],
        [EventSpec("a", "s", "ts", {"ts": "array<long>"})],
        [EventSpec("a", "s", "ts", {}, time_format="%Q")],
        [EventSpec("a", "s", "ts", {}, columns=("ts",)), EventSpec("b", "s", "ts", {})],
        [EventSpec("a", "s", "ts", {}, trim=True), EventSpec("b", "s", "ts", {})],
    ],
)
def test_specs_that_cannot_be_are_refused(specs):
    with pytest.raises(ConfigError, match=r"^(a|b|s|time format)"):
        Codec(specs, Limits(), ManualClock())


def test_a_time_may_be_kept_as_a_field_too():
    spec = EventSpec("k", "s", "ts", {"ts": "string"})
    (events,) = decode([spec], records(rows({"ts": "1970-01-01T00:00:01Z"}, {"ts": 7}))).events
    assert events.time.tolist() == [1_000, 7]
    assert events.fields.to_pydict() == {"ts": ["1970-01-01T00:00:01Z", "7"]}


def test_a_log_of_a_shop_is_read_as_it_is():
    header = b"event_time,event_type,product_id,price,user_id"
    view = EventSpec(
        "view", "s", "event_time", {"product_id": "long", "price": "double"}, where={"event_type": "view"}
    )
    lines = [
        b"2019-10-01 00:00:01 UTC,view,44600062,35.79,541312140",
        b"2019-10-01 00:00:02 UTC,cart,1,,2",
        b"x,view,1,,2",
    ]
    arrivals = decode([view], records(lines, "csv", header))
    assert arrivals.events[0].time.tolist() == [1_569_888_001_000]
    assert arrivals.events[0].fields.to_pylist() == [{"product_id": 44600062, "price": 35.79}]
    assert (faults(arrivals), arrivals.ignored) == ([(102, "time_unreadable", "view")], 1)


def test_a_csv_source_without_header_takes_the_one_that_is_configured():
    spec = EventSpec("k", "s", "ts", {"a": "long"})
    batch = records([b"1,2"], "csv")
    assert decode([spec], batch, schemas={"s": "a,ts"}).events[0].fields.to_pydict() == {"a": [1]}
    with pytest.raises(ConfigError, match="bring no schema"):
        decode([spec], batch)


def test_columns_of_a_spec_are_the_header_of_its_source_and_blanks_are_trimmed():
    spec = EventSpec("k", "s", "ts", {"a-b": "string"}, columns=("a-b", "ts"), trim=True)
    arrivals = decode([spec], records([b" x, 2", b"|remark", b" , 3"], "csv"), schemas={"s": "not,this"})
    assert arrivals.events[0].fields.to_pydict() == {"a-b": ["x", None]}
    assert faults(arrivals) == [(101, "wrong_columns", "k")]


def test_the_time_of_an_event_without_one_is_its_position():
    spec = EventSpec("k", "s", None, {"a": "long"}, where={"b": 1})
    values = rows({"b": 1, "a": 5}, {"b": 2}, {"b": 1, "a": "x"}, {"b": 1, "a": 7})
    arrivals = decode([spec], records(values))
    (events,) = arrivals.events
    assert events.time.tolist() == events.position.tolist() == [100, 103]
    assert (faults(arrivals), arrivals.ignored) == ([(102, "wrong_type", None)], 1)


# every record, once


@st.composite
def streams(draw):
    row = st.fixed_dictionaries(
        {},
        optional={
            "type": st.sampled_from(["view", "buy", "sell", "wave", 5]),
            "ts": st.sampled_from([1, "x", None, 2**62]),
            "at": st.sampled_from([1, 1.5, "1970-01-01", -1]),
            "user": st.sampled_from([1, None, "x"]),
            "price": st.sampled_from([1, 1.5, None]),
        },
    )
    return [
        json.dumps(draw(row)).encode() if draw(st.integers(0, 9)) else b"{"
        for _ in range(draw(st.integers(1, 12)))
    ]


@settings(max_examples=200, deadline=None)
@given(values=streams(), data=st.data())
def test_every_record_is_an_event_or_malformed_or_ignored_however_the_log_is_cut(values, data):
    codec = Codec([VIEW, DEAL], Limits(), ManualClock(NOW))
    source = MemorySource("s")
    source.append(values, at=7)
    read, position = {}, None
    whole = codec.decode(records(values))
    for batch in drain(source, data.draw(st.integers(1, 5))):
        arrivals = codec.decode(batch)
        assert position in (None, arrivals.first)
        position = arrivals.next
        count = sum(map(len, arrivals.events)) + len(arrivals.malformed) + arrivals.ignored
        assert count == len(batch)
        for event in arrivals.events:
            for at, time, row in zip(
                event.position.tolist(), event.time.tolist(), event.fields.to_pylist(), strict=True
            ):
                read[at] = (event.kind, time, row)
        for at, reason, kind in faults(arrivals):
            read[at] = (kind, reason)
    expected = {at - 93: (kind, reason) for at, reason, kind in faults(whole)}
    for event in whole.events:
        for at, time, row in zip(
            event.position.tolist(), event.time.tolist(), event.fields.to_pylist(), strict=True
        ):
            expected[at - 93] = (event.kind, time, row)
    assert read == expected
    assert whole.ignored == len(values) - len(read)


def test_records_that_are_none_are_malformed():
    assert faults(decode([SPEC], records([b"", b"{}"]))) == [
        (100, "empty", "view"),
        (101, "time_missing", "view"),
    ]


def test_a_batch_of_nothing_still_moves_on():
    nothing = np.empty(0, np.int64)
    batch = Records("s", 3, Format("json"), np.empty(0, np.uint8), nothing, nothing, nothing, next=9)
    arrivals = decode([SPEC], batch)
    assert (arrivals.partition, arrivals.first, arrivals.next, arrivals.events) == (3, 9, 9, ())

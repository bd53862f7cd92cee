"""Times, as numbers or texts, become milliseconds."""

from datetime import UTC, datetime, timedelta, timezone

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stream_mtl.errors import ConfigError
from stream_mtl.events.times import FAR, Times
from stream_mtl.events.types import Limits

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MOMENTS = st.datetimes(datetime(1600, 1, 1), datetime(2400, 1, 1)).map(
    lambda moment: moment.replace(tzinfo=UTC)
)


def millis(moment):
    return (moment - EPOCH) // timedelta(milliseconds=1)


def read(times, values, kind=None):
    """Return milliseconds, None where a value could not be read."""
    found, known = times.read(pa.array(values, kind))
    assert len(found) == len(known) == len(values)
    return [value if good else None for value, good in zip(found.tolist(), known.tolist(), strict=True)]


@settings(max_examples=300, deadline=None)
@given(
    moments=st.lists(
        st.tuples(
            MOMENTS,
            st.sampled_from(["T", " ", "t"]),
            st.sampled_from(["minutes", "seconds", "milliseconds", "microseconds"]),
            st.sampled_from(["Z", "", " UTC", "+00:00", "+0530", "-03:30", "+14", "z"]),
        ),
        max_size=8,
    )
)
def test_iso_8601_is_read_as_the_standard_library_reads_it(moments):
    texts, expected = [], []
    for moment, between, exact, zone in moments:
        offset = {"+0530": 330, "-03:30": -210, "+14": 840}.get(zone, 0)
        local = moment.astimezone(timezone(timedelta(minutes=offset))).replace(tzinfo=None)
        text = local.isoformat(between, exact)
        texts.append(text + zone)
        cut = datetime.fromisoformat(text.upper()).replace(tzinfo=UTC) - timedelta(minutes=offset)
        expected.append(millis(cut))
    assert read(Times("s"), texts, pa.string()) == expected


@pytest.mark.parametrize(
    "text",
    ["", "x", "1e", "1 2", "0x10", "-019-10-01", "2019-1-1", "2019-13-01", "2019-00-01", "2019-02-29", "1900-02-29",
     "2019-04-31", "2019-10-01Z", "2019-10-01T", "2019-10-01T10", "2019-10-01T10:60", "2019-10-01T24:00:00",
     "2019-10-01T10:00:61", "2019-10-01T10:00:00.", "2019-10-01T10:00:00.1234567890", "2019-10-01T10:00:00 CET",
     "2019-10-01T10:00:00+2", "2019-10-01T10:00:00ZZ", "2019-10-01X10:00:00", "2019-10-01T1٣:00:00",
     "2019-10-01T10:00:00" + " " * 70],
)  # fmt: skip
def test_a_text_that_is_no_time_is_not_read_and_its_neighbours_are(text):
    assert read(Times("s"), ["1970-01-01", text, None, "1970-01-01T00:00:01"]) == [0, None, None, 1_000]


def test_a_leap_second_counts_as_the_second_after_it():
    assert read(Times("s"), ["2016-12-31T23:59:60Z"]) == read(Times("s"), ["2017-01-01T00:00:00Z"])


FORMATS = [
    ("%Y-%m-%d %H:%M:%S UTC", "seconds"),
    ("%Y-%m-%d %H:%M:%S", "seconds"),
    ("%Y-%m-%dT%H:%M:%S.%f", "microseconds"),
    ("%d/%b/%Y:%H:%M:%S %z", "seconds"),
    ("%a %b %d %H:%M:%S %Y", "seconds"),
    ("%Y%m%d", "days"),
    ("%F %T", "seconds"),
    ("%m/%d/%Y %R", "minutes"),
    ("100%% %H:%M %d.%m.%Y %Z", "minutes"),
]


@settings(max_examples=300, deadline=None)
@given(format=st.sampled_from(FORMATS), moments=st.lists(MOMENTS, max_size=6))
def test_a_text_by_a_format_is_read_as_it_was_written(format, moments):
    pattern, exact = format
    texts = [moment.strftime(pattern) for moment in moments]
    step = timedelta(**{exact: 1})
    expected = [millis(moment - (moment - EPOCH) % step) for moment in moments]
    assert read(Times("s", pattern), texts, pa.string()) == expected


def test_a_zone_of_zero_may_follow_a_format_that_has_none():
    texts = [
        "1970-01-01 00:00:01",
        "1970-01-01 00:00:01 UTC",
        "1970-01-01 00:00:01Z",
        "1970-01-01 00:00:01 CET",
    ]
    assert read(Times("s", "%Y-%m-%d %H:%M:%S"), texts) == [1_000, 1_000, 1_000, None]


def test_single_digits_are_read_where_strptime_reads_them():
    assert read(Times("s", "%m/%d/%Y %H:%M"), ["1/2/1970 3:04", "01/02/1970 03:04"]) == [97_440_000] * 2


def test_a_short_year_is_of_this_century_until_68():
    texts = ["01/01/69", "01/01/70", "01/01/68", "01/01/00"]
    years = [1969, 1970, 2068, 2000]
    assert read(Times("s", "%D"), texts) == [millis(datetime(year, 1, 1, tzinfo=UTC)) for year in years]


@pytest.mark.parametrize("format", ["%Y-%j", "%Q", "%s", "%Y %"])
def test_a_format_that_is_not_known_is_refused_with_those_that_are(format):
    with pytest.raises(ConfigError, match="known are %Y"):
        Times("s", format)


UNITS = {"s": 1_000_000_000, "ms": 1_000_000, "us": 1_000, "ns": 1}


@settings(max_examples=200, deadline=None)
@given(
    unit=st.sampled_from([*UNITS]), values=st.lists(st.none() | st.integers(-(2**63), 2**63 - 1), max_size=8)
)
def test_a_whole_number_is_rounded_down_to_the_millisecond(unit, values):
    exact = [None if value is None else value * UNITS[unit] // 1_000_000 for value in values]
    expected = [None if value is None else max(-FAR, min(value, FAR)) for value in exact]
    found = read(Times(unit), values, pa.int64())
    for one, other in zip(found, expected, strict=True):
        assert one == other or (abs(one) > FAR - 1_000 and abs(other) > FAR - 1_000)
    texts = [None if value is None else str(value) for value in values]
    assert read(Times(unit), texts, pa.string()) == found


@settings(max_examples=200, deadline=None)
@given(
    millis=st.lists(st.integers(-Limits().newest, Limits().newest), max_size=8)
)  # beyond, floats are too coarse
def test_a_fraction_of_seconds_gives_the_millisecond_that_it_was_written_with(millis):
    seconds = [value / 1_000 for value in millis]
    assert read(Times("s"), seconds, pa.float64()) == millis
    assert read(Times("s"), [repr(value) for value in seconds], pa.string()) == millis


def test_what_is_no_finite_number_is_not_read():
    assert read(Times("s"), [1.0, float("nan"), float("inf"), None]) == [1_000, None, None, None]
    assert read(Times("ms"), [1e300])[0] > 10**14


def test_fractions_of_nanoseconds_since_1970_do_not_fit_a_float():
    assert read(Times("ns"), [1.0]) == [None]
    assert read(Times("ns"), ["1569888000000000000", "1.5"]) == [1_569_888_000_000, None]


def test_nothing_is_read_as_nothing():
    for kind in (pa.int64(), pa.float64(), pa.string()):
        found, known = Times("ms").read(pa.array([], kind))
        assert (found.dtype, len(found), len(known)) == (np.dtype(np.int64), 0, 0)

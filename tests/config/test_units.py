import re
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stream_mtl.clock import DAY, HOUR
from stream_mtl.config.units import (
    DURATIONS,
    LONGEST,
    SIZES,
    format_duration,
    format_size,
    parse_duration,
    parse_size,
)


@pytest.mark.parametrize(
    ("text", "millis"),
    [
        ("250ms", 250),
        ("15s", 15_000),
        ("30m", 1_800_000),
        ("1.5h", 5_400_000),
        ("7d", 7 * DAY),
        ("1w", 7 * DAY),
    ],
)
def test_a_duration_is_a_number_and_a_unit(text: str, millis: int) -> None:
    assert parse_duration(text) == millis


@pytest.mark.parametrize(
    ("text", "size"), [("512MiB", 512 << 20), ("4KB", 4000), ("1.5KiB", 1536), ("7B", 7)]
)
def test_a_size_is_a_number_and_a_unit(text: str, size: int) -> None:
    assert parse_size(text) == size


@pytest.mark.parametrize(
    ("value", "fault"),
    [
        (30, '30 has no unit, so it is no duration; write a number and a unit, like "30s" or "30m"'),
        (1.5, "1.5 has no unit"),
        ("30", '"30" has no unit'),
        (True, "is no duration"),
        (["30s"], "is no duration"),
        ("", '"" is no duration'),
        ("soon", '"soon" is no duration'),
        ("-5s", '"-5s" is no duration'),
        ("1h30m", '"1h30m" is no duration'),
        ("5 min", 'has the unknown unit "min"'),
        ("5M", 'has the unknown unit "M"'),
        ("1.5ms", '"1.5ms" is not a whole number of ms; give it in a smaller unit'),
        ("٣s", "is no duration"),
        ("36601d", 'is too long a duration; the most is "36600d"'),
    ],
)
def test_what_is_no_duration_is_refused_with_a_hint(value: object, fault: str) -> None:
    with pytest.raises(ValueError, match=re.escape(fault)):
        parse_duration(value)


@pytest.mark.parametrize(
    ("value", "fault"),
    [
        (512, "512 has no unit, so it is no size; write a number and a unit"),
        ("512", '"512" has no unit'),
        ("4kb", 'has the unknown unit "kb"'),
        ("1.0001KB", "is not a whole number of B"),
        ("2000TiB", "is too long a size"),
    ],
)
def test_what_is_no_size_is_refused_with_a_hint(value: object, fault: str) -> None:
    with pytest.raises(ValueError, match=re.escape(fault)):
        parse_size(value)


@given(st.integers(0, LONGEST))
def test_a_duration_survives_being_written(millis: int) -> None:
    assert parse_duration(format_duration(millis)) == millis


@given(st.one_of(st.integers(0, 1 << 50), st.integers(0, 1000).map(lambda n: n << 20)))
def test_a_size_survives_being_written(size: int) -> None:
    assert parse_size(format_size(size)) == size


@given(st.integers(1, 500), st.sampled_from(sorted(DURATIONS)))
def test_no_whole_number_of_another_unit_is_a_shorter_duration(number: int, unit: str) -> None:
    millis = number * DURATIONS[unit]
    exact = [f"{millis // size}{name}" for name, size in DURATIONS.items() if millis % size == 0]
    assert len(format_duration(millis)) == min(map(len, exact))


@given(st.integers(0, 500), st.integers(0, 999), st.sampled_from(sorted(SIZES)))
def test_a_fraction_of_a_unit_is_exact_or_refused(whole: int, thousandths: int, unit: str) -> None:
    exact = (whole + Fraction(thousandths, 1000)) * SIZES[unit]
    text = f"{whole}.{thousandths:03d}{unit}"
    if exact.denominator == 1:
        assert parse_size(text) == exact
    else:
        with pytest.raises(ValueError, match="is not a whole number of B"):
            parse_size(text)


def test_round_lengths_are_written_in_the_greatest_unit() -> None:
    assert [format_duration(n) for n in (0, 90_000, HOUR, 7 * DAY, 36 * HOUR)] == [
        "0s",
        "90s",
        "1h",
        "1w",
        "36h",
    ]
    assert [format_size(n) for n in (0, 1 << 20, 4000, 1001)] == ["0B", "1MiB", "4KB", "1001B"]

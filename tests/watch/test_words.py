"""Numbers and times as people read them: few digits, UTC, a dash for what is not defined."""

import pytest

from stream_mtl.clock import DAY, HOUR, MINUTE, SECOND
from stream_mtl.watch.words import DASH, brief, count, lapse, moment, number, ratio, share


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        (count(12_345.4), "12,345"),
        (share(0.0342), "3.42 %"),
        (share(0.000512), "0.0512 %"),
        (share(0.0), "0 %"),
        (number(1.0336), "1.034"),
        (number(0.069321), "0.06932"),
        (number(12_345.6), "12,346"),
        (number(-0.5), "-0.5000"),
        (ratio(0.99543), "0.995"),
        (ratio(1_234.5), "1,234"),
        (brief(950), "950"),
        (brief(12_345), "12.3k"),
        (brief(4_512_000), "4.51M"),
        (brief(0.25), "0.250"),
        (moment(1_772_668_800_000), "2026-03-05 00:00"),
        (moment(1_772_668_805_000), "2026-03-05 00:00:05"),
        (lapse(2 * DAY + 3 * HOUR + MINUTE), "2 d 3 h"),
        (lapse(4 * MINUTE + 10 * SECOND), "4 min 10 s"),
        (lapse(2 * DAY + MINUTE), "2 d"),
        (lapse(35), "35 ms"),
    ],
)
def test_a_few_digits_say_enough(text: str, wanted: str) -> None:
    assert text == wanted


@pytest.mark.parametrize("write", [count, share, number, ratio, brief])
def test_what_is_not_defined_is_a_dash(write: object) -> None:
    assert callable(write)
    assert [write(None), write(float("nan")), write(float("inf"))] == [DASH] * 3
    assert moment(None) == lapse(None) == DASH


def test_a_time_beyond_the_calendar_stands_at_its_edge() -> None:
    assert moment(2**60).startswith("9999")
    assert moment(-(2**60)).startswith("1-") or moment(-(2**60)).startswith("0001")

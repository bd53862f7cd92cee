"""What goes wrong goes wrong as often, and as far, as was asked for."""

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from stream_mtl.clock import HOUR, MINUTE, SECOND
from stream_mtl.generate.faults import Breakage, Fate
from stream_mtl.generate.generated import Generated, Stream, generate
from stream_mtl.generate.options import PAIR_KEY, GeneratorOptions


@pytest.fixture(scope="module")
def rough() -> Generated:
    return generate(
        GeneratorOptions(
            impressions=25_000,
            seed=5,
            ctr=0.3,
            cvr=0.4,
            partitions=4,
            duplicates=0.05,
            conflicts=0.02,
            disorder=0.2,
            late=0.03,
            missing=0.04,
            malformed=0.02,
        )
    )


def times(stream: Stream) -> npt.NDArray[np.int64]:
    return np.asarray(stream.table["ts"].to_numpy())


def share(stream: Stream, *fates: Fate) -> float:
    return float(np.isin(stream.fate, fates).mean())


def test_a_record_is_late_exactly_when_it_is_behind_its_partitions_watermark(rough: Generated) -> None:
    for stream in rough.streams.values():
        for partition in range(4):
            log = stream.of(partition)
            valid = log.broken == Breakage.NONE
            time = times(log)[valid]
            behind = time < np.maximum.accumulate(time) - rough.options.lateness
            assert behind.any()
            assert (behind == (log.fate[valid] == Fate.LATE)).all()


def test_a_stream_is_in_order_of_arrival_and_nothing_comes_before_it_happened(rough: Generated) -> None:
    for stream in rough.streams.values():
        assert (np.diff(stream.arrival) >= 0).all()
        delay = stream.arrival - times(stream)
        assert delay.min() == 0
        on_time = ~np.isin(stream.fate, (Fate.LATE, Fate.MALFORMED))
        assert MINUTE < delay[on_time].max() <= rough.options.lateness
        assert delay[stream.fate == Fate.LATE].min() > rough.options.lateness


def test_every_fault_has_its_share(rough: Generated) -> None:
    shown = rough.impressions
    lost = rough.truth["impression_fate"].null_count / len(rough.truth)
    assert lost == pytest.approx(0.04, rel=0.1)
    sent = len(rough.truth) * (1 - lost)
    assert share(shown, Fate.DUPLICATE) * len(shown) / sent == pytest.approx(0.05, rel=0.15)
    assert share(shown, Fate.CONFLICT) * len(shown) / sent == pytest.approx(0.02, rel=0.15)
    assert share(shown, Fate.LATE) * len(shown) / sent == pytest.approx(0.03, rel=0.1)
    assert share(shown, Fate.MALFORMED) * len(shown) / sent == pytest.approx(0.02, rel=0.15)
    first = (shown.fate == Fate.JOINED) & (shown.arrival > times(shown))
    assert first.sum() / (shown.fate == Fate.JOINED).sum() == pytest.approx(0.2, rel=0.05)
    delay = (shown.arrival - times(shown))[first]
    assert delay.mean() == pytest.approx(MINUTE / 2, rel=0.05) and delay.max() <= MINUTE


def test_children_of_what_never_stood_are_orphans(rough: Generated) -> None:
    for row in rough.truth.to_pylist():
        if row["click_fate"] is not None and row["impression_fate"] != "joined":
            assert row["click_fate"] == "orphan"
        if row["conversion_fate"] is not None and row["click_fate"] != "joined":
            assert row["conversion_fate"] == "orphan"


def test_a_repeat_is_the_same_record_and_a_conflict_another_of_the_same_id(rough: Generated) -> None:
    for kind, stream in rough.streams.items():
        name = stream.table.column_names[0]
        rows = stream.table.to_pylist()
        first: dict[str, Any] = {}
        for row, fate in zip(rows, stream.fate, strict=True):
            time = row.pop("ts")
            if fate == Fate.DUPLICATE:
                assert first[row[name]][0] == row
            elif fate == Fate.CONFLICT:
                assert first[row[name]][0] != row
            elif fate != Fate.MALFORMED:
                assert row[name] not in first, kind
            if fate in (Fate.DUPLICATE, Fate.CONFLICT):
                assert 0 <= time - first[row[name]][1] <= rough.options.repeat_within
            first.setdefault(row[name], (row, time))


def test_some_repeats_are_younger_than_what_they_repeat(rough: Generated) -> None:
    shown = rough.impressions
    truth = dict(zip(rough.truth["exposure_id"].to_pylist(), rough.truth["ts"].to_pylist(), strict=True))
    twice = shown.fate == Fate.DUPLICATE
    younger = [
        time > truth[name]
        for name, time in zip(shown.table["exposure_id"].to_numpy()[twice], times(shown)[twice], strict=True)
    ]
    assert np.mean(younger) == pytest.approx(0.5, abs=0.05)


def test_every_breakage_occurs_and_only_in_malformed_records(rough: Generated) -> None:
    for stream in rough.streams.values():
        assert ((stream.broken != Breakage.NONE) == (stream.fate == Fate.MALFORMED)).all()
        assert set(stream.broken.tolist()) == set(Breakage)
        assert ((times(stream) < 0) == (stream.broken == Breakage.TIME)).all()


def test_clocks_that_are_behind_put_children_before_their_parents() -> None:
    options = GeneratorOptions(impressions=30_000, ctr=0.5, skew=30 * SECOND, skewed=0.4, malformed=0)
    generated = generate(options)
    shown = dict(
        zip(generated.truth["exposure_id"].to_pylist(), generated.truth["ts"].to_pylist(), strict=True)
    )
    clicks = generated.clicks
    parents = np.array([shown[name] for name in clicks.table["exposure_id"].to_pylist()])
    first = clicks.fate == Fate.JOINED
    ahead = (parents - times(clicks))[first]
    assert (ahead > 0).mean() == pytest.approx(0.4, rel=0.05)
    assert 29 * SECOND < ahead.max() <= 30 * SECOND


def test_returning_requests_show_a_pair_again() -> None:
    def repeats(returning: float) -> float:
        options = GeneratorOptions(
            impressions=50_000, users=10**5, items=10**4, popularity=0, returning=returning
        )
        truth = generate(options).truth
        pairs = truth["user_id"].to_numpy() * 10**6 + truth["item_id"].to_numpy()
        return 1 - len(np.unique(pairs)) / len(pairs)

    assert repeats(0.0) < 0.001
    assert repeats(0.2) == pytest.approx(0.2 * 0.8, rel=0.15)


def test_hot_requests_take_their_share() -> None:
    options = GeneratorOptions(
        impressions=50_000, users=10**5, items=10**4, key=PAIR_KEY, hot_keys=10, hot_share=0.3, popularity=0
    )
    truth = generate(options).truth
    pairs = truth["user_id"].to_numpy() * 10**6 + truth["item_id"].to_numpy()
    counts = np.sort(np.unique(pairs, return_counts=True)[1])
    assert counts[-10:].sum() / len(pairs) == pytest.approx(0.3, rel=0.05)
    assert counts[-11] < 100


def test_without_draining_the_log_ends_with_its_last_exposures() -> None:
    options = GeneratorOptions(impressions=20_000, ctr=0.3, cvr=0.5, drain=False, malformed=0)
    whole = GeneratorOptions(impressions=20_000, ctr=0.3, cvr=0.5, malformed=0)
    cut, drained = generate(options), generate(whole)
    assert times(cut.conversions).max() < options.end + options.repeat_within
    assert times(drained.conversions).max() > options.end + HOUR
    assert cut.truth["conversion_time"].equals(drained.truth["conversion_time"])

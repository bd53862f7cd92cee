"""The board: its sums agree with counting the rows again, however they were cut, and however often it was saved."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stream_mtl import measures
from stream_mtl.clock import DAY, HOUR, MINUTE, SECOND, Millis
from stream_mtl.label.plan import lives
from stream_mtl.learn.checkpoint import read_checkpoint, write_checkpoint
from stream_mtl.measures import BinarySums, Sums, ValueSums
from stream_mtl.watch.board import Board, BoardOptions, window_name
from stream_mtl.watch.cells import NEWEST, OLDER
from stream_mtl.watch.outcomes import Outcomes
from stream_mtl.watch.readings import Reading, Readings
from tests.label.world import CHAIN, cut

from .served import OUTPUTS, PLAN, feed, made, told, world

OPTIONS = BoardOptions(
    windows=(30 * MINUTE, 3 * HOUR), bins=5, slices=("scored.country",), max_slices=2, min_examples=1
)
WORLD = world(150, seed=11, snapshots=60)
HELD = "joint.cvr"


def board(options: BoardOptions = OPTIONS) -> Board:
    return Board(PLAN, CHAIN, options)


def fed(*borders: int) -> Board:
    one = board()
    feed(one, WORLD, borders)
    return one


def plain(readings: Readings) -> dict[str, object]:
    made: dict[str, object] = msgspec.to_builtins(readings)
    return made


def close(found: object, expected: object) -> None:
    """Equal, but for the rounding of sums that were added in another order."""
    if isinstance(expected, dict):
        assert isinstance(found, dict)
        assert found.keys() == expected.keys()
        for key in expected:
            close(found[key], expected[key])
    elif isinstance(expected, list):
        assert isinstance(found, list)
        for one, other in zip(found, expected, strict=True):
            close(one, other)
    else:
        assert found == (pytest.approx(expected, rel=1e-9) if isinstance(expected, float) else expected)


borders = st.lists(st.integers(0, len(WORLD)), max_size=12)


@settings(max_examples=40, deadline=None)
@given(borders=borders)
def test_any_split_into_batches_gives_the_same_sums(borders: list[int]) -> None:
    close(plain(fed(*borders).readings()), whole())


@cache
def whole() -> dict[str, object]:
    return plain(fed().readings())


@dataclass(frozen=True)
class Row:
    """One outcome of one output."""

    moment: Millis  # when it counts
    snapshot: int
    country: str
    served: float
    truth: float


def rows_of(found: Outcomes, output: int, name: str) -> list[Row]:
    """Write outcomes out one by one; those that are held back count when their cohort is ripe."""
    life = lives(PLAN, CHAIN)[name]
    width = life // 12
    coded = found.slices["scored.country"]
    rows = []
    for i in range(len(found)):
        served, truth = found.served[i, output], found.truth[i, output]
        if np.isnan(served) or np.isnan(truth):
            continue
        ripe = (found.time[i] // width + 1) * width + life - 1
        moment = ripe if name == HELD else found.told[i]
        country = coded.values[coded.codes[i]]
        rows.append(Row(int(moment), int(found.snapshot[i]), country, float(served), float(truth)))
    return rows


def sums_of(name: str, rows: list[Row]) -> Sums:
    kind: type[BinarySums] | type[ValueSums] = ValueSums if name == "order_value" else BinarySums
    return kind.of(np.array([row.served for row in rows]), np.array([row.truth for row in rows]))


def same(found: Mapping[str, Reading], expected: Mapping[str, Sums]) -> None:
    assert found.keys() == {name for name, sums in expected.items() if measures.count(sums)}
    for name, reading in found.items():
        for key, value in measures.reading(expected[name]).items():
            assert getattr(reading, key) == (pytest.approx(value, rel=1e-9) if value is not None else None)


@settings(max_examples=25, deadline=None)
@given(stop=st.integers(1, len(WORLD)), borders=borders)
def test_every_reading_agrees_with_counting_the_rows_again(stop: int, borders: list[int]) -> None:
    head = cut(WORLD, [stop])[0]
    one = board()
    feed(one, head, borders)
    now, found = told(head)[-1] + 1, made(head, OPTIONS.slices)
    told_apart = found.slices["scored.country"].values[: OPTIONS.max_slices]
    for i, name in enumerate(OUTPUTS):
        rows = [row for row in rows_of(found, i, name) if row.moment < now]
        readings = one.readings().outputs[name]
        views = {"life": sums_of(name, rows)}
        for window in OPTIONS.windows:
            first = ((now - 1) // (window // 12) - 11) * (window // 12)
            views[window_name(window)] = sums_of(name, [row for row in rows if row.moment >= first])
        same(readings.views, views)
        values = {value: [row for row in rows if row.country == value] for value in told_apart}
        values["other"] = [row for row in rows if row.country not in told_apart]
        same(readings.slices["scored.country"], {key: sums_of(name, some) for key, some in values.items()})
        versions = sorted({row.snapshot for row in rows} - {-1})
        apart = {str(v): [row for row in rows if row.snapshot == v] for v in versions[-NEWEST:]}
        apart[OLDER] = [row for row in rows if row.snapshot in versions[:-NEWEST]]
        same(readings.snapshots, {key: sums_of(name, some) for key, some in apart.items()})


@settings(max_examples=15, deadline=None)
@given(borders=st.lists(st.integers(1, len(WORLD) - 1), min_size=1, max_size=6, unique=True))
def test_saved_and_restored_between_any_two_updates_changes_nothing(borders: list[int]) -> None:
    one, at_once = board(), board()
    feed(at_once, WORLD, borders)
    times = [*told(WORLD), told(WORLD)[-1] + 1]
    for piece, edge in zip(cut(WORLD, borders), [*sorted(borders), len(WORLD)], strict=True):
        one.update(made(piece, OPTIONS.slices), times[edge])
        arrays, facts = one.state()
        one = board()
        one.restore(arrays, json.loads(json.dumps(facts)))
    assert one.readings() == at_once.readings()
    arrays, facts = at_once.state()
    assert one.state()[1] == facts
    for name, array in one.state()[0].items():
        np.testing.assert_array_equal(array, arrays[name])


def test_its_state_is_what_a_checkpoint_takes(tmp_path: Path) -> None:
    for number, one in enumerate([board(), fed(100)]):
        write_checkpoint(tmp_path, number, *one.state())
        saved = read_checkpoint(tmp_path)
        assert saved is not None
        again = board()
        again.restore(saved.arrays, saved.facts)
        assert again.readings() == one.readings()


def test_a_product_shows_no_cohort_before_its_last_label_is_in() -> None:
    one = board()
    head = cut(WORLD, [len(WORLD) // 3])[0]
    feed(one, head)
    readings = one.readings()
    ripe = readings.outputs[HELD].ripe_before
    assert ripe is not None
    found = made(head)
    expected = int((~np.isnan(found.truth[:, 3]) & ~np.isnan(found.served[:, 3]) & (found.time < ripe)).sum())
    view = readings.outputs[HELD].views.get("life")
    assert (view.examples if view else 0) == expected
    early = int((~np.isnan(found.truth[:, 3]) & (found.time >= ripe)).sum())
    assert early > 0


def test_a_reading_of_too_few_examples_is_absent() -> None:
    one = board(BoardOptions(windows=OPTIONS.windows, min_examples=100, slices=OPTIONS.slices))
    feed(one, cut(WORLD, [60])[0])
    for output in one.readings().outputs.values():
        assert output.views == {} and output.reliability == [] and output.snapshots == {}
        assert output.slices == {"scored.country": {}}
    feed(one, cut(WORLD, [60])[1])
    assert one.readings().outputs["ctr"].views["life"].examples >= 100


def test_an_empty_board_says_so() -> None:
    readings = board().readings()
    assert readings.told_before is None
    assert readings.outputs["ctr"].ripe_before is None


def test_a_window_empties_when_time_passes_without_outcomes() -> None:
    one = fed()
    nothing = made(cut(WORLD, [0])[0], OPTIONS.slices)
    one.update(nothing, one.told_before + 10 * HOUR)
    assert set(one.readings().outputs["ctr"].views) == {"life"}


def test_scores_that_were_not_served_are_counted() -> None:
    found = made(WORLD)
    one = fed(50)
    for i, name in enumerate(OUTPUTS):
        expected = int((~np.isnan(found.truth[:, i]) & np.isnan(found.served[:, i])).sum())
        assert one.readings().outputs[name].unserved == expected > 0


def test_readings_are_json_without_nan_and_come_back() -> None:
    readings = fed(30, 60).readings()
    text = msgspec.json.encode(readings)
    json.loads(text, parse_constant=lambda text: pytest.fail(text))
    assert msgspec.json.decode(text, type=Readings) == readings
    mature = [reading for output in readings.outputs.values() for reading in output.views.values()]
    assert {reading.upto for reading in mature} == {readings.told_before}


@pytest.mark.parametrize(
    ("window", "name"),
    [(HOUR, "1h"), (DAY, "24h"), (7 * DAY, "7d"), (90 * MINUTE, "90m"), (SECOND, "1s"), (1, "1ms")],
)
def test_windows_have_the_names_that_people_use(window: Millis, name: str) -> None:
    assert window_name(window) == name

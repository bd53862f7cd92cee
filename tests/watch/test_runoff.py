"""Readings before labels are final: they agree with going through the rows, wherever the log was cut or sums were saved."""

import json
from collections.abc import Iterator, Sequence

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stream_mtl.clock import END, HOUR, MINUTE, Millis
from stream_mtl.join.spec import ChainSpec
from stream_mtl.watch import corrected
from stream_mtl.watch.board import Board, BoardOptions
from stream_mtl.watch.readings import SO_FAR, WAITING, OutputReadings, Readings
from stream_mtl.watch.words import window_name
from tests.label.world import CHAIN, cut

from .rows import Rows, Slow
from .served import OUTPUTS, PLAN, feed, looking, made, told, world

WINDOWS = (HOUR, 4 * HOUR)
OPTIONS = BoardOptions(windows=WINDOWS, min_examples=1)
LABELS = ("ctr", "cvr", "joint.cvr")
CHAINS = (
    looking(ctr=[0], cvr=[0]),
    looking(ctr=[7 * MINUTE, 20 * MINUTE], cvr=[15 * MINUTE, HOUR]),
    looking(cvr=[11 * MINUTE]),
)
WORLDS = [world(260, seed=41 + i, chain=chain) for i, chain in enumerate(CHAINS)]


@pytest.fixture(autouse=True, scope="module")
def _few_are_enough() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(corrected, "LEAST_DELAYS", 1)
        patch.setattr(corrected, "LEAST_KNOWN", 1)
        yield


def board(chain: ChainSpec) -> Board:
    return Board(PLAN, chain, OPTIONS)


def near(value: float | None) -> object:
    return None if value is None else pytest.approx(value, rel=1e-9)


def agrees(found: OutputReadings, view: str, slow: Slow | None) -> None:
    """The proxy and the estimate of a view are those of the rows."""
    proxy, estimate = found.proxy.get(SO_FAR, {}).get(view), found.corrected.get(view)
    if slow is None:
        assert proxy is None and estimate is None
        return
    assert proxy is not None
    assert (proxy.examples, proxy.predicted) == (slow.clocks, near(slow.predicted))
    assert proxy.horizon == pytest.approx(slow.age, abs=1)
    assert proxy.known * slow.clocks == near(slow.known)
    assert (None if estimate is None else estimate.calibration) == near(slow.ratio)
    if estimate is not None:
        assert (estimate.low, estimate.high) == (near(slow.low), near(slow.high))
        assert (estimate.examples, estimate.predicted) == (slow.clocks, near(slow.predicted))


cases = st.integers(0, len(CHAINS) - 1)
places = st.floats(0, 1)


@settings(max_examples=40, deadline=None)
@given(case=cases, stop=places, borders=st.lists(places, max_size=6))
def test_every_early_reading_agrees_with_going_through_the_rows(
    case: int, stop: float, borders: Sequence[float]
) -> None:
    chain, whole = CHAINS[case], WORLDS[case]
    head = cut(whole, [1 + round(stop * (len(whole) - 1))])[0]
    now = told(head)[-1] + 1
    one = board(chain)
    feed(one, head, [round(border * len(head)) for border in borders])
    for name in LABELS:
        found = one.readings().outputs[name]
        slow = Rows(head, chain, name, now, max(WINDOWS))
        assert found.maturity is not None
        if name == "ctr" and not chain.tasks[0].waits:
            assert (found.proxy, found.corrected, found.maturity.waiting) == ({}, {}, slow.waiting())
            continue
        assert found.maturity.waiting == slow.waiting()
        shares = {WAITING: slow.mature(None)} | {window_name(w): slow.mature(w) for w in WINDOWS}
        assert found.maturity.shares == {key: near(v) for key, v in shares.items() if v is not None}
        agrees(found, WAITING, slow.read(None))
        for window in WINDOWS:
            agrees(found, window_name(window), slow.read(window))


@settings(max_examples=20, deadline=None)
@given(case=cases, stop=places)
def test_a_look_reads_what_was_known_at_its_horizon(case: int, stop: float) -> None:
    chain, whole = CHAINS[case], WORLDS[case]
    head = cut(whole, [1 + round(stop * (len(whole) - 1))])[0]
    one = board(chain)
    feed(one, head, [len(head) // 2])
    for task in chain.tasks[:2]:
        slow = Rows(head, chain, task.name, told(head)[-1] + 1, max(WINDOWS))
        found = one.readings().outputs[task.name].proxy
        assert set(found) <= {*map(window_name, task.waits), SO_FAR}
        for look in task.waits:
            views: dict[str, Millis | None] = {"life": None, **{window_name(w): w for w in WINDOWS}}
            for view, window in views.items():
                clocks, promised, seen = slow.looked(look, window)
                proxy = found.get(window_name(look), {}).get(view)
                assert (proxy is not None) == (clocks > 0)
                if proxy is not None:
                    assert (proxy.horizon, proxy.examples) == (look, clocks)
                    assert proxy.calibration == near(promised / seen if seen else None)


@settings(max_examples=15, deadline=None)
@given(case=cases, borders=st.lists(places, min_size=1, max_size=5))
def test_saved_and_restored_between_any_two_updates_changes_nothing(
    case: int, borders: Sequence[float]
) -> None:
    chain, whole = CHAINS[case], cut(WORLDS[case], [2 * len(WORLDS[case]) // 3])[0]
    edges = sorted({round(border * len(whole)) for border in borders} - {0, len(whole)})
    one, other = board(chain), board(chain)
    feed(other, whole, edges)
    times = [*told(whole), told(whole)[-1] + 1]
    for piece, edge in zip(cut(whole, edges), [*edges, len(whole)], strict=True):
        one.update(made(piece), times[edge])
        arrays, facts = one.state()
        one = board(chain)
        one.restore(arrays, json.loads(json.dumps(facts)))
    assert one.readings() == other.readings()


def test_state_is_bounded_however_long_the_log_is() -> None:
    chain = CHAINS[0]
    one = board(chain)
    feed(one, world(1_500, seed=50, chain=chain), range(0, 9_000, 90))
    for runoff in one.runoffs.values():
        for name, array in runoff.state().items():
            most = 140 * 140 if name.startswith(("came", "delays")) else 140
            assert len(array) <= most, name


def test_nothing_waits_at_the_end_and_everything_is_mature() -> None:
    for chain, whole in zip(CHAINS, WORLDS, strict=True):
        one = board(chain)
        feed(one, whole, [100, 300])
        for name in LABELS:
            found = one.readings().outputs[name]
            assert found.maturity is not None
            assert found.maturity.waiting == 0
            assert set(found.maturity.shares.values()) <= {1.0}
        one.update(made(cut(whole, [0])[0]), END)
        assert all(output.corrected == {} for output in one.readings().outputs.values())


def test_an_estimate_of_whole_cohorts_is_the_final_calibration() -> None:
    chain, whole = CHAINS[0], WORLDS[0]
    one = Board(PLAN, chain, BoardOptions(windows=(20 * HOUR,), min_examples=1))
    feed(one, whole)
    one.update(made(cut(whole, [0])[0]), told(whole)[-1] + 5 * HOUR)
    for name in LABELS:
        found = one.readings().outputs[name]
        assert found.corrected["20h"].calibration == pytest.approx(found.views["20h"].calibration)
        assert found.corrected["20h"].complete == pytest.approx(1)


def test_the_newest_exposure_that_is_counted_is_as_old_as_its_label() -> None:
    head = cut(WORLDS[0], [4 * len(WORLDS[0]) // 5])[0]
    one = board(CHAINS[0])
    feed(one, head, [40, 90])
    found, now = made(head), told(head)[-1] + 1
    for i, name in enumerate(OUTPUTS):
        output = one.readings().outputs[name]
        assert output.maturity is not None and output.ripe_before is not None
        counted = (found.truth[:, i] == found.truth[:, i]) & (found.served[:, i] == found.served[:, i])
        if name == "joint.cvr":
            counted &= found.time < output.ripe_before
        assert output.maturity.newest_age == now - int(found.time[counted].max())


def test_without_looks_it_says_that_nothing_is_known_before_the_end() -> None:
    one = Board(PLAN, CHAIN, OPTIONS)
    feed(one, cut(world(150, seed=11), [300])[0])
    outputs = one.readings().outputs
    for name in LABELS:
        assert (outputs[name].proxy, outputs[name].corrected) == ({}, {})
        assert outputs[name].uncorrected == "no look tells of it before its label is final"
    waiting = {name: output.maturity.waiting for name, output in outputs.items() if output.maturity}
    assert waiting["cvr"] is None and waiting["order_value"] is None
    assert (waiting["ctr"] or 0) > 0 and (waiting["joint.cvr"] or 0) > (waiting["ctr"] or 0)


def test_too_few_delays_are_said_to_be_too_few(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(corrected, "LEAST_DELAYS", 50)
    one = board(CHAINS[0])
    feed(one, cut(WORLDS[0], [450])[0])
    output = one.readings().outputs["cvr"]
    assert output.corrected == {}
    assert "50 are needed to know how late they come" in (output.uncorrected or "")


def test_json_says_which_numbers_are_not_final() -> None:
    one = board(CHAINS[0])
    feed(one, cut(WORLDS[0], [700])[0])
    readings = one.readings()
    text = msgspec.json.encode(readings)
    assert msgspec.json.decode(text, type=Readings) == readings
    output = json.loads(text)["outputs"]["cvr"]
    assert output["proxy"][SO_FAR][WAITING]["maturity"] == "proxy"
    assert output["corrected"][WAITING]["maturity"] == "corrected"
    assert all("maturity" not in view for view in output["views"].values())


def test_a_log_that_begins_in_the_middle_of_lives_counts_whole_lives_only() -> None:
    chain, whole = CHAINS[0], WORLDS[0]
    begin = next(i for i, time in enumerate(told(whole)) if time >= 90 * MINUTE)
    one = board(chain)
    feed(one, cut(whole, [begin])[1], [700])
    for name in LABELS:
        maturity = one.readings().outputs[name].maturity
        assert maturity is not None and maturity.waiting == 0

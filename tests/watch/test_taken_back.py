"""Events that are taken back: what is known before labels are final counts them until then, and no longer."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stream_mtl.clock import HOUR, MINUTE
from stream_mtl.events.types import Arrivals, Events, Malformed
from stream_mtl.join.joiner import Joiner
from stream_mtl.join.spec import ChainSpec, KindSpec
from stream_mtl.join.transitions import Transitions
from stream_mtl.watch import corrected
from stream_mtl.watch.board import Board, BoardOptions
from stream_mtl.watch.readings import WAITING
from stream_mtl.watch.words import window_name
from tests.label.world import cut, glue, lives

from .rows import Rows
from .served import PLAN, feed, looking, made, scores, serve, told
from .test_runoff import agrees

WINDOWS = (HOUR, 4 * HOUR)
REFUND = KindSpec("refund", after=("conversion",), within=HOUR, retracts=True)
COUNT = 260


@pytest.fixture(autouse=True, scope="module")
def _few_are_enough() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(corrected, "LEAST_DELAYS", 1)
        patch.setattr(corrected, "LEAST_KNOWN", 1)
        yield


def refundable(**waits: list[int]) -> ChainSpec:
    chain = looking(**waits)
    return replace(chain, kinds=(*chain.kinds, REFUND))


def taken_back(chain: ChainSpec, seed: int) -> Transitions:
    """Draw exposures of which many are clicked and bought, and half of that given back; some too late."""
    rng = np.random.default_rng(seed)
    events: dict[str, list[tuple[int, int]]] = {kind.name: [] for kind in chain.kinds}
    for i, life in enumerate(lives(COUNT, seed, p=0.6, q=0.8)):
        time = life.shown
        events["impression"].append((i, time))
        for kind, delay in (("click", life.click), ("conversion", life.conversion)):
            if delay is not None:
                time += delay
                events[kind].append((i, time))
        if life.conversion is not None and rng.random() < 0.5:
            events["refund"].append((i, time + int(rng.integers(0, 70 * MINUTE))))
    joiner = Joiner(
        chain, *_sources({kind: sorted(some, key=lambda one: one[1]) for kind, some in events.items()})
    )
    for kind, some in events.items():
        joiner.admit(_arrivals(kind, sorted(some, key=lambda one: one[1])))
    return serve(glue(joiner.tell(20 * HOUR)), scores(COUNT, seed + 1))


def _sources(events: dict[str, Any]) -> tuple[dict[str, pa.Schema], list[tuple[str, int]]]:
    return {kind: _arrivals(kind, []).events[0].fields.schema for kind in events}, [
        (kind, 0) for kind in events
    ]


def _arrivals(kind: str, some: list[tuple[int, int]]) -> Arrivals:
    times = np.array([time for _, time in some], np.int64)
    columns = {"exposure_id": pa.array([f"e{i:06d}" for i, _ in some], pa.string())}
    if kind == "conversion":
        columns["amount"] = pa.array(np.ones(len(some)))
    fields = pa.RecordBatch.from_pydict(columns)
    nothing = Malformed(np.zeros(0, np.int64), [], [], [], [])
    return Arrivals(kind, 0, 0, len(some), (Events(kind, np.arange(len(some)), times, fields),), nothing)


CHAINS = (refundable(ctr=[0], cvr=[0]), refundable(ctr=[7 * MINUTE], cvr=[15 * MINUTE, HOUR]))
WORLDS = [taken_back(chain, 61 + i) for i, chain in enumerate(CHAINS)]


@settings(max_examples=30, deadline=None)
@given(case=st.integers(0, 1), stop=st.floats(0, 1), border=st.floats(0, 1))
def test_every_early_reading_agrees_with_going_through_the_rows(
    case: int, stop: float, border: float
) -> None:
    chain, whole = CHAINS[case], WORLDS[case]
    head = cut(whole, [1 + round(stop * (len(whole) - 1))])[0]
    one = Board(PLAN, chain, BoardOptions(windows=WINDOWS, min_examples=1))
    feed(one, head, [round(border * len(head))])
    for name in ("ctr", "cvr", "joint.cvr"):
        found = one.readings().outputs[name]
        slow = Rows(head, chain, name, told(head)[-1] + 1, max(WINDOWS))
        assert found.maturity is not None and found.maturity.waiting == slow.waiting()
        agrees(found, WAITING, slow.read(None))
        for window in WINDOWS:
            agrees(found, window_name(window), slow.read(window))


def test_an_estimate_of_whole_cohorts_is_the_final_calibration() -> None:
    one = Board(PLAN, CHAINS[0], BoardOptions(windows=(30 * HOUR,), min_examples=1))
    feed(one, WORLDS[0])
    one.update(made(cut(WORLDS[0], [0])[0]), told(WORLDS[0])[-1] + 6 * HOUR)
    found = one.readings().outputs["cvr"]
    assert found.corrected["30h"].calibration == pytest.approx(found.views["30h"].calibration)

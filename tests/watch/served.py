"""Small worlds with served scores: what the tests of watch read."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pyarrow as pa

from stream_mtl.clock import HOUR, Millis
from stream_mtl.events.types import Arrivals, Events, Malformed
from stream_mtl.join.block import Header
from stream_mtl.join.joiner import Joiner
from stream_mtl.join.log import MemoryLog
from stream_mtl.join.spec import ChainSpec, KindSpec
from stream_mtl.join.transitions import Transitions
from stream_mtl.label.plan import Plan
from stream_mtl.watch.board import Board
from stream_mtl.watch.outcomes import Outcomes, outcomes
from tests.label.world import TASKS, Life, cut, glue, lives, planned, tell

PLAN = Plan(TASKS, joint=["cvr"])
OUTPUTS = ("ctr", "cvr", "order_value", "joint.cvr")
COUNTRIES = ("DE", "FR", "IT", "ES")


def scores(count: int, seed: int, snapshots: int = 5) -> dict[str, pa.Array]:
    """Draw what was served for exposures: sometimes nothing, sometimes without a snapshot."""
    rng = np.random.default_rng(seed)
    missing = rng.random(count) < 0.1
    versions = np.sort(rng.integers(0, snapshots, count))
    return {
        "scored.ctr": pa.array(rng.beta(2, 4, count), mask=missing),
        "scored.cvr": pa.array(rng.beta(4, 4, count), mask=missing),
        "scored.order_value": pa.array(rng.exponential(20, count), mask=missing),
        "scored.joint_cvr": pa.array(rng.beta(2, 8, count), mask=missing),
        "scored.snapshot": pa.array(versions, mask=rng.random(count) < 0.2),
        "scored.country": pa.array(rng.choice(COUNTRIES, count), mask=rng.random(count) < 0.1),
    }


def serve(transitions: Transitions, columns: Mapping[str, pa.Array]) -> Transitions:
    """Put served scores beside the keys; exposure i is row i of the columns."""
    numbers = [int(text[1:]) for text in transitions.keys.column("exposure_id").to_pylist()]
    keys = transitions.keys
    for name, column in columns.items():
        keys = keys.append_column(name, column.take(pa.array(numbers, pa.int64())))
    return replace(transitions, keys=keys)


def world(
    count: int, seed: int, snapshots: int = 5, chain: ChainSpec | None = None, **drawn: Any
) -> Transitions:
    """Draw exposures with what was served for them, and tell them all."""
    histories = lives(count, seed, **drawn)
    return serve(tell(chain or planned(PLAN), histories), scores(count, seed + 1, snapshots))


def looking(**waits: Sequence[Millis]) -> ChainSpec:
    """Return the chain of these tests with looks, by task."""
    chain = planned(PLAN)
    tasks = tuple(replace(task, waits=tuple(waits.get(task.name, ()))) for task in chain.tasks)
    return replace(chain, tasks=tasks)


def made(transitions: Transitions, slices: Sequence[str] = ()) -> Outcomes:
    """Return the outcomes under the plan of these tests."""
    return outcomes(PLAN, transitions, slices)


def told(transitions: Transitions) -> list[Millis]:
    """Return when each row was told."""
    times: list[Millis] = transitions.rows.column("told").to_pylist()
    return times


def feed(board: Board, transitions: Transitions, borders: Sequence[int] = ()) -> None:
    """Update a board by pieces, each of which ends where the next telling begins."""
    times = [*told(transitions), told(transitions)[-1] + 1]
    edges = [border for border in sorted(set(borders)) if 0 < border < len(transitions)]
    for piece, edge in zip(cut(transitions, edges), [*edges, len(transitions)], strict=True):
        board.update(made(piece, board.options.slices), times[edge])


def log_of(transitions: Transitions, every: int) -> MemoryLog:
    """Return a log with blocks of about so many rows; a joiner's blocks end between two instants."""
    log = MemoryLog()
    times = [*told(transitions), told(transitions)[-1] + 1]
    wanted = {
        next(row for row in range(edge, len(times)) if times[row] > times[row - 1])
        for edge in range(every, len(transitions), every)
    }
    edges = sorted(wanted - {len(transitions)})
    for number, (piece, edge) in enumerate(
        zip(cut(transitions, edges), [*edges, len(transitions)], strict=True)
    ):
        log.append(Header(0, 0, number, times[edge], 0, (), (), {}, "chain"), piece)
    return log


def joined(histories: Sequence[Life], chain: ChainSpec, scored: pa.RecordBatch) -> Transitions:
    """Join exposures with their scores for real; the scores come a second before each exposure."""
    before = KindSpec("scored", within=HOUR)
    ids = pa.array([f"e{i:06d}" for i in range(len(histories))])
    shown = np.array([life.shown for life in histories], np.int64)
    impressions = pa.RecordBatch.from_pydict({"exposure_id": ids})
    batches = {"impression": (impressions, shown), "scored": (scored, shown - 1_000)}
    schemas = {kind: batch.schema for kind, (batch, _) in batches.items()}
    schemas |= {
        "click": impressions.schema,
        "conversion": impressions.schema.append(pa.field("amount", "f8")),
    }
    joiner = Joiner(replace(chain, before=before), schemas, [(kind, 0) for kind in batches])
    nothing = Malformed(np.zeros(0, np.int64), [], [], [], [])
    for kind, (batch, times) in batches.items():
        events = Events(kind, np.arange(len(times)), times, batch)
        joiner.admit(Arrivals(kind, 0, 0, len(times), (events,), nothing))
    return glue(joiner.tell(10 * HOUR))

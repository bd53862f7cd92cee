"""Small worlds of impressions, clicks and conversions, joined for real: what the tests of label and learn read."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

import numpy as np
import pyarrow as pa

from stream_mtl.clock import HOUR, MINUTE, Millis
from stream_mtl.events.types import Arrivals, Events, Malformed
from stream_mtl.join.joiner import Joiner
from stream_mtl.join.spec import ChainSpec, KindSpec, TaskSpec
from stream_mtl.join.transitions import Transitions
from stream_mtl.label.plan import Plan

TASKS = (
    TaskSpec("ctr", "click"),
    TaskSpec("cvr", "conversion", given="ctr"),
    TaskSpec("order_value", "conversion", given="cvr", value="amount", how="sum"),
)

CHAIN = ChainSpec(
    key=("exposure_id",),
    kinds=(
        KindSpec("impression", id="exposure_id"),
        KindSpec("click", after=("impression",), within=30 * MINUTE),
        KindSpec("conversion", after=("click",), within=2 * HOUR),
    ),
    tasks=TASKS,
    remember=0,
)

_NO_MALFORMED = Malformed(np.zeros(0, np.int64), [], [], [], [])


@dataclass(frozen=True)
class Life:
    """One exposure: when it was shown, and how long after it the click, and after that the conversion, came."""

    shown: Millis
    click: Millis | None = None
    conversion: Millis | None = None
    amount: float | None = None
    invalid: Millis | None = None  # after the click
    refund: Millis | None = None  # after the conversion
    refunded: float | None = None


BACK = replace(
    CHAIN,
    kinds=(
        *CHAIN.kinds,
        KindSpec("invalid", after=("click",), within=HOUR, retracts=True),
        KindSpec("refund", after=("conversion",), within=3 * HOUR, retracts=True),
    ),
)
"""The chain in which clicks and conversions may be taken back."""


def taken_back(histories: Sequence["Life"], seed: int, clicks: float, conversions: float) -> list["Life"]:
    """Take back some clicks within 80 minutes and some conversions within 4 hours (some of both too late)."""
    rng = np.random.default_rng(seed)
    out = []
    for life in histories:
        invalid = int(rng.integers(1, 80 * MINUTE)) if rng.random() < clicks else None
        refund = int(rng.integers(1, 4 * HOUR)) if rng.random() < conversions else None
        amount = round(float(rng.exponential(5)), 2)
        out.append(replace(life, invalid=invalid, refund=refund, refunded=amount))
    return out


def lives(count: int, seed: int, p: float = 0.4, q: float = 0.5, every: Millis = MINUTE) -> list[Life]:
    """Draw exposures: clicks within 40 minutes (some too late), conversions within 3 hours (some too late)."""
    rng = np.random.default_rng(seed)
    out = []
    for i in range(count):
        click = int(rng.integers(0, 40 * MINUTE)) if rng.random() < p else None
        conversion = int(rng.integers(0, 3 * HOUR)) if click is not None and rng.random() < q else None
        out.append(Life(i * every, click, conversion, round(float(rng.exponential(20)), 2)))
    return out


def planned(plan: Plan, chain: ChainSpec = CHAIN) -> ChainSpec:
    """Return the chain with a plan's tasks, and the looks and the features that it asks for."""
    tasks = tuple(replace(task, waits=tuple(sorted(plan.waits[task.name]))) for task in plan.tasks)
    return replace(chain, tasks=tasks, features_on_final=plan.features_on_final)


def tell(
    chain: ChainSpec,
    histories: Sequence[Life],
    features: Mapping[str, pa.Array] | None = None,
    upto: Millis | None = None,
) -> Transitions:
    """Join whole histories and return everything told, as one batch. Exposure i is histories[i], by time shown."""
    ids = pa.array([f"e{i:06d}" for i in range(len(histories))])
    columns: dict[str, Any] = {"exposure_id": ids, **(features or {})}
    impressions = pa.RecordBatch.from_pydict(columns)
    clicks = [(i, life.shown + life.click) for i, life in enumerate(histories) if life.click is not None]
    bought = [
        (i, life.shown + life.click + life.conversion, life.amount)
        for i, life in enumerate(histories)
        if life.click is not None and life.conversion is not None
    ]
    batches = {
        "impression": (impressions, [life.shown for life in histories]),
        "click": (_records(ids, [i for i, _ in clicks]), [t for _, t in clicks]),
        "conversion": (
            _records(ids, [i for i, _, _ in bought], [a for _, _, a in bought]),
            [t for _, t, _ in bought],
        ),
    }
    if len(chain.kinds) > len(CHAIN.kinds):
        batches |= _back(ids, histories)
    schemas = {kind: batch.schema for kind, (batch, _) in batches.items()}
    sources = [(kind, 0) for kind in batches]
    joiner = Joiner(chain, schemas, sources)
    for kind, (batch, times) in batches.items():
        order = np.argsort(np.array(times, np.int64), kind="stable")
        events = Events(
            kind, np.arange(len(times)), np.array(times, np.int64)[order], batch.take(pa.array(order))
        )
        joiner.admit(Arrivals(kind, 0, 0, len(times), (events,), _NO_MALFORMED))
    return glue(
        joiner.tell(20 * HOUR + max((life.shown for life in histories), default=0) if upto is None else upto)
    )


def _back(ids: pa.Array, histories: Sequence[Life]) -> dict[str, tuple[pa.RecordBatch, list[Millis]]]:
    clicks = [(i, one, one.shown + one.click) for i, one in enumerate(histories) if one.click is not None]
    bought = [(i, one, t + one.conversion) for i, one, t in clicks if one.conversion is not None]
    invalid = [(i, t + one.invalid) for i, one, t in clicks if one.invalid is not None]
    refunds = [(i, t + one.refund, one.refunded) for i, one, t in bought if one.refund is not None]
    return {
        "invalid": (_records(ids, [i for i, _ in invalid]), [t for _, t in invalid]),
        "refund": (
            _records(ids, [i for i, _, _ in refunds], [a for _, _, a in refunds]),
            [t for _, t, _ in refunds],
        ),
    }


def _records(
    ids: pa.Array, rows: Sequence[int], amounts: Sequence[float | None] | None = None
) -> pa.RecordBatch:
    columns: dict[str, Any] = {"exposure_id": ids.take(pa.array(rows, pa.int64()))}
    if amounts is not None:
        columns["amount"] = pa.array(amounts, pa.float64())
    return pa.RecordBatch.from_pydict(columns)


def glue(batches: Sequence[Transitions]) -> Transitions:
    """Put batches of transitions together as one."""
    rows, keys, fields = [], [], []
    rich = sum(batch.fields.num_rows for batch in batches)
    poor_before, rich_before = rich, 0
    for batch in batches:
        place = batch.rows.column("row").to_numpy()
        has = place < batch.fields.num_rows
        moved = np.where(has, place + rich_before, place - batch.fields.num_rows + poor_before).astype(
            np.int32
        )
        i = batch.rows.schema.get_field_index("row")
        rows.append(batch.rows.set_column(i, "row", pa.array(moved)))
        keys.append((batch.keys.slice(0, batch.fields.num_rows), batch.keys.slice(batch.fields.num_rows)))
        fields.append(batch.fields)
        rich_before += batch.fields.num_rows
        poor_before += batch.keys.num_rows - batch.fields.num_rows
    key = pa.concat_tables([rich for rich, _ in keys] + [poor for _, poor in keys])
    table = pa.Table.from_batches(rows).combine_chunks()
    return Transitions(table.to_batches()[0], key, pa.concat_tables(fields))


def cut(transitions: Transitions, borders: Sequence[int]) -> list[Transitions]:
    """Cut one batch at these rows."""
    edges = [0, *sorted(borders), len(transitions)]
    return [
        Transitions(transitions.rows.slice(a, b - a), transitions.keys, transitions.fields)
        for a, b in pairwise(edges)
    ]

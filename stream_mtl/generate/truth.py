"""What must become of every record, worked out from what was done to it and from the rules of the chain.

`docs/decisions/0001-what-a-chain-means.md` has the rules. Nothing is searched for here: every click knows its
exposure and every order its click, and faults do not meet (`faults.py`), so each fate is a comparison.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from stream_mtl.clock import END, Millis
from stream_mtl.generate.faults import Fate, Records, arrivals, on_the_wire, once
from stream_mtl.generate.fields import (
    AFTER,
    IDS,
    PURPOSES,
    duration,
    kinds,
    named_parent,
    retracts,
    window_of,
)
from stream_mtl.generate.options import GeneratorOptions
from stream_mtl.generate.seeds import ids, random, scrambled
from stream_mtl.generate.stories import Steps, Stories

Ints = npt.NDArray[np.int64]
Bytes = npt.NDArray[np.int8]
Bools = npt.NDArray[np.bool_]

UNWRITTEN = -1
_PAST = {
    "click": "clicked",
    "conversion": "converted",
    "refund": "refunded",
    "invalid_click": "found_invalid",
}


@dataclass(frozen=True, slots=True)
class Written:
    """What is written of the stories: the records of each kind, and each exposure's own fates."""

    records: dict[str, Records]
    fates: dict[str, Bytes]  # (n,) by exposure, of its first record of the kind: Fate, or UNWRITTEN


@dataclass(frozen=True, slots=True)
class _Sent:
    """One kind of record as people send it, by exposure."""

    time: Ints  # (n,)
    present: Bools  # (n,) whether it is sent at all
    fate: Bytes  # (n,) Fate, if it is on time


def written(options: GeneratorOptions, stories: Stories) -> Written:
    """Return what arrives of the stories, and what must become of it."""
    key = scrambled(stories.exposures.key, options.seed, "partitions")
    partition = (key % np.uint64(options.partitions)).astype(np.int64)
    out = Written({}, {})
    surely = -1  # an event time that the log will surely reach
    for kind in kinds(options):
        rng = random(options.seed, f"faults of {kind}s")
        drawn = rng.random(len(stories))
        if kind == options.root:
            sent = _exposed(options, stories, drawn)
        else:
            sent = _followed(options, stories, kind, out.fates[AFTER[kind]])
        surely = max(surely, int(sent.time[sent.present & (sent.fate != Fate.ORPHAN)].max(initial=-1)))
        rows = _rows(sent, options, surely)
        late = stories.exposures.single & (drawn < options.late) & (sent.fate != Fate.ORPHAN)
        arrival, is_late = arrivals(sent.time[rows], partition[rows], late[rows], options, rng)
        fate = np.where(is_late, Fate.LATE, sent.fate[rows]).astype(np.int8)
        out.fates[kind] = np.full(len(stories), UNWRITTEN, np.int8)
        out.fates[kind][rows] = fate
        first = once(rows, sent.time[rows], arrival, partition[rows], fate)
        out.records[kind] = on_the_wire(first, options, rng)
    return out


def _rows(sent: _Sent, options: GeneratorOptions, surely: Millis) -> Ints:
    """Return the exposures of which a record is written, in order of its event time."""
    present = sent.present
    if options.skew:
        # An orphan so near the end of the log that its parent could still come would be waiting for it.
        present = present & ((sent.fate != Fate.ORPHAN) | (sent.time + options.skew <= surely))
    rows = np.flatnonzero(present)
    return rows[np.argsort(sent.time[rows], kind="stable")]


def truth_table(options: GeneratorOptions, stories: Stories, what: Written) -> pa.Table:
    """Return one row for each exposure, lost ones too, in order of time.

    `p_click` and `p_conversion` (given the click) are the chances that it ever happens, `p_*_in_time` that it
    does within its window (and before its key comes back). Times and values are null where nothing happened.
    `*_fate` is the account of the exposure's first record of each kind, null where none was written. `ctr`,
    `cvr` and `order_value` are what a faultless join tells in the end: null where it tells nothing.

    For each of the options' looks, of an order given the click, `late_15m` is P(it comes after 15 minutes | it
    comes in time), `dp_15m` P(it comes in time, and after 15 minutes), `rn_15m` P(it does not come in time | it has
    not by 15 minutes). `p_refund` is given the order, `p_invalid_click` given the click. Where clicks are the
    exposures, there is nothing about impressions, nor of the chances of a click.
    """
    exposures, written_ = stories.exposures, kinds(options)
    steps = {kind: stories.steps[kind] for kind in written_ if kind != options.root}
    columns = {
        IDS[options.root]: ids(np.arange(len(stories)), options.seed, PURPOSES[options.root]),
        "ts": exposures.time,
        "user_id": exposures.context.user,
        "item_id": exposures.context.item,
    }
    for kind, step in steps.items():
        columns |= {f"p_{kind}": step.p, f"p_{kind}_in_time": step.p_in_time}
    columns |= _late(options, stories)
    columns["expected_value"] = stories.expected_value
    columns |= {_PAST[kind]: step.happens for kind, step in steps.items()}
    for kind, step in steps.items():
        columns[f"{kind}_time"] = pa.array(step.time, mask=step.time == END)
    columns["value"] = pa.array(stories.value, mask=~stories.steps["conversion"].happens)
    if "refund" in steps:
        columns["given_back"] = pa.array(stories.given_back, mask=~steps["refund"].happens)
    columns |= {f"{_PAST[kind]}_in_time": step.in_time for kind, step in steps.items()}
    columns |= _labels(options, stories, what)
    return pa.table({**columns, **{f"{kind}_fate": _named(what.fates[kind]) for kind in written_}})


def _labels(options: GeneratorOptions, stories: Stories, what: Written) -> dict[str, pa.Array]:
    """Return what is told of each task in the end: where nothing was, or what was is taken back, a no."""
    joined = {kind: what.fates[kind] == Fate.JOINED for kind in kinds(options)}
    known, out = joined[options.root], {}
    if options.root != "click":
        clicked = joined["click"] & ~_taken_back(options, joined, "click")
        out["ctr"] = pa.array(clicked.astype(np.int8), mask=~known)
        known = known & clicked
    bought = known & joined["conversion"] & ~_taken_back(options, joined, "conversion")
    out["cvr"] = pa.array(bought.astype(np.int8), mask=~known)
    if retracts(options, "refund") and "refund" in joined:
        left = stories.value - np.where(joined["refund"], stories.given_back, 0.0)
        out["order_value"] = pa.array(left, mask=~(known & joined["conversion"]))
        return out
    out["order_value"] = pa.array(stories.value, mask=~bought)
    if "refund" in joined:
        out["refund"] = pa.array(joined["refund"].astype(np.int8), mask=~bought)
    return out


def _taken_back(options: GeneratorOptions, joined: Mapping[str, Bools], kind: str) -> Bools:
    """Return of which exposures the event of a kind was taken back."""
    backs = [joined[one] for one in joined if AFTER.get(one) == kind and retracts(options, one)]
    return np.asarray(np.logical_or.reduce([np.zeros(len(joined[kind]), np.bool_), *backs]))


def _late(options: GeneratorOptions, stories: Stories) -> dict[str, npt.NDArray[np.float64]]:
    """Return what there is to know of orders that come after each look."""
    orders, out = stories.steps["conversion"], {}
    p = orders.p_in_time
    for look, late in zip(options.looks, orders.p_late, strict=True):
        name = duration(look)
        out[f"late_{name}"] = np.divide(late, p, out=np.zeros(len(p)), where=p > 0)
        out[f"dp_{name}"] = late
        out[f"rn_{name}"] = (1 - p) / (1 - p + late)
    return out


def _exposed(options: GeneratorOptions, stories: Stories, drawn: npt.NDArray[np.float64]) -> _Sent:
    lost = stories.exposures.single & (drawn >= 1 - options.missing)
    return _Sent(stories.exposures.time, ~lost, np.full(len(stories), Fate.JOINED, np.int8))


def _followed(options: GeneratorOptions, stories: Stories, kind: str, parents: Bytes) -> _Sent:
    steps, present = stories.steps[kind], _reaches_the_log(options, stories.steps[kind])
    if AFTER[kind] != options.root:
        # Behind the end of the log there is neither the parent nor what a slow clock dates before it.
        present = present & (options.drain | (parents != UNWRITTEN))
    return _Sent(
        steps.recorded, present, _fate(parents == Fate.JOINED, steps, _findable(options, stories, kind))
    )


def _findable(options: GeneratorOptions, stories: Stories, kind: str) -> Bools:
    """Return which exposures a child of this kind still finds when it comes, in time or not."""
    steps = stories.steps
    if named_parent(options, kind):
        behind = steps[kind].recorded - steps[AFTER[kind]].recorded
        return behind <= window_of(options, kind) + options.remember
    # By its key, as long as anything may still follow. Before a click, that is the click alone.
    known = stories.exposures.time + (options.click_within if options.root != "click" else 0)
    if kind != "click":
        followers = [one for one in kinds(options) if AFTER.get(one) == "click"]
        known = np.maximum(known, steps["click"].time + max(window_of(options, one) for one in followers))
    return np.asarray(steps[kind].time <= known + options.remember)


def _fate(parent_joined: Bools, steps: Steps, findable: Bools) -> Bytes:
    """Return what becomes of a child: beyond its window it is outside, or when all is forgotten orphan."""
    beyond = np.where(findable, Fate.OUTSIDE, Fate.ORPHAN)
    return np.where(parent_joined, np.where(steps.in_time, Fate.JOINED, beyond), Fate.ORPHAN).astype(np.int8)


def _reaches_the_log(options: GeneratorOptions, steps: Steps) -> Bools:
    return np.asarray(steps.happens & (options.drain | (steps.recorded < options.end)))


def _named(fates: Bytes) -> pa.Array:
    names = pa.array([fate.name.lower() for fate in Fate])
    return names.take(pa.array(fates, mask=fates == UNWRITTEN))

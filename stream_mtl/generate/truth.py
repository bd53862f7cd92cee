"""What must become of every record, worked out from what was done to it and from the rules of the chain.

`docs/decisions/0001-what-a-chain-means.md` has the rules. Nothing is searched for here: every click knows its
exposure and every order its click, and faults do not meet (`faults.py`), so each fate is a comparison.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from stream_mtl.clock import END, Millis
from stream_mtl.generate.faults import Fate, Records, arrivals, on_the_wire, once
from stream_mtl.generate.options import GeneratorOptions
from stream_mtl.generate.seeds import ids, random, scrambled
from stream_mtl.generate.stories import Steps, Stories

Ints = npt.NDArray[np.int64]
Bytes = npt.NDArray[np.int8]
Bools = npt.NDArray[np.bool_]

UNWRITTEN = -1


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
    for kind, send in _KINDS.items():
        rng = random(options.seed, f"faults of {kind}s")
        drawn = rng.random(len(stories))
        sent = send(options, stories, out.fates, drawn)
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
    """
    exposures, clicks, conversions = stories.exposures, stories.clicks, stories.conversions
    shown, clicked, bought = (what.fates[kind] == Fate.JOINED for kind in _KINDS)
    columns = {
        "exposure_id": ids(np.arange(len(stories)), options.seed, "exposures"),
        "ts": exposures.time,
        "user_id": exposures.context.user,
        "item_id": exposures.context.item,
        "p_click": clicks.p,
        "p_click_in_time": clicks.p_in_time,
        "p_conversion": conversions.p,
        "p_conversion_in_time": conversions.p_in_time,
        "expected_value": stories.expected_value,
        "clicked": clicks.happens,
        "converted": conversions.happens,
        "click_time": pa.array(clicks.time, mask=clicks.time == END),
        "conversion_time": pa.array(conversions.time, mask=conversions.time == END),
        "value": pa.array(stories.value, mask=~conversions.happens),
        "clicked_in_time": clicks.in_time,
        "converted_in_time": conversions.in_time,
        "ctr": pa.array(clicked.astype(np.int8), mask=~shown),
        "cvr": pa.array(bought.astype(np.int8), mask=~(shown & clicked)),
        "order_value": pa.array(stories.value, mask=~bought),
    }
    fates = {f"{kind}_fate": _named(what.fates[kind]) for kind in _KINDS}
    return pa.table({**columns, **fates})


def _impressions(
    options: GeneratorOptions, stories: Stories, fates: Mapping[str, Bytes], drawn: npt.NDArray[np.float64]
) -> _Sent:
    lost = stories.exposures.single & (drawn >= 1 - options.missing)
    return _Sent(stories.exposures.time, ~lost, np.full(len(stories), Fate.JOINED, np.int8))


def _clicks(
    options: GeneratorOptions, stories: Stories, fates: Mapping[str, Bytes], drawn: npt.NDArray[np.float64]
) -> _Sent:
    clicks = stories.clicks
    # Nothing but the click's own window keeps an exposure known until it is clicked.
    known = stories.exposures.time + options.click_within + options.remember
    fate = _fate(fates["impression"] == Fate.JOINED, clicks, clicks.time <= known)
    return _Sent(clicks.recorded, _reaches_the_log(options, clicks), fate)


def _conversions(
    options: GeneratorOptions, stories: Stories, fates: Mapping[str, Bytes], drawn: npt.NDArray[np.float64]
) -> _Sent:
    clicks, conversions = stories.clicks, stories.conversions
    known = clicks.time + options.conversion_within
    if options.conversion_names_click:
        findable = conversions.recorded - clicks.recorded <= options.conversion_within + options.remember
    else:
        known = np.maximum(stories.exposures.time + options.click_within, known) + options.remember
        findable = conversions.time <= known
    fate = _fate(fates["click"] == Fate.JOINED, conversions, findable)
    present = _reaches_the_log(options, conversions)
    return _Sent(conversions.recorded, present & (options.drain | (fates["click"] != UNWRITTEN)), fate)


_KINDS: Mapping[
    str, Callable[[GeneratorOptions, Stories, Mapping[str, Bytes], npt.NDArray[np.float64]], _Sent]
] = {"impression": _impressions, "click": _clicks, "conversion": _conversions}


def _fate(parent_joined: Bools, steps: Steps, findable: Bools) -> Bytes:
    """Return what becomes of a child: beyond its window it is outside, or when all is forgotten orphan."""
    beyond = np.where(findable, Fate.OUTSIDE, Fate.ORPHAN)
    return np.where(parent_joined, np.where(steps.in_time, Fate.JOINED, beyond), Fate.ORPHAN).astype(np.int8)


def _reaches_the_log(options: GeneratorOptions, steps: Steps) -> Bools:
    return np.asarray(steps.happens & (options.drain | (steps.recorded < options.end)))


def _named(fates: Bytes) -> pa.Array:
    names = pa.array([fate.name.lower() for fate in Fate])
    return names.take(pa.array(fates, mask=fates == UNWRITTEN))

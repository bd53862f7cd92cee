"""When two records are the same event, within one slice of time and against what is remembered."""

import numpy as np
import numpy.typing as npt

from stream_mtl.clock import Millis
from stream_mtl.hashing import Hashes, mix
from stream_mtl.join.hold import Facts
from stream_mtl.join.keys import Claims, equal_rows
from stream_mtl.join.rows import Pile, Ring
from stream_mtl.join.search import Ints, ranks, runs

Bools = npt.NDArray[np.bool_]

STANDS = -1


def repeats(claims: Claims, time: Ints, prior_time: Ints, memory: Millis) -> Ints:
    """Say of each record what it repeats. Records are in order of facts.

    Returns (n,): STANDS, or the index of the record of this slice that it repeats, or -2 - row for a remembered
    row. A record repeats the latest standing one of its id, if that is at most `memory` older.
    """
    order, prior = claims.order, claims.prior
    out = np.full(len(order), STANDS)
    begins = runs(claims.hashes[order])
    single = begins.copy()
    single[:-1] &= begins[1:]
    crowd = np.flatnonzero(~single | (prior[order] >= 0))
    if len(crowd) == 0:
        return out
    order, begins = order[crowd], begins[crowd]
    group = np.cumsum(begins) - 1
    head = order[begins]
    standing = np.where(prior[head] >= 0, -2 - prior[head], STANDS)
    standing_time = np.where(prior[head] >= 0, prior_time[head], 0)
    rank = ranks(begins)
    by_rank = np.argsort(rank, kind="stable")
    for places in np.split(by_rank, np.cumsum(np.bincount(rank))[:-1]):
        rows, of = order[places], group[places]
        again = (standing[of] != STANDS) & (time[rows] - standing_time[of] <= memory)
        out[rows[again]] = standing[of[again]]
        standing[of[~again]] = rows[~again]
        standing_time[of[~again]] = time[rows[~again]]
    return out


def exact_copies(hashes: Hashes, facts: Facts) -> Bools:
    """Return which records equal an earlier one of the slice in time and all fields (kinds without an id). (n,)"""
    copies = np.zeros(len(hashes), np.bool_)
    together = mix(hashes ^ mix(facts.time.view(np.uint64)))
    order = np.argsort(together, kind="stable")
    begins = runs(together[order])
    if bool(begins.all()):
        return copies
    ends = np.append(begins[1:], True)
    crowd = np.sort(order[~(begins & ends)])
    seen: set[str] = set()
    some = facts.take(crowd)
    for place, time, values in zip(crowd, some.time, some.fields.to_pylist(), strict=True):
        text = repr((int(time), values))
        copies[place] = text in seen
        seen.add(text)
    return copies


def conflicts(facts: Facts, repeat_of: Ints, pile: Pile) -> Bools:
    """Return which records repeat another with other fields than its own. (n,)"""
    out = np.zeros(len(repeat_of), np.bool_)
    here = np.flatnonzero(repeat_of >= 0)
    if len(here):
        out[here] = ~equal_rows(facts.take(here).fields.columns, facts.take(repeat_of[here]).fields.columns)
    before = np.flatnonzero(repeat_of < STANDS)
    if len(before):
        theirs = pile.take(-2 - repeat_of[before], facts.source.schema.names)
        out[before] = ~equal_rows(facts.take(before).fields.columns, theirs.columns)
    return out


def judge(claims: Claims, ring: Ring, pile: Pile, facts: Facts, memory: Millis) -> tuple[Bools, Bools]:
    """Return (stands, conflicts) of records that have an id; `claims` are of the ids."""
    prior_time = np.zeros(len(facts), np.int64)
    known = np.flatnonzero(claims.prior >= 0)
    prior_time[known] = ring.get("time", claims.prior[known])
    repeat_of = repeats(claims, facts.time, prior_time, memory)
    return repeat_of == STANDS, conflicts(facts, repeat_of, pile)

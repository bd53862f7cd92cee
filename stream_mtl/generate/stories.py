"""What truly happens after each exposure, before anybody writes it down.

Where a key comes back, the chain rules give a child to the latest exposure of its key. So that the truth
needs no join, a user who sees the same thing again decides anew: what had not happened by then never does,
and `p_in_time` knows it. Nor does anything of such a key fall outside its windows.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from stream_mtl.clock import END
from stream_mtl.generate.fields import AFTER, KINDS, kinds, window_of
from stream_mtl.generate.market import Market
from stream_mtl.generate.options import EXPOSURE_KEY, GeneratorOptions
from stream_mtl.generate.people import Context
from stream_mtl.generate.rhythm import traffic
from stream_mtl.generate.seeds import random

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Exposures:
    """Everything that is shown, in order of time."""

    time: Ints  # (n,)
    context: Context
    key: Ints  # (n,) equal where the chain key is
    next: Ints  # (n,) when the key comes back, END if never
    single: Bools  # (n,) the only exposure of its key

    def __len__(self) -> int:
        return len(self.time)


@dataclass(frozen=True, slots=True)
class Steps:
    """One thing that may happen after each exposure: its click, its order, what takes one of them back."""

    p: Floats  # (n,) P(it ever happens | what it comes after did)
    p_in_time: Floats  # (n,) P(it happens within its window, and before the key comes back | the same)
    happens: Bools  # (n,)
    time: Ints  # (n,) when it counts: never before what it comes after; END where it does not happen
    recorded: Ints  # (n,) the event time that is written: a clock may be behind
    in_time: Bools  # (n,) it happens within its window
    p_late: tuple[Floats, ...] = ()  # (n,) P(it happens in time, and after the look), for each look there is


@dataclass(frozen=True, slots=True)
class Stories:
    """The exposures, and what came of them. Where clicks are the exposures, each is its own click at once."""

    exposures: Exposures
    steps: dict[str, Steps]  # by kind, all but impressions
    expected_value: Floats  # (n,)
    value: Floats  # (n,) of the order, if there is one
    given_back: Floats  # (n,) of it, if there is a refund

    def __len__(self) -> int:
        return len(self.exposures)


def live(options: GeneratorOptions, market: Market) -> Stories:
    """Return what happens in a market."""
    exposures = _exposures(options, market)
    steps = {"click": _clicks(options, market, exposures)}
    steps["conversion"] = _conversions(options, market, exposures, steps["click"])
    for kind in kinds(options):
        if kind not in (*KINDS, options.root):
            steps[kind] = _taken_back(options, market, exposures, kind, steps[AFTER[kind]])
    value = market.value(exposures.context, random(options.seed, "values"))
    given_back = market.given_back(value, random(options.seed, "given back"))
    return Stories(exposures, steps, market.expected_value(exposures.context), value, given_back)


def _exposures(options: GeneratorOptions, market: Market) -> Exposures:
    n, slate = options.impressions, options.slate
    rng = random(options.seed, "contexts")
    times = random(options.seed, "times")
    when = traffic(
        -(-n // slate), options.start, options.duration, options.daily_amplitude, options.peak_hour, times
    )
    users, items = market.sample_pairs(len(when), slate, when, rng)
    _come_back(options, users, items, random(options.seed, "returning"))
    shown = market.context(users, items, rng).take(slice(0, n))
    time = np.repeat(when, slate)[:n]
    if options.key == EXPOSURE_KEY:  # or the click's own id
        return Exposures(time, shown, np.arange(n), np.full(n, END), np.ones(n, np.bool_))
    key = shown.user * options.items + shown.item
    following, single = _next_of_key(key, time)
    return Exposures(time, shown, key, following, single)


def _come_back(options: GeneratorOptions, users: Ints, items: Ints, rng: np.random.Generator) -> None:
    """Let some requests show once more what an earlier one did, most of them a recent one."""
    requests = np.arange(len(users))
    again = rng.random(len(users)) < options.returning
    back = 1 + (rng.standard_exponential(len(users)) * len(users) / 20).astype(np.int64)
    source = np.maximum(requests - back, 0)
    rows = np.flatnonzero(again & ~again[source] & (source < requests))
    users[rows], items[rows] = users[source[rows]], items[source[rows]]


def _next_of_key(key: Ints, time: Ints) -> tuple[Ints, Bools]:
    """Return when each exposure's key comes back (END: never), and which exposures are alone with theirs."""
    order = np.argsort(key, kind="stable")
    same = key[order[1:]] == key[order[:-1]]
    ordered = time[order]
    following = np.append(np.where(same, ordered[1:], END), END)
    # Which of two exposures of one instant is the later depends on how they arrive: neither gets a child.
    tied = np.append(False, same & (ordered[1:] == ordered[:-1]))
    following = np.where(tied, ordered, following)
    alone = ~np.append(False, same) & ~np.append(same, False)
    out, single = np.empty(len(key), np.int64), np.empty(len(key), np.bool_)
    out[order], single[order] = following, alone
    return out, single


@dataclass(frozen=True, slots=True)
class _Drawn:
    """What was drawn for one step, before the key's return and the clocks have their say."""

    p: Floats  # (n,)
    reached: Floats  # (n,) P(the delay is within the window)
    wanted: Bools  # (n,)
    patient: Bools  # (n,) it happens beyond its window too: not where the key comes back
    after: Ints  # (n,) the time of what it comes after
    delay: Ints  # (n,) ms
    window: Ints  # (n,) ms, below zero where nothing can be in time
    late: tuple[Floats, ...] = ()  # (n,) P(the delay is within the window and beyond the look), by look


def _clicks(options: GeneratorOptions, market: Market, exposures: Exposures) -> Steps:
    context, time, rng = exposures.context, exposures.time, random(options.seed, "clicks")
    if options.root == "click":
        surely, always = np.ones(len(time)), np.ones(len(time), np.bool_)
        return Steps(surely, surely, always, time, time, always)
    p = market.click_probability(context, time)
    wanted = rng.random(len(p)) < p
    delay = market.click_delay(context, time, rng)
    window = np.minimum(options.click_within, exposures.next - 1 - time)
    reached = market.click_reached(context, time, window)
    return _steps(options, exposures, _Drawn(p, reached, wanted, exposures.single, time, delay, window), rng)


def _conversions(options: GeneratorOptions, market: Market, exposures: Exposures, clicks: Steps) -> Steps:
    context, time, rng = exposures.context, exposures.time, random(options.seed, "conversions")
    p = market.conversion_probability(context, time)
    wanted = (rng.random(len(p)) < p) & clicks.happens
    delay = market.conversion_delay(context, time, rng)
    clicked = np.where(clicks.happens, clicks.time, time)
    window = np.minimum(options.conversion_within, exposures.next - 1 - clicked)
    reached = market.conversion_reached(context, time, window)
    looks = (np.minimum(look, window) for look in options.looks)
    late = tuple(reached - market.conversion_reached(context, time, look) for look in looks)
    drawn = _Drawn(p, reached, wanted, exposures.single, clicked, delay, window, late)
    return _steps(options, exposures, drawn, rng)


def _taken_back(
    options: GeneratorOptions, market: Market, exposures: Exposures, kind: str, before: Steps
) -> Steps:
    """Return what follows by name: nothing of it is lost to a later exposure of the same key."""
    context, time, rng = exposures.context, exposures.time, random(options.seed, f"{kind}s")
    p = market.probability(kind, context, time)
    wanted = (rng.random(len(p)) < p) & before.happens
    delay = market.delay(kind, context, time, rng)
    after = np.where(before.happens, before.time, time)
    window = np.full(len(p), window_of(options, kind))
    reached = market.reached(kind, context, time, window)
    patient = np.ones(len(p), np.bool_)
    return _steps(options, exposures, _Drawn(p, reached, wanted, patient, after, delay, window), rng)


def _steps(options: GeneratorOptions, exposures: Exposures, drawn: _Drawn, rng: np.random.Generator) -> Steps:
    """Return what happens of what is wanted."""
    n, in_time = len(drawn.p), drawn.delay <= drawn.window
    # Whose clock is behind acts at once: then it is the clock alone that decides what the delay seems to be.
    behind = exposures.single & in_time & (rng.random(n) < options.skewed)
    happens = drawn.wanted & (drawn.patient | in_time)
    time = np.where(happens, drawn.after + np.where(behind, 0, drawn.delay), END)
    offset = np.where(behind, rng.integers(1, max(options.skew, 1) + 1, n), 0)
    at_once = np.where(exposures.single, options.skewed, 0.0)
    late = tuple(drawn.p * one * (1 - at_once) for one in drawn.late)
    return Steps(drawn.p, drawn.p * drawn.reached, happens, time, time - offset, happens & in_time, late)

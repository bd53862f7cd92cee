"""The marketplace itself: who is shown what, and how likely he is, in truth, to click and to buy."""

from collections.abc import Mapping
from math import tau

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from stream_mtl.clock import Millis
from stream_mtl.generate.delays import Delays, Law
from stream_mtl.generate.fields import AFTER, kinds
from stream_mtl.generate.options import GeneratorOptions
from stream_mtl.generate.people import (
    COUNTRIES,
    DEVICES,
    PLACEMENTS,
    Catalogue,
    Context,
    age_days,
    catalogue,
    constant_time,
    context,
    draw_pairs,
    hour,
)
from stream_mtl.generate.responses import Response, calibrated, probability, responses, see, taken_back
from stream_mtl.generate.rhythm import Moved, sudden_factor, traffic
from stream_mtl.generate.seeds import random

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]

_SAMPLE = 60_000  # contexts over which the base rates are made to hold
_CHUNK = 1 << 16  # rows weighed at a time: what is between stays in the processor's cache


class Market:
    """A market of one seed. It keeps no state: randomness and time come in with every question.

    What `generate` writes and what a simulated population does live come from the same truth:

        rng = numpy.random.default_rng(1)
        shown = market.sample_requests(1, 10, now, rng)        # ten candidates for one user
        ...                                                    # a scorer ranks them: `rank` (10,)
        shown = replace(shown.take(rank), position=np.arange(10))
        clicked = rng.random(10) < market.click_probability(shown, now)
        delay = market.click_delay(shown, now, rng)            # ms
    """

    def __init__(self, options: GeneratorOptions) -> None:
        self.options = options
        self.people: Catalogue = catalogue(options)
        rng = random(options.seed, "responses")
        click, conversion = responses(options, self.people, rng)
        made = {"click": click, "conversion": conversion}
        self._delays = {
            "click": _delays(options, options.click_delays, rng),
            "conversion": _delays(options, options.conversion_delays, rng),
        }
        for kind, laws in (("refund", options.refund_delays), ("invalid_click", options.invalid_delays)):
            if kind in kinds(options):
                rng = random(options.seed, f"responses of {kind}s")
                made[kind] = taken_back(options, self.people, kind, rng)
                self._delays[kind] = _delays(options, laws, rng)
        self._hot = self._hot_requests(options.slate)
        self._responses = self._calibrate(made)

    def sample_context(self, n: int, time: Millis | Ints, rng: np.random.Generator) -> Context:
        """Return n requests of one candidate each, at one time or at n times."""
        return self.sample_requests(n, 1, time, rng)

    def sample_requests(
        self, requests: int, slate: int, time: Millis | Ints, rng: np.random.Generator
    ) -> Context:
        """Return requests with `slate` candidates each: rows by request and position."""
        return self.context(*self.sample_pairs(requests, slate, time, rng), rng)

    def sample_pairs(
        self, requests: int, slate: int, time: Millis | Ints, rng: np.random.Generator
    ) -> tuple[Ints, Ints]:
        """Return users (requests,) and the items that each is shown (requests, slate)."""
        when = constant_time(requests, time)
        users, items = draw_pairs(self.people, requests, slate, when, rng)
        hot_users, hot_items = self._hot
        if self.options.hot_share > 0 and slate == hot_items.shape[1]:
            hot = np.flatnonzero(rng.random(requests) < self.options.hot_share)
            which = rng.integers(0, len(hot_users), len(hot))
            users[hot], items[hot] = hot_users[which], hot_items[which]
        return users, items

    def context(self, users: Ints, items: Ints, rng: np.random.Generator) -> Context:
        """Return the rows in which users (requests,) are shown items (requests, slate)."""
        return context(self.people, self.options, users, items, rng)

    def probability(self, kind: str, context: Context, time: Millis | Ints) -> Floats:
        """Return (n,) P(a kind ever follows | what it follows is there); `time` is that of the exposure."""
        when = constant_time(len(context), time)
        out = np.empty(len(context))
        for begin in range(0, len(context), _CHUNK):
            rows = slice(begin, begin + _CHUNK)
            out[rows] = probability(self._logit(kind, context.take(rows), when[rows]))
        return out

    def delay(self, kind: str, context: Context, time: Millis | Ints, rng: np.random.Generator) -> Ints:
        """Return (n,) ms from what a kind follows to itself, if it comes; `time` is that of the exposure."""
        return self._delays[kind].draw(self._category(context), self._stretch(kind, context, time), rng)

    def reached(self, kind: str, context: Context, time: Millis | Ints, delay: Ints) -> Floats:
        """Return (n,) P(a kind comes within `delay` of what it follows | it comes); `delay` (n,) ms."""
        return self._delays[kind].reached(self._category(context), self._stretch(kind, context, time), delay)

    def click_probability(self, context: Context, time: Millis | Ints) -> Floats:
        """Return (n,) P(it is ever clicked)."""
        return self.probability("click", context, time)

    def conversion_probability(self, context: Context, time: Millis | Ints) -> Floats:
        """Return (n,) P(it ever leads to an order | it was clicked); `time` is that of the exposure."""
        return self.probability("conversion", context, time)

    def click_delay(self, context: Context, time: Millis | Ints, rng: np.random.Generator) -> Ints:
        """Return (n,) ms from the exposure to the click, if there is one."""
        return self.delay("click", context, time, rng)

    def conversion_delay(self, context: Context, time: Millis | Ints, rng: np.random.Generator) -> Ints:
        """Return (n,) ms from the click to the order, if there is one; `time` is that of the exposure."""
        return self.delay("conversion", context, time, rng)

    def click_reached(self, context: Context, time: Millis | Ints, delay: Ints) -> Floats:
        """Return (n,) P(the click comes within `delay` | it comes); `delay` (n,) ms."""
        return self.reached("click", context, time, delay)

    def conversion_reached(self, context: Context, time: Millis | Ints, delay: Ints) -> Floats:
        """Return (n,) P(the order comes within `delay` of the click | it comes); `delay` (n,) ms."""
        return self.reached("conversion", context, time, delay)

    def expected_value(self, context: Context) -> Floats:
        """Return (n,) the mean amount of an order."""
        return np.asarray(self.people.item_price[context.item] ** self.options.value_elasticity)

    def value(self, context: Context, rng: np.random.Generator) -> Floats:
        """Return (n,) the amounts of orders: log-normal about their means, in hundredths."""
        sigma = self.options.value_sigma
        noise = np.exp(rng.normal(-(sigma**2) / 2, sigma, len(context)))
        return np.round(self.expected_value(context) * noise, 2)

    def given_back(self, value: Floats, rng: np.random.Generator) -> Floats:
        """Return (n,) what is given back of orders of such amounts (n,), in hundredths: all, or any part of it."""
        part = rng.random(len(value)) < self.options.refund_partial
        return np.where(part, np.round(value * rng.random(len(value)), 2), value)

    def features(self, context: Context, time: Millis | Ints) -> dict[str, pa.Array]:
        """Return the columns that an impression carries, by name, in their order."""
        when = constant_time(len(context), time)
        people, name = self.people, self._name
        columns = {
            "user_id": pa.array(context.user),
            "item_id": pa.array(context.item),
            "category": name(people.item_category[context.item], "category"),
            "brand": name(people.item_brand[context.item], "brand"),
            "device": name(context.device, "device"),
            "country": name(people.user_country[context.user], "country"),
            "placement": name(context.placement, "placement"),
            "hour": pa.array(hour(when)),
            "price": pa.array(people.item_price[context.item]),
            "activity": pa.array(people.user_activity[context.user]),
            "age_days": pa.array(age_days(people, context.item, when)),
            "relevance": pa.array(context.relevance),
        }
        if self.options.slate > 1:
            columns["position"] = pa.array(context.position)
        if self.options.history > 0:
            columns["recent_categories"] = self._history(context.history)
        return columns

    def _logit(self, kind: str, context: Context, time: Ints) -> Floats:
        elapsed, seen = time - self.options.start, see(self.people, self.options, context, time)
        logit = self._responses[kind].logit(self.people, seen, elapsed)
        if kind == "click":
            logit = logit + self._by_position(context)
        if kind in _SUDDEN:
            logit = logit + np.log(sudden_factor(self.options.sudden, _SUDDEN[kind][0], elapsed))
        return logit

    def _by_position(self, context: Context) -> Floats:
        return -self.options.position_effect * np.log1p(context.position)

    def _stretch(self, kind: str, context: Context, time: Millis | Ints) -> Floats:
        options, elapsed = self.options, constant_time(len(context), time) - self.options.start
        swing = np.sin(options.drift_speed * tau * elapsed / options.delay_drift_period)
        stretch = np.exp(options.delay_drift_amplitude * swing)
        if kind not in _SUDDEN:
            return np.asarray(stretch)
        return np.asarray(stretch * sudden_factor(options.sudden, _SUDDEN[kind][1], elapsed))

    def _category(self, context: Context) -> Ints:
        return self.people.item_category[context.item]

    def _hot_requests(self, slate: int) -> tuple[Ints, Ints]:
        count = self.options.hot_keys
        start = constant_time(count, self.options.start)
        return draw_pairs(self.people, count, slate, start, random(self.options.seed, "hot"))

    def _calibrate(self, made: Mapping[str, Response]) -> dict[str, Response]:
        """Set spread and intercept so that the base rates hold over the whole stream, slow drift included."""
        options = self.options
        rng = random(options.seed, "calibration")
        requests = -(-_SAMPLE // options.slate)
        time = traffic(
            requests, options.start, options.duration, options.daily_amplitude, options.peak_hour, rng
        )
        sample = self.context(*self.sample_pairs(requests, options.slate, time, rng), rng)
        when = np.repeat(time, options.slate)
        seen, elapsed = see(self.people, options, sample, when), when - options.start
        alike, out = np.ones(len(sample)), dict[str, Response]()
        there = {"impression": alike, "click": alike}  # (n,) how often each is there; clicks may be the root
        for kind, (rate, strength) in _rates(options).items():
            if kind not in made:
                continue
            raw, shift = made[kind].raw(self.people, seen, elapsed), np.zeros(len(sample))
            if kind == "click":
                shift = self._by_position(sample)
            response = calibrated(made[kind], raw, there[AFTER[kind]], shift, rate, strength)
            if kind != options.root:
                chance = probability(response.intercept + response.scale * raw + shift)
                there[kind] = there[AFTER[kind]] * chance
            out[kind] = response
        return out

    def _name(self, values: Ints, what: str) -> pa.Array:
        if not self.options.texts:
            return pa.array(values)
        known = _KNOWN.get(what)
        names = known or tuple(f"{what}-{value}" for value in range(int(values.max(initial=-1)) + 1))
        return pa.array(names, pa.string()).take(pa.array(values))

    def _history(self, history: Ints) -> pa.Array:
        seen = history >= 0
        ends = np.append(0, np.cumsum(seen.sum(axis=1))).astype(np.int32)
        return pa.ListArray.from_arrays(pa.array(ends), self._name(history[seen], "category"))


_KNOWN: Mapping[str, tuple[str, ...]] = {"device": DEVICES, "placement": PLACEMENTS, "country": COUNTRIES}


# Which factors of a sudden change hold for the odds of a kind, and for its delays.
_SUDDEN: Mapping[str, tuple[Moved, Moved]] = {
    "click": ("clicks", "click_delays"),
    "conversion": ("conversions", "conversion_delays"),
}


def _rates(options: GeneratorOptions) -> dict[str, tuple[float, float]]:
    """Return, per kind, its base rate and the spread of its logit, each kind behind what it follows."""
    return {
        "click": (options.ctr, options.click_strength),
        "conversion": (options.cvr, options.conversion_strength),
        "refund": (options.refund_rate, options.refund_strength),
        "invalid_click": (options.invalid_rate, options.invalid_strength),
    }


def _delays(options: GeneratorOptions, laws: tuple[Law, ...], rng: np.random.Generator) -> Delays:
    return Delays(laws, np.exp(rng.normal(0, options.delay_spread, options.categories)))

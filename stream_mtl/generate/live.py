"""A population that lives: asks for a ranking, sees it, clicks and buys late. It knows what is true of everybody."""

import heapq
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from stream_mtl.clock import Millis
from stream_mtl.errors import ConfigError
from stream_mtl.generate.fields import KINDS, kinds
from stream_mtl.generate.market import Market
from stream_mtl.generate.people import Context

Record: TypeAlias = dict[str, Any]
Ask: TypeAlias = Callable[[str, Millis, Sequence[Record]], Sequence[int] | None]
"""(request id, event time, candidates) -> the places of those to be shown, the best first; None: nobody answers."""


@dataclass(slots=True)
class Truth:
    """What is true of what was shown, ranked and unranked apart. Probabilities are those within the windows."""

    shown: int = 0
    clicks: int = 0
    expected: float = 0.0  # sum of the true probabilities
    entropy: float = 0.0  # sum of their entropies: the least log loss that anybody could expect

    def add(self, p: npt.NDArray[np.float64], clicked: npt.NDArray[np.bool_]) -> None:
        """Take what was shown. (n,) each"""
        self.shown += len(p)
        self.clicks += int(clicked.sum())
        self.expected += float(p.sum())
        self.entropy += float(-(p * np.log(p) + (1 - p) * np.log1p(-p)).sum())


@dataclass(order=True, slots=True)
class _Coming:
    time: Millis
    number: int
    kind: str = field(compare=False)
    record: Record = field(compare=False)


class Population:
    """Requests, what is shown, and what follows. Everything happens in event time, which comes in as an argument."""

    def __init__(self, market: Market, shown: int, unranked: float, seed: int, name: str = "r") -> None:
        """`shown` candidates of a slate are seen; the share `unranked` of the visitors sees them in any order.

        Requests, and all ids that come of them, begin with `name`. Raises ConfigError where clicks are the root.
        """
        if market.options.root != KINDS[0]:
            raise ConfigError('root: people live where impressions are shown; write root = "impression"')
        self.market = market
        self.ranked, self.unranked = Truth(), Truth()
        self.unanswered = 0  # requests that nobody ranked
        self._shown, self._share, self._name = shown, unranked, name
        self._rng = np.random.default_rng(seed)
        self._coming: list[_Coming] = []
        self._count = self._events = 0

    def visit(self, requests: int, begin: Millis, end: Millis, ask: Ask) -> None:
        """Let so many people come between two times, and what they do be foreseen."""
        slate = self.market.options.slate
        for time in np.sort(self._rng.integers(begin, max(end, begin + 1), requests)).tolist():
            context = self.market.sample_requests(1, slate, time, self._rng)
            self._request(context, time, ask)

    def until(self, time: Millis) -> Iterator[tuple[str, Record]]:
        """Give what happens before a time, in its order, as (kind, record)."""
        while self._coming and self._coming[0].time < time:
            coming = heapq.heappop(self._coming)
            yield coming.kind, coming.record

    def _request(self, context: Context, time: Millis, ask: Ask) -> None:
        self._count += 1
        request = f"{self._name}{self._count:08d}"
        candidates = _records(self.market, context, time)
        for place, record in enumerate(candidates):
            record["exposure_id"] = f"{request}-{place}"
            record["request_id"] = request
        rank = None
        if self._rng.random() >= self._share:
            rank = ask(request, time, candidates)
            self.unanswered += rank is None
        order = self._rng.permutation(len(context)) if rank is None else np.array(rank, np.int64)
        order = order[: self._shown]
        shown = replace(context.take(order), position=np.arange(len(order)))
        self._see(shown, [candidates[place] for place in order.tolist()], time, ranked=rank is not None)

    def _see(self, shown: Context, candidates: Sequence[Record], time: Millis, ranked: bool) -> None:
        options, market, rng = self.market.options, self.market, self._rng
        p = market.click_probability(shown, time)
        delay = market.click_delay(shown, time, rng)
        wants = rng.random(len(shown)) < p
        window = np.full(len(shown), options.click_within)
        in_time = wants & (delay <= options.click_within)
        truth = self.ranked if ranked else self.unranked
        truth.add(p * market.click_reached(shown, time, window), in_time)
        buys = rng.random(len(shown)) < market.conversion_probability(shown, time)
        until_order = market.conversion_delay(shown, time, rng)
        amount = market.value(shown, rng)
        given, found = (self._taken_back(kind, shown, time) for kind in ("refund", "invalid_click"))
        for i, candidate in enumerate(candidates):
            own = {name: candidate[name] for name in ("exposure_id", "user_id", "item_id")}
            self._come(time, "impression", {**candidate, "position": i, "ts": time})
            if wants[i]:
                clicked = time + int(delay[i])
                across = (i + 0.5) / len(shown)
                click = {"click_id": f"c-{own['exposure_id']}", "ts": clicked, **own, "screen_x": across}
                self._come(clicked, "click", click)
                self._find_invalid(clicked, found[i], click, own)
                if buys[i]:
                    bought = clicked + int(until_order[i])
                    order = self._buy(bought, click, own, float(amount[i]))
                    self._give_back(bought, given[i], order, own)

    def _taken_back(self, kind: str, shown: Context, time: Millis) -> list[Millis | None]:
        """Return how long after what it follows each is taken back, None where it never would be."""
        if kind not in kinds(self.market.options):
            return [None] * len(shown)
        p, delay = self.market.probability(kind, shown, time), self.market.delay(kind, shown, time, self._rng)
        wants = self._rng.random(len(shown)) < p
        return [after if want else None for after, want in zip(delay.tolist(), wants.tolist(), strict=True)]

    def _buy(self, time: Millis, click: Record, own: Record, amount: float) -> Record:
        order = {"conversion_id": f"o-{own['exposure_id']}", "click_id": click["click_id"]}
        order |= {"ts": time, **own, "amount": amount}
        self._come(time, "conversion", order)
        return order

    def _give_back(self, bought: Millis, after: Millis | None, order: Record, own: Record) -> None:
        if after is None:
            return
        refund = {"refund_id": f"b-{own['exposure_id']}", "conversion_id": order["conversion_id"]}
        amount = float(self.market.given_back(np.array([order["amount"]]), self._rng)[0])
        self._come(bought + after, "refund", {**refund, "ts": bought + after, **own, "amount": amount})

    def _find_invalid(self, clicked: Millis, after: Millis | None, click: Record, own: Record) -> None:
        if after is None:
            return
        invalid = {"invalid_id": f"i-{own['exposure_id']}", "click_id": click["click_id"]}
        sure = round(float(self._rng.uniform(0.5, 1.0)), 3)
        record = {**invalid, "ts": clicked + after, **own, "confidence": sure}
        self._come(clicked + after, "invalid_click", record)

    def _come(self, time: Millis, kind: str, record: Record) -> None:
        self._events += 1
        heapq.heappush(self._coming, _Coming(time, self._events, kind, record))


def line(record: Record) -> bytes:
    """Return a record as a line of JSON."""
    return json.dumps(record, separators=(",", ":")).encode()


def _records(market: Market, context: Context, time: Millis) -> list[Record]:
    """Return the features of candidates, row by row; their place in the slate is not known yet."""
    columns = {
        name: column.to_pylist()
        for name, column in market.features(context, time).items()
        if name != "position"
    }
    return [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]

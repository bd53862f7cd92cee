"""A population that lives: asks for a ranking, sees it, clicks and buys late. It knows what is true of everybody."""

import heapq
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from stream_mtl.clock import Millis
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

        Requests, and all ids that come of them, begin with `name`.
        """
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
        for i, candidate in enumerate(candidates):
            own = {name: candidate[name] for name in ("exposure_id", "user_id", "item_id")}
            self._come(time, "impression", {**candidate, "position": i, "ts": time})
            if wants[i]:
                clicked = time + int(delay[i])
                across = (i + 0.5) / len(shown)
                click = {"click_id": f"c-{own['exposure_id']}", "ts": clicked, **own, "screen_x": across}
                self._come(clicked, "click", click)
                if buys[i]:
                    self._buy(clicked + int(until_order[i]), click, own, float(amount[i]))

    def _buy(self, time: Millis, click: Record, own: Record, amount: float) -> None:
        order = {"conversion_id": f"o-{own['exposure_id']}", "click_id": click["click_id"]}
        self._come(time, "conversion", {**order, "ts": time, **own, "amount": amount})

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

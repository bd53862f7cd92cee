"""What the topics' rates imply: how much state a joiner will hold, and how much disk inputs and log will take."""

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Final

from stream_mtl.clock import SECOND, Millis
from stream_mtl.join.shape import Shape, shape_of
from stream_mtl.processes.declared import Declared
from stream_mtl.processes.topic_facts import TopicFacts
from stream_mtl.processes.topics import MARGIN, lifetime

_BESIDE: Final = 200  # bytes of an exposure beside its fields, as measured (docs/performance.md)
_ROW: Final = 80  # bytes of a row of the log


@dataclass(frozen=True, slots=True)
class Estimate:
    """For all joiners together, and one copy of each record. Everything is about, and from a few records."""

    exposures_per_second: float
    events_per_second: float
    alive: int  # exposures whose state is held
    state_bytes: int
    input_bytes: int  # uncompressed, over `kept`
    log_bytes: int  # over `kept`
    kept: Millis


def estimate(made: Declared, topics: Sequence[TopicFacts]) -> Estimate | None:
    """Return it; None where the rate of the exposures is not known."""
    rates = _rates(made, topics)
    root = made.chain.root.name
    if root not in rates:
        return None
    shape, kept = shape_of(made.chain), lifetime(made) + MARGIN
    payload = _mean([one.kept for facts in topics if root in facts.planned.kinds for one in facts.samples])
    alive = sum(rate * _held(shape, kind) / SECOND for kind, rate in rates.items())
    sizes = [(facts.rate or 0) * _mean([one.size for one in facts.samples]) for facts in topics]
    tasks = made.chain.tasks
    rows = 1 + sum(len(task.waits) for task in tasks) + len({task.event for task in tasks})
    return Estimate(
        exposures_per_second=rates[root],
        events_per_second=sum(rates.values()),
        alive=round(alive),
        state_bytes=round(alive * (payload + _BESIDE)),
        input_bytes=round(sum(sizes) * kept / SECOND),
        log_bytes=round(rates[root] * (payload + rows * _ROW) * kept / SECOND),
        kept=kept,
    )


def _rates(made: Declared, topics: Sequence[TopicFacts]) -> dict[str, float]:
    """Return the events a second of each kind; kinds that share a topic share its rate evenly."""
    return {
        kind: facts.rate / len(facts.planned.kinds)
        for facts in topics
        if facts.rate is not None
        for kind in facts.planned.kinds
    }


def _held(shape: Shape, kind: str) -> Millis:
    """Return how long an event keeps an exposure: one to which nothing happens, or one that is touched."""
    chain = shape.chain
    if kind == chain.root.name:
        return shape.life + chain.remember
    return shape.reach // 2 if kind in shape.prolonging else 0


def _mean(numbers: Sequence[int]) -> float:
    return fmean(numbers) if numbers else 0.0

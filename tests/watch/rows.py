"""The readings before labels are final, a second time: row by row, chain by chain, without a sum in a cell."""

from collections import Counter
from dataclasses import dataclass, field
from math import exp, sqrt

from stream_mtl.clock import Millis
from stream_mtl.join.spec import ChainSpec
from stream_mtl.join.transitions import Telling, Transitions
from stream_mtl.watch.course import courses
from stream_mtl.watch.outcomes import score_column

from .served import PLAN

CELLS, PARTS = 128, 12


@dataclass
class Clock:
    """One clock that was told of, and what was told of it."""

    start: Millis
    score: float
    ended: bool = False
    stands: bool = False
    said: list[tuple[Millis, int]] = field(
        default_factory=list
    )  # when it told that the event came, or was taken back


@dataclass(frozen=True)
class Slow:
    """What is read of the clocks of a view."""

    clocks: int
    predicted: float
    known: int
    age: float
    ratio: float | None = None
    low: float | None = None
    high: float | None = None


class Rows:
    """One output of a log, told up to some row, read at some time."""

    def __init__(
        self, transitions: Transitions, chain: ChainSpec, output: str, now: Millis, longest: Millis
    ) -> None:
        self.task = next(task for task in chain.tasks if task.name == output.removeprefix("joint."))
        self.bit = [task.name for task in chain.tasks].index(self.task.name)
        self.joint, self.now = output.startswith("joint."), now
        self.open = courses(PLAN, chain)[output].open
        self.width = -(-self.open // CELLS)
        self.border = now // self.width * self.width
        self.remembered = max(self.open, longest)
        self.clocks: dict[int, Clock] = {}
        self.looks: list[tuple[Millis, Millis, float, int]] = []  # wait, told, score, label
        scores = transitions.keys.column(score_column(output)).to_pylist()
        for row in transitions.rows.to_pylist():
            if scores[row["row"]] is not None:
                self._read(row, scores[row["row"]])

    def _read(self, row: dict[str, int], score: float) -> None:
        about = bool(row["tasks"] >> self.bit & 1)
        given = None if self.task.given is None or self.joint else f"{self.task.given}"
        started = given is None or row[f"label.{given}"] == 1
        kind, label, number = row["kind"], row[f"label.{self.task.name}"], row["exposure"]
        begins = kind == Telling.EXPOSED if given is None else kind == Telling.LOOK and about
        if begins and started and number not in self.clocks:
            self.clocks[number] = Clock(row["time"] if given is None else row[f"at.{given}"], score)
        if kind == Telling.LOOK and about and not self.joint:
            self.looks.append((row["wait"], row["told"], score, int(label == 1)))
        clock = self.clocks.get(number)
        if clock is not None and about:
            if clock.stands != (label == 1):
                clock.stands = label == 1
                clock.said.append((row["told"], 1 if clock.stands else -1))
            clock.ended |= kind == Telling.FINAL

    def waiting(self) -> int:
        return sum(not clock.ended for clock in self.clocks.values())

    def mature(self, window: Millis | None) -> float | None:
        inside = [clock for clock in self.clocks.values() if self._of(clock, window)]
        return sum(clock.ended for clock in inside) / len(inside) if inside else None

    def read(self, window: Millis | None) -> Slow | None:
        """Return what is read of the clocks that wait, or that started in a window."""
        young = 0 if self.task.given is None or self.joint else -(-min(self.task.waits) // self.width)
        some = [
            clock
            for clock in self.clocks.values()
            if self._cell(clock) + 1 + young <= self.border // self.width and self._of(clock, window)
        ]
        if not some:
            return None
        known = sum(sign for clock in some for told, sign in clock.said if told < self.border)
        promised = sum(clock.score for clock in some)
        age = sum(self.border - (self._cell(clock) + 0.5) * self.width for clock in some) / len(some)
        slow = Slow(len(some), promised / len(some), known, age)
        return self._estimated(slow, some)

    def looked(self, look: Millis, window: Millis | None) -> tuple[int, float, int]:
        """Return how many looks, the sum of scores, the events seen."""
        rows = [
            (score, label)
            for wait, told, score, label in self.looks
            if wait == look and (window is None or told >= self._begin(window, self.now))
        ]
        return len(rows), sum(score for score, _ in rows), sum(label for _, label in rows)

    def _estimated(self, slow: Slow, some: list[Clock]) -> Slow:
        delays: Counter[int] = Counter()
        for clock in self.clocks.values():
            if self._ripe(clock) and self._remembers(clock):
                for told, sign in clock.said:
                    delays[told // self.width - self._cell(clock)] += sign
        if sum(delays.values()) < 1 or slow.known < 1:
            return slow
        thinned = [clock.score * self._share(clock, delays) for clock in some]
        expected = sum(thinned)
        if not expected:
            return slow
        ratio = expected / slow.known
        of_known = 1 / slow.known - sum((one / ratio) ** 2 for one in thinned) / slow.known**2
        total, spread = sum(delays.values()), -(expected**2)
        for lag, events in delays.items():
            beyond = sum(clock.score for clock in some if self._ripe(clock) or self._lags(clock) >= lag)
            spread += abs(events) * beyond**2 / total
        error = sqrt(max(of_known, 0) + max(spread, 0) / total / expected**2)
        reach = exp(1.96 * error)
        return Slow(slow.clocks, slow.predicted, slow.known, slow.age, ratio, ratio / reach, ratio * reach)

    def _share(self, clock: Clock, delays: Counter[int]) -> float:
        """Return how many of the delays are over at this clock's age."""
        over = sum(events for lag, events in delays.items() if lag <= self._lags(clock))
        return 1.0 if self._ripe(clock) else over / sum(delays.values())

    def _cell(self, clock: Clock) -> int:
        return clock.start // self.width

    def _lags(self, clock: Clock) -> int:
        return self.border // self.width - 1 - self._cell(clock)

    def _ripe(self, clock: Clock) -> bool:
        return (self._cell(clock) + 1) * self.width + self.open <= self.now

    def _remembers(self, clock: Clock) -> bool:
        begin = self._begin(self.remembered, self.now - self.open)
        return self._part_start(clock, self.remembered) >= begin

    def _of(self, clock: Clock, window: Millis | None) -> bool:
        return not self._ripe(clock) if window is None else self._inside(clock, window)

    def _inside(self, clock: Clock, window: Millis) -> bool:
        return self._part_start(clock, window) >= self._begin(window, self.now)

    def _part_start(self, clock: Clock, window: Millis) -> Millis:
        part = -(-window // PARTS)
        return self._cell(clock) * self.width // part * part

    def _begin(self, window: Millis, now: Millis) -> Millis:
        part = -(-window // PARTS)
        return ((now - 1) // part - PARTS + 1) * part

"""What a learner has done so far, in numbers that add up over steps."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any

from stream_mtl.clock import BEGINNING, Millis
from stream_mtl.learn.learner import StepReport


@dataclass(slots=True)
class Tally:
    """Counts since the beginning of the log."""

    steps: int = 0
    examples: int = 0  # rows of minibatches
    told: Counter[str] = field(default_factory=Counter)  # per lesson: rows that taught it
    skipped: int = 0  # steps whose gradient was not finite: nothing was learned
    bad: int = 0  # rows left out because a cell was not finite
    admitted: int = 0  # ids that were given an embedding row
    evicted: int = 0  # ids that lost theirs
    upto: Millis = BEGINNING  # the latest time told

    def add(self, report: StepReport) -> None:
        """Count a step."""
        self.steps += 1
        self.examples += report.rows
        self.told.update(report.told)
        self.skipped += report.skipped
        self.bad += report.bad
        self.admitted += report.admitted
        self.evicted += report.evicted
        self.upto = max(self.upto, report.time)

    def facts(self) -> dict[str, Any]:
        """Return the counts as JSON has them, to be saved."""
        return asdict(self) | {"told": dict(self.told)}

    @classmethod
    def of_facts(cls, facts: Mapping[str, Any]) -> "Tally":
        """Take back what `facts` gave."""
        values = {one.name: facts[one.name] for one in fields(cls)}
        return cls(**{**values, "told": Counter(facts["told"])})

"""A panel: several learners side by side over one log, each predicting every exposure before it learns anything of it."""

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from stream_mtl.join.transitions import Transitions
from stream_mtl.label.oracle import Truth
from stream_mtl.learn.encoded import Encoded
from stream_mtl.learn.grades import Grader, Marks, Span
from stream_mtl.learn.outcomes import Truths
from stream_mtl.learn.predict import Predictions
from stream_mtl.learn.recipe import Recipe
from stream_mtl.learn.segment import Ints
from stream_mtl.learn.tally import Tally
from stream_mtl.learn.trainer import Stepped, Trainer


@dataclass(frozen=True, slots=True)
class Graded:
    """What became of one learner."""

    tally: Tally
    marks: Mapping[str, Marks]  # by output
    halves: tuple[Mapping[str, Marks], Mapping[str, Marks]]  # the same of both halves of the time
    cpu_seconds: float  # of predicting, learning and grading


class Entrant:
    """One learner of a panel."""

    def __init__(self, recipe: Recipe, outputs: Sequence[str], span: Span) -> None:
        self._graders = [Grader(recipe.plan.outputs, outputs, one) for one in (span, *span.halves)]
        self._trainer, self._tally = Trainer(recipe, self._grade), Tally()
        self._seconds = 0.0

    def take(self, transitions: Transitions, truth: Truth | None, features: Encoded) -> None:
        """Go on by a batch of transitions."""
        begun = time.process_time()
        self._trainer.take(transitions, 0, truth, self._count, features)
        self._seconds += time.process_time() - begun

    def finish(self) -> Graded:
        """Learn what waits for its minibatch to fill, and return what it came to."""
        begun = time.process_time()
        report = self._trainer.flush()
        if report is not None:
            self._tally.add(report)
        self._seconds += time.process_time() - begun
        whole, first, second = (
            {name: grades.marks() for name, grades in grader.grades.items()} for grader in self._graders
        )
        return Graded(self._tally, whole, (first, second), self._seconds)

    def _grade(self, time: Ints, predictions: Predictions, truths: Truths) -> None:
        for grader in self._graders:
            grader(time, predictions, truths)

    def _count(self, stepped: Stepped) -> None:
        self._tally.add(stepped.report)


def grade(
    recipes: Mapping[str, Recipe],
    log: Iterable[Transitions],
    outputs: Sequence[str],
    span: Span,
    truth: Truth | None = None,
    go_on: Callable[[], bool] = lambda: True,
) -> dict[str, Graded]:
    """Let learners follow a log side by side, as long as `go_on` says so before each batch; return what became of each.

    Fields are encoded once for all recipes whose features are the same. `truth` is for oracles.
    """
    entrants = {name: Entrant(recipe, outputs, span) for name, recipe in recipes.items()}
    kinds = {name: recipe.features.fingerprint() for name, recipe in recipes.items()}
    specs = {kinds[name]: recipe.features for name, recipe in recipes.items()}
    for transitions in log:
        if not go_on():
            break
        encoded = {kind: spec.encode(transitions.fields) for kind, spec in specs.items()}
        for name, entrant in entrants.items():
            entrant.take(transitions, truth, encoded[kinds[name]])
    return {name: entrant.finish() for name, entrant in entrants.items()}

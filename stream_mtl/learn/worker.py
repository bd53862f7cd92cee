"""A learner at work: follows a log of transitions, cuts snapshots by event time, and after a crash goes on as before."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy.typing as npt

from stream_mtl.clock import MINUTE, Clock, Millis
from stream_mtl.errors import FingerprintMismatch
from stream_mtl.failpoints import reach
from stream_mtl.join.feed import Feed, Place, Portion
from stream_mtl.label.oracle import Truth
from stream_mtl.learn.arrays import Arrays, put_under, under
from stream_mtl.learn.checkpoint import read_checkpoint, write_checkpoint
from stream_mtl.learn.learner import StepReport
from stream_mtl.learn.notes import Deed, Notes
from stream_mtl.learn.outcomes import measure_arrays, measures_of_arrays, nothing_measured
from stream_mtl.learn.recipe import Recipe
from stream_mtl.learn.tally import Tally
from stream_mtl.learn.trainer import Stepped, Trainer
from stream_mtl.measures import Sums, since


@dataclass(frozen=True, slots=True)
class TrainOptions:
    """How a learner commits."""

    snapshot_every: Millis = 5 * MINUTE  # event time
    checkpoint_every: Millis = MINUTE  # of the clock
    flush_after: Millis | None = None  # of the clock: an unfilled minibatch waits no longer; None: for ever
    snapshot_after: Millis | None = (
        None  # of the clock: what was learned is cut no later; None: by event time only
    )


@dataclass(frozen=True, slots=True)
class Cut:
    """A model at one place of the log: what a snapshot is made of."""

    version: int
    parent: int | None
    weights: Arrays
    tally: Mapping[str, Any]  # Tally.facts()
    since: Mapping[int, Place]  # where the parent was cut, per joiner partition
    places: Mapping[int, Place]
    chain: str  # fingerprint of the log
    recipe: Mapping[str, str]  # fingerprint
    life: Mapping[str, Sums]  # what the predictions made before learning were worth, by output
    recent: Mapping[str, Sums]  # the same, since the parent
    passing: bool = False  # cut between two borders of event time, to be served soon


class TrainWorker:
    """Runs one learner over the logs of all joiner partitions. The order of its effects:

    1 what the clock asks for (a flush, a cut) is noted, then done; 2 a cut is published; 3 now and then, between two
    portions of the feed, everything is checkpointed as one: weights, optimiser, features, measures, predictions that
    wait, places, next version.

    What is learned and where it is cut are functions of the log and the notes alone. So a learner that begins again
    at a checkpoint publishes what it has published before, bit for bit, and then goes on.
    """

    def __init__(
        self,
        recipe: Recipe,
        feed: Feed,
        folder: Path,
        publish: Callable[[Cut], None],
        clock: Clock,
        options: TrainOptions = TrainOptions(),
        truth: Truth | None = None,
    ) -> None:
        self.trainer = Trainer(recipe)
        self.tally = Tally()
        self.last: StepReport | None = None
        self._feed, self._folder, self._publish, self._clock = feed, folder, publish, clock
        self._options, self._truth = options, truth
        self._notes = Notes(folder / "notes.jsonl")
        self._chain: str | None = None
        self._rows = 0  # taken from the feed since its beginning
        self._did = 0  # how many of the deeds noted after so many rows were done
        self._since: Millis | None = None  # of the clock: since when rows wait to be learned
        self._version = 0  # the next one
        self._published: int | None = None  # the newest one there was when we began
        self._due: Millis | None = None  # event time of the next cut
        self._portion: Portion | None = None  # what is being taken
        self._upto = 0  # the next row of it
        self._parent_places: Mapping[int, Place] = feed.places
        self._parent_measures = nothing_measured(recipe.plan)
        self._parent_steps = 0
        self._last_cut = self._last_checkpoint = clock()
        self._cut_took: Millis = 0

    @property
    def blocks(self) -> int:
        """How many blocks of all partitions lie behind."""
        return sum(block for block, _ in self._feed.places.values())

    @property
    def checkpointed(self) -> Millis:
        """When everything was kept last; before that, when this learner was made."""
        return self._last_checkpoint

    def recover(self, published: int | None = None) -> bool:
        """Go to the newest checkpoint that verifies; return whether there was one.

        `published` is the newest snapshot there is. Until it was cut again the clock asks for nothing: what it asked for
        on the way there is noted, and anything else would give the same versions other weights.

        Raises FingerprintMismatch if it was made by another recipe, PositionOutOfRange if the log does not hold its
        place, StateCorrupt if there are checkpoints and none verifies.
        """
        self._published = published
        found = read_checkpoint(self._folder)
        reach("train.recover")
        if found is not None:
            self._restore(found.arrays, found.facts)
        else:
            self._feed.start()
            self._parent_places = self._feed.places
        self._do_noted()
        self._since = self._clock() if self.trainer.carried else None
        reach("train.recovered")
        return found is not None

    def step(self) -> bool:
        """Take what comes next, if there is anything; returns whether there was."""
        portion = self._feed.take()
        if portion is not None:
            while (noted := self._notes.between(self._rows, self._rows + len(portion))) is not None:
                head, portion = portion.cut(noted - self._rows)
                self._take(head)
            self._take(portion)
        self._be_timely()
        if self._clock() - self._last_checkpoint >= self._options.checkpoint_every:
            self.checkpoint()
        return portion is not None

    def finish(self) -> None:
        """Learn what waits for its minibatch to fill, cut, and checkpoint: the log has come to its end."""
        if self._since is not None:
            self._note("flush")
        if self.tally.steps > self._parent_steps:
            self._note("end")
        self.checkpoint()

    def checkpoint(self) -> None:
        """Make everything durable, as one."""
        arrays, facts = self.trainer.state()
        parts = put_under(trainer=arrays, parent=measure_arrays(self._parent_measures))
        write_checkpoint(self._folder, self._rows, parts, facts | self._facts())
        self._last_checkpoint = self._clock()

    def close(self) -> None:
        """Let go of the feed."""
        self._feed.close()

    def _take(self, portion: Portion) -> None:
        self._chain = self._chain or portion.fingerprint
        if portion.fingerprint != self._chain:
            raise FingerprintMismatch(
                f"the log at {dict(portion.places)} was joined under another chain than what this learner learned before; "
                "begin anew with another [learn] path and [publish] path"
            )
        self._portion, self._upto = portion, 0
        steps = self.tally.steps
        self.trainer.take(portion.transitions, portion.partition, self._truth, self._after_step)
        self._portion = None
        if len(portion):
            self._rows, self._did = self._rows + len(portion), 0
            if self._since is None or self.tally.steps > steps:
                self._since = self._clock()
        self._do_noted()

    def _after_step(self, stepped: Stepped) -> None:
        self._upto = stepped.upto
        reach("learn.after_step")
        self._count(stepped.report)

    def _count(self, report: StepReport) -> None:
        """Count a step, and cut if event time says so."""
        self.tally.add(report)
        self.last = report
        every = self._options.snapshot_every
        if self._due is None:
            self._due = (report.time // every + 1) * every
        if report.time >= self._due:
            self._due = (report.time // every + 1) * every
            self._cut()

    def _cut(self, passing: bool = False) -> None:
        begun = self._clock()
        measures = self.trainer.measures
        places = self._feed.places if self._portion is None else self._portion.before(self._upto)
        cut = Cut(
            version=self._version,
            parent=self._version - 1 if self._version else None,
            weights=self.trainer.learner.weights(),
            tally=self.tally.facts(),
            since=self._parent_places,
            places=places,
            chain=self._chain or "",
            recipe=self.trainer.recipe.fingerprint(),
            life=measures,
            recent=since(measures, self._parent_measures),
            passing=passing,
        )
        self._version += 1
        self._parent_places, self._parent_measures = places, dict(measures)
        self._parent_steps = self.tally.steps
        self._publish(cut)
        self._last_cut = self._clock()
        self._cut_took = self._last_cut - begun

    def _be_timely(self) -> None:
        """Live: end the minibatch, and cut, if they have waited too long. A cut is made at most a tenth of the time."""
        if self._published is not None and self._version <= self._published:
            return
        now, options = self._clock(), self._options
        if (
            options.flush_after is not None
            and self._since is not None
            and now - self._since >= options.flush_after
        ):
            self._note("flush")
        if options.snapshot_after is None or self.tally.steps == self._parent_steps:
            return
        if now - self._last_cut >= max(options.snapshot_after, 10 * self._cut_took):
            self._note("cut")

    def _note(self, deed: Deed) -> None:
        """Note what is done because of the clock, and do it."""
        self._notes.note(self._rows, deed)
        reach("learn.noted")
        self._do(deed)

    def _do_noted(self) -> None:
        """Do what was done here before, and was lost."""
        for deed in self._notes.after(self._rows)[self._did :]:
            self._do(deed)

    def _do(self, deed: Deed) -> None:
        self._did += 1
        if deed == "flush":
            self._since = None
            report = self.trainer.flush()
            if report is not None:
                self._count(report)
        else:
            self._cut(passing=deed == "cut")

    def _facts(self) -> dict[str, Any]:
        return {
            "feed": self._feed.state(),
            "rows": self._rows,
            "chain": self._chain,
            "did": self._did,
            "version": self._version,
            "due": self._due,
            "parent_places": {str(number): list(place) for number, place in self._parent_places.items()},
            "parent_steps": self._parent_steps,
            "tally": self.tally.facts(),
        }

    def _restore(self, arrays: Mapping[str, npt.NDArray[Any]], facts: Mapping[str, Any]) -> None:
        self.trainer.load_state(under(arrays, "trainer"), facts)
        self._parent_measures = measures_of_arrays(self.trainer.recipe.plan, under(arrays, "parent"))
        self._feed.resume(facts["feed"], f"the learner's checkpoint in {self._folder}")
        self._rows, self._did, self._version = facts["rows"], facts["did"], facts["version"]
        self._chain, self._due, self._parent_steps = facts["chain"], facts["due"], facts["parent_steps"]
        self._parent_places = {int(n): (block, row) for n, (block, row) in facts["parent_places"].items()}
        self.tally = Tally.of_facts(facts["tally"])

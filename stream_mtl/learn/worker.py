"""A learner at work: follows a log of transitions, cuts snapshots by event time, and after a crash goes on as before."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy.typing as npt

from stream_mtl.clock import MINUTE, Clock, Millis
from stream_mtl.errors import FingerprintMismatch, PositionOutOfRange
from stream_mtl.join.block import Header
from stream_mtl.join.log import TransitionLog
from stream_mtl.join.transitions import Transitions
from stream_mtl.label.oracle import Truth
from stream_mtl.learn.arrays import Arrays, put_under, under
from stream_mtl.learn.checkpoint import read_checkpoint, write_checkpoint
from stream_mtl.learn.flushes import Flushes
from stream_mtl.learn.learner import StepReport
from stream_mtl.learn.outcomes import measure_arrays, measures_of_arrays, nothing_measured
from stream_mtl.learn.recipe import Recipe
from stream_mtl.learn.tally import Tally
from stream_mtl.learn.trainer import Stepped, Trainer
from stream_mtl.measures import Sums, since

Place = tuple[int, int]
"""(block, row): the NEXT row to read."""


@dataclass(frozen=True, slots=True)
class TrainOptions:
    """How a learner commits."""

    snapshot_every: Millis = 5 * MINUTE  # event time
    checkpoint_every: Millis = MINUTE  # of the clock
    flush_after: Millis | None = None  # of the clock: an unfilled minibatch waits no longer; None: for ever


@dataclass(frozen=True, slots=True)
class Cut:
    """A model at one place of the log: what a snapshot is made of."""

    version: int
    parent: int | None
    weights: Arrays
    tally: Mapping[str, Any]  # Tally.facts()
    since: Place  # where the parent was cut
    place: Place
    chain: str  # fingerprint of the log
    recipe: Mapping[str, str]  # fingerprint
    life: Mapping[str, Sums]  # what the predictions made before learning were worth, by output
    recent: Mapping[str, Sums]  # the same, since the parent


class TrainWorker:
    """Runs one learner over the log of one joiner partition. The order of its effects:

    1 a flush by deadline is noted, then done; 2 a cut is published; 3 now and then, between two blocks, everything
    is checkpointed as one: weights, optimiser, features, measures, predictions that wait, place, next version.

    What is learned and where it is cut are functions of the log and the notes alone. So a learner that begins again
    at a checkpoint publishes what it has published before, bit for bit, and then goes on.
    """

    def __init__(
        self,
        recipe: Recipe,
        log: TransitionLog,
        folder: Path,
        publish: Callable[[Cut], None],
        clock: Clock,
        options: TrainOptions = TrainOptions(),
        truth: Truth | None = None,
        partition: int = 0,
    ) -> None:
        self.trainer = Trainer(recipe)
        self.tally = Tally()
        self.last: StepReport | None = None
        self._log, self._folder, self._publish, self._clock = log, folder, publish, clock
        self._options, self._truth, self._partition = options, truth, partition
        self._flushes = Flushes(folder / "flushes.jsonl")
        self._blocks: Iterator[tuple[Header, Transitions]] = iter(())
        self._chain: str | None = None
        self._block = 0  # the next one
        self._flushed = -1  # the last block behind which a minibatch was ended early
        self._version = 0  # the next one
        self._due: Millis | None = None  # event time of the next cut
        self._place = self._parent_place = (0, 0)
        self._parent_measures = nothing_measured(recipe.plan)
        self._parent_steps = 0
        self._last_block = self._last_checkpoint = clock()

    @property
    def next_block(self) -> int:
        """The block that is read next."""
        return self._block

    def recover(self) -> bool:
        """Go to the newest checkpoint that verifies; return whether there was one.

        Raises FingerprintMismatch if it was made by another recipe, PositionOutOfRange if the log does not hold its
        place, StateCorrupt if there are checkpoints and none verifies.
        """
        found = read_checkpoint(self._folder)
        if found is not None:
            self._restore(found.arrays, found.facts)
        else:
            self._block = self._log.first()
            self._place = self._parent_place = (self._block, 0)
        first, end = self._log.first(), self._log.next()
        if not first <= self._block <= end:
            raise PositionOutOfRange(
                f"the learner's checkpoint in {self._folder} goes on at block {self._block}, but the log holds blocks "
                f"{first} to {end}: restore the log, or begin anew with another [learn] path"
            )
        self._flush_where_noted()
        return found is not None

    def step(self) -> int:
        """Take the next block, if there is one; returns how many rows were taken."""
        taken = next(self._blocks, None)
        if taken is None:
            self._blocks = self._log.read(self._block)
            taken = next(self._blocks, None)
        if taken is None:
            self._flush_if_late()
            return 0
        self._take(*taken)
        if self._clock() - self._last_checkpoint >= self._options.checkpoint_every:
            self.checkpoint()
        return len(taken[1])

    def finish(self) -> None:
        """Learn what waits for its minibatch to fill, cut, and checkpoint: the log has come to its end."""
        if self._flushed != self._block - 1:
            self._flushes.note(self._block - 1)
            self._flush()
        if self.tally.steps > self._parent_steps:
            self._cut()
        self.checkpoint()

    def checkpoint(self) -> None:
        """Make everything durable, as one."""
        arrays, facts = self.trainer.state()
        parts = put_under(trainer=arrays, parent=measure_arrays(self._parent_measures))
        write_checkpoint(self._folder, self._block, parts, facts | self._facts())
        self._last_checkpoint = self._clock()

    def _take(self, header: Header, transitions: Transitions) -> None:
        if self._chain is None:
            self._chain = header.fingerprint
        if header.fingerprint != self._chain:
            raise FingerprintMismatch(
                f"block {header.block} was joined under another chain than what this learner learned before; "
                "begin anew with another [learn] path and [publish] path"
            )
        self._place = (header.block, 0)
        self.trainer.take(transitions, self._partition, self._truth, self._after_step)
        self._block = header.block + 1
        self._place = (self._block, 0)
        self._last_block = self._clock()
        self._flush_where_noted()

    def _after_step(self, stepped: Stepped) -> None:
        self._place = (self._place[0], stepped.upto)
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

    def _cut(self) -> None:
        measures = self.trainer.measures
        cut = Cut(
            version=self._version,
            parent=self._version - 1 if self._version else None,
            weights=self.trainer.learner.weights(),
            tally=self.tally.facts(),
            since=self._parent_place,
            place=self._place,
            chain=self._chain or "",
            recipe=self.trainer.recipe.fingerprint(),
            life=measures,
            recent=since(measures, self._parent_measures),
        )
        self._version += 1
        self._parent_place, self._parent_measures = self._place, dict(measures)
        self._parent_steps = self.tally.steps
        self._publish(cut)

    def _flush_if_late(self) -> None:
        """Live: end the minibatch if it has waited too long for more rows, and note that first."""
        after, block = self._options.flush_after, self._block - 1
        if after is None or self._flushed == block or self._clock() - self._last_block < after:
            return
        self._flushes.note(block)
        self._flush()

    def _flush_where_noted(self) -> None:
        if self._flushed != self._block - 1 and self._block - 1 in self._flushes:
            self._flush()

    def _flush(self) -> None:
        self._flushed = self._block - 1
        report = self.trainer.flush()
        if report is not None:
            self._count(report)

    def _facts(self) -> dict[str, Any]:
        return {
            "block": self._block,
            "chain": self._chain,
            "flushed": self._flushed,
            "version": self._version,
            "due": self._due,
            "parent_place": list(self._parent_place),
            "parent_steps": self._parent_steps,
            "tally": self.tally.facts(),
        }

    def _restore(self, arrays: Mapping[str, npt.NDArray[Any]], facts: Mapping[str, Any]) -> None:
        self.trainer.load_state(under(arrays, "trainer"), facts)
        self._parent_measures = measures_of_arrays(self.trainer.recipe.plan, under(arrays, "parent"))
        self._block, self._flushed, self._version = facts["block"], facts["flushed"], facts["version"]
        self._chain, self._due = facts["chain"], facts["due"]
        block, row = facts["parent_place"]
        self._parent_place, self._parent_steps = (block, row), facts["parent_steps"]
        self._place = (self._block, 0)
        self.tally = Tally.of_facts(facts["tally"])

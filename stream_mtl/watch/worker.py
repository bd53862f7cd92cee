"""A watcher at work: follows a log of transitions, keeps a board, and after a crash goes on as if nothing had happened."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from stream_mtl.clock import SECOND, Clock, Millis
from stream_mtl.errors import FingerprintMismatch
from stream_mtl.failpoints import reach
from stream_mtl.join.feed import Feed, Portion
from stream_mtl.join.log import refuse_other
from stream_mtl.join.spec import ChainSpec
from stream_mtl.label.plan import Plan, lives
from stream_mtl.learn.checkpoint import read_checkpoint, write_checkpoint
from stream_mtl.watch.board import Board, BoardOptions, window_name
from stream_mtl.watch.course import courses
from stream_mtl.watch.history import MEGABYTE, History, line_of
from stream_mtl.watch.outcomes import outcomes


@dataclass(frozen=True, slots=True)
class WatchOptions:
    """How a watcher reads and writes. Times are of the clock."""

    every: Millis = SECOND  # between two readings
    checkpoint_every: Millis = 10 * SECOND  # and between two lines of the history
    blocks: int = 64  # portions taken in one step at most
    history_bytes: int = 4 * MEGABYTE


class WatchWorker:
    """Watches the logs of all joiner partitions. The order of effects:

    1 portions are taken into the sums, in memory; 2 now and then `latest.json` shows them; 3 less often the sums and the
    place in the feed become durable together, as a checkpoint; 4 a line of the history says what that checkpoint holds.

    A crash before 3 loses sums that the log gives again; one between 3 and 4 loses a line that `recover` writes. So every
    row is in the sums exactly once, and no line says what the sums could not give again.
    """

    def __init__(
        self,
        plan: Plan,
        chain: ChainSpec,
        feed: Feed,
        folder: Path,
        clock: Clock,
        board: BoardOptions,
        options: WatchOptions = WatchOptions(),
    ) -> None:
        """`folder` takes the readings, and below it in `state` the checkpoints."""
        self.board = Board(plan, chain, board)
        self.rows = 0  # taken from the feed since its beginning
        self._plan, self._feed, self._clock, self._options = plan, feed, clock, options
        self._declaration = _declaration(plan, chain, board)
        self._chain: str | None = None  # fingerprint of the blocks
        self._state = folder / "state"
        self._history = History(folder, options.history_bytes)
        self._window = window_name(min(board.windows)) if board.windows else None
        self._saved: int | None = None  # the rows of the newest checkpoint
        self._last_shown = self._last_checkpoint = clock()

    @property
    def saved(self) -> int | None:
        """The rows that the newest checkpoint holds; None without one."""
        return self._saved

    @property
    def checkpointed(self) -> Millis:
        """When the sums were kept last; before that, when this watcher was made."""
        return self._last_checkpoint

    @property
    def blocks(self) -> int:
        """How many blocks of all partitions lie behind."""
        return sum(block for block, _ in self._feed.places.values())

    def recover(self) -> bool:
        """Take the newest checkpoint back, if there is one; returns whether there was.

        Raises FingerprintMismatch if something else was watched, PositionOutOfRange if the log does not have what comes
        next.
        """
        saved = read_checkpoint(self._state)
        if saved is None:
            self._feed.start()
            return False
        refuse_other(str(self._state), saved.facts["declaration"], self._declaration)
        self.board.restore(saved.arrays, saved.facts["board"])
        self.rows, self._chain = saved.facts["rows"], saved.facts["chain"]
        self._saved = self.rows
        self._feed.resume(saved.facts["feed"], f"the watcher's checkpoint in {self._state}")
        self._note()
        return True

    def step(self) -> bool:
        """Take what there is, and write what it is time to write. Returns whether there was anything."""
        taken = 0
        while taken < self._options.blocks and (portion := self._feed.take()) is not None:
            self._take(portion)
            taken += 1
        now = self._clock()
        if now - self._last_shown >= self._options.every:
            self.show()
        if now - self._last_checkpoint >= self._options.checkpoint_every:
            self.checkpoint()
        return taken > 0

    def show(self) -> None:
        """Write the latest readings."""
        self._last_shown = self._clock()
        self._history.show(self.board.readings())

    def checkpoint(self) -> None:
        """Make the sums and the next block durable, then add the line that says what they hold."""
        self._last_checkpoint = self._clock()
        if self._saved == self.rows:
            return
        arrays, board = self.board.state()
        facts = {
            "feed": self._feed.state(),
            "rows": self.rows,
            "chain": self._chain,
            "declaration": self._declaration,
            "board": board,
        }
        write_checkpoint(self._state, self.rows, arrays, facts)
        reach("watch.before_note")
        self._saved = self.rows
        self._note()

    def close(self) -> None:
        """Write everything."""
        self.show()
        self.checkpoint()

    def release(self) -> None:
        """Let go of the feed."""
        self._feed.close()

    def _take(self, portion: Portion) -> None:
        if self._chain not in (None, portion.fingerprint):
            raise FingerprintMismatch(
                f"the log at {dict(portion.places)} was told under another chain than what was before it; watch it in "
                "an empty folder"
            )
        self._chain = portion.fingerprint
        found = outcomes(self._plan, portion.transitions, self.board.options.slices)
        self.board.update(found, portion.told_before)
        self.rows += len(portion)

    def _note(self) -> None:
        line = line_of(self.rows, self.board.readings(), self._window)
        if line is not None:
            self._history.append(line)


def _declaration(plan: Plan, chain: ChainSpec, options: BoardOptions) -> Mapping[str, Any]:
    """Return what the sums depend on."""
    declared = {
        "outputs": lives(plan, chain),
        "looks": {name: list(course.looks) for name, course in courses(plan, chain).items()},
        "windows": list(options.windows),
        "slices": list(options.slices),
        "max_slices": options.max_slices,
    }
    text = msgspec.json.encode(declared, order="deterministic")
    return declared | {"fingerprint": hashlib.sha256(text).hexdigest()}

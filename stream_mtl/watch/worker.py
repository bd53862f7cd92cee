"""A watcher at work: follows a log of transitions, keeps a board, and after a crash goes on as if nothing had happened."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import msgspec

from stream_mtl.clock import SECOND, Clock, Millis
from stream_mtl.errors import FingerprintMismatch, PositionOutOfRange
from stream_mtl.join.block import Header
from stream_mtl.join.log import TransitionLog, refuse_other
from stream_mtl.join.spec import ChainSpec
from stream_mtl.join.transitions import Transitions
from stream_mtl.label.plan import Plan, lives
from stream_mtl.learn.checkpoint import read_checkpoint, write_checkpoint
from stream_mtl.watch.board import Board, BoardOptions, window_name
from stream_mtl.watch.history import MEGABYTE, History, line_of
from stream_mtl.watch.outcomes import outcomes


@dataclass(frozen=True, slots=True)
class WatchOptions:
    """How a watcher reads and writes. Times are of the clock."""

    every: Millis = SECOND  # between two readings
    checkpoint_every: Millis = 10 * SECOND  # and between two lines of the history
    blocks: int = 64  # taken in one step at most
    history_bytes: int = 4 * MEGABYTE


class WatchWorker:
    """Watches one log. The order of effects:

    1 blocks are taken into the sums, in memory; 2 now and then `latest.json` shows them; 3 less often the sums and the
    next block become durable together, as a checkpoint; 4 a line of the history says what that checkpoint holds.

    A crash before 3 loses sums that the log gives again; one between 3 and 4 loses a line that `recover` writes. So every
    row is in the sums exactly once, and no line says what the sums could not give again.
    """

    def __init__(
        self,
        plan: Plan,
        chain: ChainSpec,
        log: TransitionLog,
        folder: Path,
        clock: Clock,
        board: BoardOptions,
        options: WatchOptions = WatchOptions(),
    ) -> None:
        """`folder` takes the readings, and below it in `state` the checkpoints."""
        self.board = Board(plan, chain, board)
        self.block = 0  # the next to be taken
        self.rows = 0  # rows of the log taken since its beginning
        self._plan, self._log, self._clock, self._options = plan, log, clock, options
        self._declaration = _declaration(plan, chain, board)
        self._chain: str | None = None  # fingerprint of the blocks
        self._state = folder / "state"
        self._history = History(folder, options.history_bytes)
        self._window = window_name(min(board.windows)) if board.windows else None
        self._saved: int | None = None  # the block of the newest checkpoint
        self._last_shown = self._last_checkpoint = clock()

    def recover(self) -> int:
        """Take the newest checkpoint back, and return the block to go on from.

        Raises FingerprintMismatch if something else was watched, PositionOutOfRange if the log does not have that block.
        """
        saved = read_checkpoint(self._state)
        if saved is None:
            self.block = self._log.first()
            return self.block
        refuse_other(str(self._state), saved.facts["declaration"], self._declaration)
        self.board.restore(saved.arrays, saved.facts["board"])
        self.block, self.rows = saved.facts["block"], saved.facts["rows"]
        self._chain, self._saved = saved.facts["chain"], self.block
        self._check_position()
        self._note()
        return self.block

    def step(self) -> int:
        """Take the blocks that there are, and write what it is time to write. Returns how many rows were taken."""
        before = self.rows
        for header, transitions in islice(self._log.read(self.block), self._options.blocks):
            self._take(header, transitions)
        now = self._clock()
        if now - self._last_shown >= self._options.every:
            self.show()
        if now - self._last_checkpoint >= self._options.checkpoint_every:
            self.checkpoint()
        return self.rows - before

    def show(self) -> None:
        """Write the latest readings."""
        self._last_shown = self._clock()
        self._history.show(self.board.readings())

    def checkpoint(self) -> None:
        """Make the sums and the next block durable, then add the line that says what they hold."""
        self._last_checkpoint = self._clock()
        if self._saved == self.block:
            return
        arrays, board = self.board.state()
        facts = {
            "block": self.block,
            "rows": self.rows,
            "chain": self._chain,
            "declaration": self._declaration,
            "board": board,
        }
        write_checkpoint(self._state, self.block, arrays, facts)
        self._saved = self.block
        self._note()

    def close(self) -> None:
        """Write everything."""
        self.show()
        self.checkpoint()

    def _take(self, header: Header, transitions: Transitions) -> None:
        if self._chain not in (None, header.fingerprint):
            raise FingerprintMismatch(
                f"block {header.block} was told under another chain than the blocks before it; watch it in "
                "an empty folder"
            )
        self._chain = header.fingerprint
        found = outcomes(self._plan, transitions, self.board.options.slices)
        self.board.update(found, header.told_before)
        self.block, self.rows = header.block + 1, self.rows + len(transitions)

    def _note(self) -> None:
        line = line_of(self.block, self.board.readings(), self._window)
        if line is not None:
            self._history.append(line)

    def _check_position(self) -> None:
        first, after = self._log.first(), self._log.next()
        if not first <= self.block <= after:
            raise PositionOutOfRange(
                f"{self._state} goes on with block {self.block}, but the log holds {first} to {after - 1}: put the log "
                "back, or move the folder away to watch the log from its beginning"
            )


def _declaration(plan: Plan, chain: ChainSpec, options: BoardOptions) -> Mapping[str, Any]:
    """Return what the sums depend on."""
    declared = {
        "outputs": lives(plan, chain),
        "windows": list(options.windows),
        "slices": list(options.slices),
        "max_slices": options.max_slices,
    }
    text = msgspec.json.encode(declared, order="deterministic")
    return declared | {"fingerprint": hashlib.sha256(text).hexdigest()}

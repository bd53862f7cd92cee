"""Orders of effects that are wrong, to show that the suite would see them. A child of the nursery can be made to have one."""

from collections.abc import Callable, Mapping
from typing import Any


def state_ahead_of_the_log() -> None:
    """The state is checkpointed, as that of the block to be written, before the block is."""
    from stream_mtl.join.worker import JoinWorker

    append = JoinWorker.commit

    def commit(self: Any) -> None:
        self._tell()
        if self._told:
            told, self._told = self._told, []
            self.checkpoint()
            self._told = told
        append(self)

    JoinWorker.commit = commit  # type: ignore[method-assign]


def letters_behind_the_block() -> None:
    """A block is durable before the dead letters of its records are."""
    from stream_mtl.connectors.letters import DeadLetters
    from stream_mtl.join.worker import JoinWorker

    flush, commit = DeadLetters.flush, JoinWorker.commit
    DeadLetters.flush = lambda self: None  # type: ignore[method-assign]

    def then(self: Any) -> None:
        commit(self)
        flush(self._letters)

    JoinWorker.commit = then  # type: ignore[method-assign]


def places_ahead_of_the_weights() -> None:
    """The trainer keeps where it has read to before it has learned from there."""
    from stream_mtl.learn.worker import TrainWorker

    take = TrainWorker._take

    def then(self: Any, portion: Any) -> None:
        self._rows += len(portion)
        self.checkpoint()
        self._rows -= len(portion)
        take(self, portion)

    TrainWorker._take = then  # type: ignore[method-assign]


def latest_ahead_of_the_snapshot() -> None:
    """A snapshot is the latest before it is there."""
    from stream_mtl.durable import replace_file
    from stream_mtl.publish.store import SnapshotFolder

    put = SnapshotFolder.put

    def then(self: Any, snapshot: Any) -> None:
        self._folder.mkdir(parents=True, exist_ok=True)
        replace_file(self._folder / "LATEST", f"{snapshot.manifest.version:06d}\n".encode())
        put(self, snapshot)

    SnapshotFolder.put = then  # type: ignore[method-assign]


WRONG: Mapping[str, Callable[[], None]] = {
    made.__name__: made
    for made in (
        state_ahead_of_the_log,
        letters_behind_the_block,
        places_ahead_of_the_weights,
        latest_ahead_of_the_snapshot,
    )
}

"""The joiners of one process, a partition each; those of other processes are others' business."""

from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager

import structlog

from stream_mtl.errors import Fenced, Unavailable
from stream_mtl.failpoints import reach
from stream_mtl.join.joiner import Partition
from stream_mtl.join.worker import JoinWorker

Accounts = Mapping[str, Mapping[str, int]]
"""Kind -> fate -> records."""


class Crew:
    """Joiners that take turns. Those who are given away write what they know first."""

    def __init__(
        self,
        build: Callable[[int], JoinWorker],
        gained: Callable[[int, JoinWorker], None] = lambda number, worker: None,
    ) -> None:
        """`build` opens the joiner of a partition, which then recovers; then `gained` is told."""
        self.workers: dict[int, JoinWorker] = {}
        self._build, self._gained = build, gained

    def gain(self, numbers: Collection[int]) -> None:
        """Take partitions over. Raises what `JoinWorker.recover` raises."""
        for number in sorted(set(numbers) - self.workers.keys()):
            worker = self._build(number)
            try:
                reach("crew.gain")
                again = worker.recover()
            except BaseException:
                worker.close()
                raise
            self.workers[number] = worker
            self._gained(number, worker)
            structlog.get_logger().info("partition_gained", partition=number, read_again=again)

    def lose(self, numbers: Collection[int]) -> None:
        """Commit, keep the state, and let go of partitions. Who is fenced already just lets go."""
        for number in sorted(self.workers.keys() & set(numbers)):
            worker = self.workers.pop(number)
            try:
                reach("crew.lose")
                worker.commit()
                worker.checkpoint()
                reach("crew.lost")
            except (Fenced, Unavailable) as error:
                structlog.get_logger().warning("partition_lost", partition=number, detail=str(error))
            finally:
                _close(number, worker)

    def drop(self) -> None:
        """Let go of all partitions as they are: what was not committed is read again."""
        while self.workers:
            _close(*self.workers.popitem())

    def step(self) -> int:
        """Let each do a step; returns how many records were read."""
        return sum(worker.step() for worker in self.workers.values())

    def ended(self) -> bool:
        """Return whether all have come to the end of their sources."""
        return bool(self.workers) and all(worker.ended() for worker in self.workers.values())

    def finish(self) -> None:
        """Tell what the end of input makes known. All tell up to the same time: they are parts of one stream."""
        end = max(worker.joiner.end() for worker in self.workers.values())
        for worker in self.workers.values():
            worker.finish(end)

    def commit(self) -> None:
        """Make durable what each has read. Raises Unavailable, Fenced."""
        for worker in self.workers.values():
            worker.commit()

    def rest(self) -> None:
        """Commit and keep the state: the process ends, and will go on."""
        for worker in self.workers.values():
            reach("crew.rest")
            worker.commit()
            reach("crew.rested")
            worker.checkpoint()

    def positions(self) -> dict[Partition, int]:
        """Return how far each source partition was committed."""
        return {place: at for worker in self.workers.values() for place, at in worker.committed.items()}

    def accounts(self) -> dict[str, dict[str, int]]:
        """Return the sum of all accounts."""
        return summed(worker.joiner.accounts() for worker in self.workers.values())


def _close(number: int, worker: JoinWorker) -> None:
    """Let go of a worker. Letters that cannot be written now are of records that no block has: they come again."""
    try:
        worker.close()
    except Unavailable as error:
        structlog.get_logger().warning("letters_put_off", partition=number, detail=str(error))


@contextmanager
def crew_of(
    build: Callable[[int], JoinWorker],
    gained: Callable[[int, JoinWorker], None] = lambda number, worker: None,
) -> Iterator[Crew]:
    """Give a crew, and let go of all its partitions afterwards."""
    crew = Crew(build, gained)
    try:
        yield crew
    finally:
        crew.drop()


def summed(several: "Iterator[Accounts]") -> dict[str, dict[str, int]]:
    """Return the sum of accounts."""
    total: dict[str, dict[str, int]] = {}
    for accounts in several:
        for kind, fates in accounts.items():
            held = total.setdefault(kind, {})
            for fate, count in fates.items():
                held[fate] = held.get(fate, 0) + count
    return total

"""Learners shared out among processes, each of which reads the log for itself."""

import multiprocessing
import signal
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, wait
from dataclasses import dataclass
from multiprocessing.sharedctypes import Synchronized
from multiprocessing.synchronize import Event
from pathlib import Path
from typing import Any, TypeVar

import torch

from stream_mtl.join.log import FileLog
from stream_mtl.join.transitions import Transitions
from stream_mtl.label.oracle import Truth, reads_ahead
from stream_mtl.learn.grades import Span
from stream_mtl.learn.panel import Graded, grade
from stream_mtl.learn.recipe import Recipe
from stream_mtl.processes.joined import Progress
from stream_mtl.processes.stop import Stop

Key = TypeVar("Key")

_LOOK = 0.2  # seconds between two looks at the processes


@dataclass(frozen=True, slots=True)
class Share:
    """Learners of one process, by whatever names they have."""

    recipes: Mapping[Any, Recipe]
    log: Path
    outputs: tuple[str, ...]
    span: Span


def run(shares: Sequence[Share], workers: int, stop: Stop, progress: Progress) -> dict[Any, Graded]:
    """Return what became of every learner. `progress` is told blocks learned, blocks to be learned, and learners."""
    learners = sum(len(share.recipes) for share in shares)
    blocks = FileLog(shares[0].log).next() * learners
    if workers < 2 or len(shares) < 2:
        done = 0

        def count(more: int) -> bool:
            nonlocal done
            done += more
            progress(done, blocks, learners)
            return not stop()

        return {name: one for share in shares for name, one in _learn(share, count).items()}
    return _in_processes(shares, workers, stop, lambda done: progress(done, blocks, learners))


def _in_processes(
    shares: Sequence[Share], workers: int, stop: Stop, progress: Callable[[int], None]
) -> dict[Any, Graded]:
    """The same by processes that are begun anew: torch does not outlive a fork."""
    context = multiprocessing.get_context("spawn")
    done, ended = context.Value("q", 0), context.Event()
    with ProcessPoolExecutor(min(workers, len(shares)), context, _begin, (done, ended)) as pool:
        futures: list[Future[dict[Any, Graded]]] = [pool.submit(_learn_there, share) for share in shares]
        left = set(futures)
        while left:
            left = wait(left, _LOOK).not_done
            progress(done.value)
            if stop():
                ended.set()
        return {name: one for future in futures for name, one in future.result().items()}


def _learn(share: Share, count: Callable[[int], bool]) -> dict[Any, Graded]:
    truth = _truth(share)
    recipes = {str(place): recipe for place, recipe in enumerate(share.recipes.values())}
    found = grade(recipes, _blocks(share.log), share.outputs, share.span, truth, lambda: count(len(recipes)))
    return dict(zip(share.recipes, found.values(), strict=True))


def _blocks(log: Path) -> Iterator[Transitions]:
    return (transitions for _, transitions in FileLog(log).read())


def _truth(share: Share) -> Truth | None:
    """Read the final labels of the log ahead, if anybody asks for them."""
    methods = [method for recipe in share.recipes.values() for method in recipe.plan.methods.values()]
    if not any(reads_ahead(method) for method in methods):
        return None
    truth = Truth(next(iter(share.recipes.values())).plan.tasks)
    for transitions in _blocks(share.log):
        truth.add(transitions)
    return truth


_done: "Synchronized[int]"
_ended: Event


def _begin(done: "Synchronized[int]", ended: Event) -> None:
    """Make a process ready: it is told by `ended` to end, not by Ctrl-C."""
    global _done, _ended
    _done, _ended = done, ended
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    torch.set_num_threads(1)
    torch.set_deterministic_debug_mode("error")


def _learn_there(share: Share) -> dict[Any, Graded]:
    def count(more: int) -> bool:
        with _done.get_lock():
            _done.value += more
        return not _ended.is_set()

    return _learn(share, count)

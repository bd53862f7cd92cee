"""Learning from the topic of transitions, beside learning the same blocks from memory; a process for every run."""

import hashlib
from collections.abc import Callable
from contextlib import closing
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

from stream_mtl.bench.apart import apart
from stream_mtl.bench.bus import new_topic
from stream_mtl.bench.measure import Compared, Run, by_turns, peak_megabytes, timed
from stream_mtl.bench.replays import market
from stream_mtl.clock import system_clock
from stream_mtl.config.load import Loaded, load
from stream_mtl.errors import StreamMtlError
from stream_mtl.join.feed import Feed
from stream_mtl.join.log import MemoryLog, TransitionLog
from stream_mtl.join.topic import TopicLog
from stream_mtl.learn.arrays import Arrays
from stream_mtl.learn.worker import TrainOptions, TrainWorker
from stream_mtl.processes.bus import log_of
from stream_mtl.processes.declared import declared
from stream_mtl.processes.join import join
from stream_mtl.processes.recipe import prepare_torch, recipe_of

Learned = tuple[int, str]
"""How many rows, and a digest of the weights."""


def bench_bus_train(bootstrap: str, impressions: int, rounds: int) -> Compared:
    """Join a market into a topic and learn it, from memory and from the topic, by turns. Raises StreamMtlError."""
    with TemporaryDirectory() as name:
        folder = Path(name)
        market(folder, impressions)
        options = (
            f"kafka.bootstrap_servers={bootstrap}",
            f"join.path=kafka:{new_topic(bootstrap, 'transitions')}",
        )
        loaded = load(folder / "config.toml", {}, options)
        join(loaded, lambda: False)
        with closing(_topic(loaded)) as log:
            rows = sum(len(transitions) for _, transitions in log.read())
        ways: dict[str, Callable[[], Run[Learned]]] = {
            "from memory": partial(apart, learn, folder, options, True),
            "from the topic": partial(apart, learn, folder, options, False),
        }
        seen: set[Learned] = set()

        def check(way: str, learned: Learned) -> None:
            seen.add(learned)
            if len(seen) > 1:
                raise StreamMtlError(f"{way}: the weights differ from those before; this is a bug")

        rates = by_turns(ways, rows, rounds, check)
    return Compared(f"{rows:,} rows of transitions learned", "rows", rates, peak_megabytes())


def learn(folder: Path, options: tuple[str, ...], before: bool) -> Run[Learned]:
    """Learn a log from its beginning to its end. With `before`, it is read into memory before time is taken."""
    loaded = load(folder / "config.toml", {}, options)
    made = declared(loaded)
    prepare_torch(made.config)
    with TemporaryDirectory() as name, closing(_topic(loaded)) as topic:
        feed = Feed({0: _in_memory(topic) if before else topic})
        worker = TrainWorker(
            recipe_of(made), feed, Path(name), lambda cut: None, system_clock, TrainOptions()
        )
        run = timed(lambda: _learn(worker))
    learned = worker.tally.examples, _digest(worker.trainer.learner.weights())
    return Run(learned, run.cpu, run.wall)


def _topic(loaded: Loaded) -> TopicLog:
    log = log_of(loaded.config, 0)
    assert isinstance(log, TopicLog)
    return log


def _in_memory(log: TransitionLog) -> MemoryLog:
    held = MemoryLog()
    held.blocks = list(log.read())
    return held


def _learn(worker: TrainWorker) -> None:
    worker.recover()
    while worker.step():
        pass
    worker.finish()


def _digest(weights: Arrays) -> str:
    digest = hashlib.sha256()
    for name in sorted(weights):
        digest.update(name.encode() + weights[name].tobytes())
    return digest.hexdigest()

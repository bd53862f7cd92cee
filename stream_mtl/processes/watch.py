"""The watcher as a process: the log of transitions in, readings of the served scores out."""

import time

from stream_mtl.clock import Clock, system_clock
from stream_mtl.config.load import Loaded
from stream_mtl.config.sections import Config
from stream_mtl.durable import claimed
from stream_mtl.errors import ConfigError
from stream_mtl.processes.bus import check_logs, feed_of
from stream_mtl.processes.declared import Declared, declared
from stream_mtl.processes.status import Facts, StatusFile
from stream_mtl.processes.stop import IDLE, Stop
from stream_mtl.watch.board import BoardOptions
from stream_mtl.watch.readings import Readings
from stream_mtl.watch.worker import WatchOptions, WatchWorker


def watch(loaded: Loaded, stop: Stop, clock: Clock = system_clock, follow: bool = False) -> Readings:
    """Watch the log until its present end, or with `follow` until `stop` says so; returns the readings."""
    made = declared(loaded)
    config = made.config
    if made.chain.before is None:
        raise ConfigError(
            "no kind of event is served scores, so there is nothing to watch; declare one with `before`, and [serve] log"
        )
    with claimed(config.watch.path), StatusFile(config.run.status, "watch", clock) as status:
        check_logs(made)
        worker = _worker(made, clock)
        worker.recover()
        while not stop():
            busy = worker.step()
            status.say(lambda: _facts(worker))
            if not busy and not follow:
                break
            if not busy:
                time.sleep(IDLE / 1_000)
        worker.close()
        status.end(_facts(worker))
        return worker.board.readings()


def board_options(config: Config) -> BoardOptions:
    """Return what a board keeps."""
    watch = config.watch
    return BoardOptions(watch.windows, watch.bins, watch.slices, watch.max_slices, watch.min_examples)


def _worker(made: Declared, clock: Clock) -> WatchWorker:
    watch = made.config.watch
    options = WatchOptions(every=watch.every, checkpoint_every=watch.checkpoint_every)
    feed = feed_of(made.config)
    return WatchWorker(made.plan, made.chain, feed, watch.path, clock, board_options(made.config), options)


def _facts(worker: WatchWorker) -> Facts:
    return {"rows": worker.rows, "blocks": worker.blocks}

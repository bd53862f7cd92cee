"""The watcher as a process: the log of transitions in, readings of the served scores out."""

import time
from contextlib import ExitStack, suppress

import msgspec

from stream_mtl.clock import Clock, system_clock
from stream_mtl.config.load import Loaded
from stream_mtl.config.sections import Config
from stream_mtl.connectors.base import Sink
from stream_mtl.durable import claimed
from stream_mtl.errors import ConfigError, Unavailable
from stream_mtl.join.feed import Feed
from stream_mtl.processes.bus import check_logs, closed_on_error, feed_of, idle_of, sink_of
from stream_mtl.processes.declared import Declared, declared
from stream_mtl.processes.metrics import MetricsPage
from stream_mtl.processes.outage import Outage
from stream_mtl.processes.status import Facts, StatusFile
from stream_mtl.processes.stop import Stop
from stream_mtl.watch.board import BoardOptions
from stream_mtl.watch.exporter import watch_metrics
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
    with (
        claimed(config.watch.path),
        StatusFile(config.run.status, "watch", clock) as status,
        MetricsPage("watch", config.run.metrics_host, config.watch.metrics_port, clock) as page,
        ExitStack() as held,
    ):
        outage = Outage(config.kafka.startup_timeout, lambda problem: _say(status, page, problem))
        outage.until_done(lambda: check_logs(made), stop)
        worker = outage.until_done(lambda: _recovered(made, clock), stop)
        if worker is None:
            return Readings(None, {})
        held.callback(worker.release)
        outage.says = lambda problem: _say(status, page, problem, worker)
        page.begin(lambda: watch_metrics(worker))
        sink = _readings(config)
        if sink is not None:
            held.callback(sink.close)
        while not stop():
            busy = outage.unless_away(worker.step, stop)
            if sink is not None:
                outage.unless_away(lambda: sink.step(worker), stop)
            _say(status, page, outage.problem, worker)
            if busy is False and not follow:
                break
            if not busy:
                time.sleep(idle_of(config) / 1_000)
        worker.close()
        status.end(_facts(worker))
        return worker.board.readings()


def _say(
    status: StatusFile, page: MetricsPage, problem: str | None, worker: WatchWorker | None = None
) -> None:
    """Say how it goes, also before there is a worker."""
    status.say(lambda: {} if worker is None else _facts(worker), problem)
    page.say(lambda: [] if worker is None else watch_metrics(worker), problem)


class _Readings:
    """Sends readings to a topic, one record each time that a checkpoint was made."""

    def __init__(self, sink: Sink) -> None:
        self._sink, self._rows = sink, -1

    def step(self, worker: WatchWorker) -> None:
        """Send what was not sent. Raises Unavailable: it is held, and sent the next time."""
        if worker.saved is not None and worker.saved != self._rows:
            self._rows = worker.saved
            self._sink.add(msgspec.json.encode(worker.board.readings()))
        self._sink.flush()

    def close(self) -> None:
        """Let go of the sink, whatever it still holds."""
        with suppress(Unavailable):
            self._sink.close()


def _readings(config: Config) -> _Readings | None:
    return None if config.watch.readings is None else _Readings(sink_of(config, config.watch.readings))


def _recovered(made: Declared, clock: Clock) -> WatchWorker:
    with closed_on_error(feed_of(made.config)) as feed:
        worker = _worker(made, feed, clock)
        worker.recover()
    return worker


def board_options(config: Config) -> BoardOptions:
    """Return what a board keeps."""
    watch = config.watch
    return BoardOptions(watch.windows, watch.bins, watch.slices, watch.max_slices, watch.min_examples)


def _worker(made: Declared, feed: Feed, clock: Clock) -> WatchWorker:
    watch = made.config.watch
    options = WatchOptions(every=watch.every, checkpoint_every=watch.checkpoint_every)
    return WatchWorker(made.plan, made.chain, feed, watch.path, clock, board_options(made.config), options)


def _facts(worker: WatchWorker) -> Facts:
    return {"rows": worker.rows, "blocks": worker.blocks}

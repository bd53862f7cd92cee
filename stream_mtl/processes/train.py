"""The trainer as a process: the log of transitions in, snapshots out."""

import platform
import time
from contextlib import ExitStack
from datetime import UTC, datetime
from typing import Any

import numpy as np
import torch

from stream_mtl import __version__
from stream_mtl.clock import Clock, system_clock
from stream_mtl.config.load import Loaded
from stream_mtl.config.sections import Config
from stream_mtl.durable import claimed
from stream_mtl.errors import ConfigError
from stream_mtl.failpoints import reach
from stream_mtl.join.feed import Feed
from stream_mtl.label.oracle import Oracle, reads_ahead
from stream_mtl.learn.exporter import train_metrics
from stream_mtl.learn.worker import TrainOptions, TrainWorker
from stream_mtl.processes.bus import check_logs, closed_on_error, feed_of, idle_of, kafka_of
from stream_mtl.processes.declared import Declared, declared
from stream_mtl.processes.everything import trainer_of
from stream_mtl.processes.metrics import MetricsPage
from stream_mtl.processes.outage import Outage
from stream_mtl.processes.recipe import prepare_torch, recipe_of
from stream_mtl.processes.status import Facts, StatusFile
from stream_mtl.processes.stop import Stop
from stream_mtl.publish.announce import Leader, owner_of
from stream_mtl.publish.exporter import publish_metrics
from stream_mtl.publish.publisher import Publisher
from stream_mtl.publish.store import SnapshotFolder


def train(loaded: Loaded, stop: Stop, clock: Clock = system_clock, follow: bool = False) -> Facts:
    """Learn from the log until its present end, or with `follow` until `stop` says so; returns what was done."""
    made = declared(loaded)
    config = made.config
    _refuse_oracle(made)
    prepare_torch(config)
    with (
        claimed(config.learn.path),
        StatusFile(config.run.status, trainer_of(made.name), clock) as status,
        MetricsPage("train", config.run.metrics_host, config.learn.metrics_port, clock) as page,
        ExitStack() as held,
    ):
        outage = Outage(config.kafka.startup_timeout, lambda problem: _wait(status, page, problem))
        outage.until_done(lambda: check_logs(made), stop)
        leader = outage.until_done(lambda: _leader(config, clock), stop)
        if leader is not None:
            held.callback(leader.close)
        publisher = _publisher(config, clock, leader)
        worker = outage.until_done(lambda: _recovered(made, publisher, clock, follow), stop)
        if worker is None:
            return {}
        held.callback(worker.close)
        outage.says = lambda problem: status.say(lambda: _facts(worker, publisher), problem)
        page.begin(lambda: train_metrics(worker, clock()))
        publisher.recover()
        while not stop():
            busy = outage.unless_away(worker.step, stop)
            publisher.retry()
            if leader is not None:
                outage.unless_away(leader.renew, stop)
            problem = outage.problem or publisher.problem
            status.say(lambda: _facts(worker, publisher), problem)
            page.say(lambda: (*train_metrics(worker, clock()), *publish_metrics(publisher)), problem)
            if busy is False and not follow:
                break
            if not busy:
                time.sleep(idle_of(config) / 1_000)
        _end(worker, goes_on=follow or stop())
        status.end(_facts(worker, publisher))
        return _facts(worker, publisher)


def _wait(status: StatusFile, page: MetricsPage, problem: str) -> None:
    """Say what is away before there is anything else to tell."""
    status.say(dict, problem)
    page.say(list, problem)


def _end(worker: TrainWorker, goes_on: bool) -> None:
    """Keep the state for another time, or learn what is left: the log has come to its end."""
    if goes_on:
        reach("train.rest")
        worker.checkpoint()
    else:
        worker.finish()


def _publisher(config: Config, clock: Clock, leader: Leader | None) -> Publisher:
    """Return what puts snapshots into the store, and announces them where there is somewhere to."""
    store, keep = SnapshotFolder(config.publish.path), config.publish.keep
    if leader is None:
        return Publisher(store, keep, lambda: made_by(config, clock))
    return Publisher(store, keep, lambda: made_by(config, clock), leader.announce)


def _leader(config: Config, clock: Clock) -> Leader | None:
    """Lead, where there is a topic to announce snapshots on. Raises Fenced, Unavailable."""
    if config.publish.announce is None:
        return None
    log = kafka_of(config).partition(config.publish.announce.name, 0)
    leader = Leader(log, owner_of(config.learn.path), clock)
    try:
        leader.lead()
    except BaseException:
        leader.close()
        raise
    return leader


def _recovered(made: Declared, publisher: Publisher, clock: Clock, follow: bool) -> TrainWorker:
    with closed_on_error(feed_of(made.config)) as feed:
        worker = _worker(made, feed, publisher, clock, follow)
        worker.recover(publisher.newest())
    return worker


def made_by(config: Config, clock: Clock) -> dict[str, Any]:
    """Return what varies between those who make equal snapshots."""
    return {
        "created_at": datetime.fromtimestamp(clock() / 1_000, UTC).isoformat(timespec="seconds"),
        "libraries": {
            "stream_mtl": __version__,
            "python": platform.python_version(),
            "torch": str(torch.__version__),
            "numpy": np.__version__,
        },
        "threads": config.learn.threads,
        "cpu": torch.backends.cpu.get_cpu_capability(),
    }


def _worker(made: Declared, feed: Feed, publisher: Publisher, clock: Clock, follow: bool) -> TrainWorker:
    learn = made.config.learn
    options = TrainOptions(
        snapshot_every=learn.snapshot_every,
        checkpoint_every=learn.checkpoint_every,
        flush_after=learn.flush_after if follow else None,
        snapshot_after=learn.snapshot_after if follow else None,
    )
    return TrainWorker(recipe_of(made), feed, learn.path, publisher.publish, clock, options)


def _refuse_oracle(made: Declared) -> None:
    for name, method in made.plan.methods.items():
        if reads_ahead(method):
            option = "method" if isinstance(method, Oracle) else "auxiliary"
            raise ConfigError(
                f'tasks.{name}.{option}: "oracle" reads ahead, which only a replay can; choose another one'
            )


def _facts(worker: TrainWorker, publisher: Publisher) -> Facts:
    tally, last = worker.tally, worker.last
    published = publisher.published
    return {
        "examples": tally.examples,
        "step": tally.steps,
        "blocks": worker.blocks,
        "upto": tally.upto if tally.steps else None,
        "loss": None if last is None else sum(last.loss.values()),
        "skipped": tally.skipped,
        "bad": tally.bad,
        "waiting": worker.trainer.waiting,
        "snapshot": None if published is None else published.version,
    }

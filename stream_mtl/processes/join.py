"""The joiner as a process: sources in, the log of transitions out."""

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from functools import partial

import structlog

from stream_mtl.clock import BEGINNING, Clock, Millis, system_clock
from stream_mtl.config.chains import limits
from stream_mtl.config.load import Loaded
from stream_mtl.connectors.base import Sink, Source
from stream_mtl.connectors.kafka import KafkaAdmin, Membership
from stream_mtl.connectors.letters import DeadLetters
from stream_mtl.durable import claimed
from stream_mtl.errors import ConfigError, NotWritten, Unavailable
from stream_mtl.events.codec import Codec
from stream_mtl.failpoints import reach
from stream_mtl.join.exporter import join_metrics
from stream_mtl.join.log import TransitionLog
from stream_mtl.join.silence import SilenceOptions
from stream_mtl.join.store import SegmentStore, SparedStore, StateStore
from stream_mtl.join.worker import JoinWorker, WorkerOptions
from stream_mtl.processes.bus import is_on_bus, kafka_of, log_of, schema_of, schemas_of_topics, sources
from stream_mtl.processes.crew import Accounts, Crew, crew_of
from stream_mtl.processes.declared import Declared, declared
from stream_mtl.processes.letters import dead_letters
from stream_mtl.processes.metrics import MetricsPage
from stream_mtl.processes.outage import Outage
from stream_mtl.processes.status import Facts, StatusFile
from stream_mtl.processes.stop import IDLE, IDLE_ON_BUS, Stop

_MIRROR: Millis = 5_000  # between two commits of group offsets, which are for lag tools only


def join(loaded: Loaded, stop: Stop, clock: Clock = system_clock, follow: bool = False) -> Accounts:
    """Run the joiners until their sources end or `stop` says so; returns the accounts.

    Live on a bus with several joiner partitions, they are shared with other processes of the same group.
    """
    made = declared(loaded)
    config = made.config
    kept: dict[int, SparedStore] = {}
    with (
        claimed(config.join.state),
        StatusFile(config.run.status, "join", clock) as status,
        MetricsPage("join", config.run.metrics_host, config.join.metrics_port, clock) as page,
        crew_of(
            lambda number: _worker(made, number, clock, follow, kept),
            lambda number, worker: page.begin(lambda: join_metrics({number: worker})),
        ) as crew,
    ):
        shift = _Shift(made, crew, kept, follow, clock)
        say = partial(_say, status, page, crew)
        outage = Outage(config.kafka.startup_timeout, say)
        rest, longest = IDLE, IDLE_ON_BUS if is_on_bus(config) else IDLE
        try:
            while not shift.finished and not stop():
                read = _turn(shift, outage, stop)
                say(outage.problem or shift.unkept, shift.idle)
                rest = IDLE if read else min(2 * rest, longest)
                if read == 0 and not crew.ended():
                    time.sleep(rest / 1_000)
            if not shift.finished:
                crew.rest()
            status.end(_facts(crew))
            return crew.accounts()
        finally:
            shift.close()


def _say(
    status: StatusFile, page: MetricsPage, crew: Crew, problem: str | None, idle: str | None = None
) -> None:
    """Say how it goes. One that has no partition is ready, and idle."""
    status.say(lambda: _facts(crew), problem or idle)
    page.say(lambda: join_metrics(crew.workers), problem)


def _turn(shift: "_Shift", outage: Outage, stop: Stop) -> int:
    """Let the joiners do a step; while something is away, let go of everything and wait.

    What a disk did not take is kept, to be written first: to read it all again each time would be for nothing.
    """
    try:
        read = shift.step()
    except NotWritten as error:
        shift.unwritten = True
        outage.wait(error, stop)
        return 0
    except Unavailable as error:
        shift.leave()
        outage.wait(error, stop)
        return 0
    outage.over()
    return read


class _Shift:
    """Which partitions this process works on: all, or what the group gives it."""

    def __init__(
        self, made: Declared, crew: Crew, kept: Mapping[int, SparedStore], follow: bool, clock: Clock
    ) -> None:
        self._made, self._crew, self._kept, self._clock = made, crew, kept, clock
        self.finished = False  # the sources have ended, and all that they make known is durable
        self.unwritten = False  # something is to be written before anything is read
        self._mirrors = follow and is_on_bus(made.config)
        self._shares = self._mirrors and made.config.join.partitions > 1
        self._ours = frozenset() if self._shares else frozenset(range(made.config.join.partitions))
        self._member: Membership | None = None
        self._admin: KafkaAdmin | None = None
        self._due = clock()

    @property
    def idle(self) -> str | None:
        """Why there is nothing to do, if there is nothing."""
        return (
            None if self._crew.workers else "no partition is ours: other joiners of the group have them all"
        )

    @property
    def unkept(self) -> str | None:
        """Why a joiner could not keep its state the last time, if one could not."""
        problems = (self._kept[number].problem for number in self._crew.workers)
        return next((problem for problem in problems if problem is not None), None)

    def step(self) -> int:
        """Take what is ours, and let each joiner do a step; at the end of all sources, finish."""
        if self._shares:
            self._share()
        if self.unwritten:
            self._crew.commit()
            self.unwritten = False
        self._crew.gain(self._ours)
        if self._crew.ended():
            self._crew.finish()
            self.finished = True
            return 0
        read = self._crew.step()
        if self._mirrors and self._clock() >= self._due:
            self._due = self._clock() + _MIRROR
            self._mirror()
        return read

    def leave(self) -> None:
        """Let go of everything; the next step begins anew."""
        self._crew.drop()
        self.close()

    def close(self) -> None:
        """Leave the group."""
        member, self._member, admin, self._admin = self._member, None, self._admin, None
        if self._shares:
            self._ours = frozenset()
        if member is not None:
            with suppress(Unavailable):
                member.close()
        if admin is not None:
            admin.close()

    def _share(self) -> None:
        """Ask the group. What it takes and gives back at once is not told: it is missing from the crew then."""
        if self._member is None:
            config = self._made.config
            self._member = kafka_of(config).member(
                config.kafka.group,
                self._topics(),
                self._crew.lose,
                session_timeout=config.kafka.session_timeout,
            )
        gained, lost = self._member.poll()
        self._ours = (self._ours - lost) | gained
        self._crew.lose(lost)
        reach("crew.between")

    def _mirror(self) -> None:
        """Tell the group how far we have come. Nobody reads it back; where it fails, it is told the next time."""
        at = self._crew.positions()
        known = {(source.partition(":")[2], n): next_ for (source, n), next_ in at.items() if next_ >= 0}
        reach("join.mirror")
        if self._member is not None:
            self._member.commit(known)
            return
        try:  # without members, a group takes what an administrator says
            self._admin = self._admin or kafka_of(self._made.config).admin()
            self._admin.reset_group(self._made.config.kafka.group, known)
        except (Unavailable, ConfigError) as error:
            structlog.get_logger().info("group_offsets_not_mirrored", detail=str(error))

    def _topics(self) -> list[str]:
        return [name.partition(":")[2] for name in dict.fromkeys(spec.source for spec in self._made.specs)]


def _worker(
    made: Declared, number: int, clock: Clock, follow: bool, kept: dict[int, SparedStore]
) -> JoinWorker:
    """Open the joiner of a partition; of all of them, if there is but one joiner."""
    config = made.config
    with ExitStack() as opened:
        log = log_of(config, number)
        opened.callback(log.close)
        only = number if config.join.partitions > 1 else None
        read = sources(made, follow, only)
        for source in read:
            opened.callback(source.close)
        letters = dead_letters(config, number, clock)
        kept[number] = SparedStore(SegmentStore(config.join.state / str(number)))
        worker = build(made, read, log, kept[number], letters, clock, follow, number)
        opened.pop_all()
    return worker


def build(
    made: Declared,
    sources: Sequence[Source],
    log: TransitionLog,
    store: StateStore,
    letters: DeadLetters,
    clock: Clock,
    follow: bool = False,
    partition: int = 0,
) -> JoinWorker:
    """Build a joiner from its parts, which it owns from then on."""
    return JoinWorker(
        made.chain,
        made.specs,
        sources,
        Codec(made.specs, limits(made.config), clock, schemas_of_topics(made), schema_of(made.config)),
        log,
        store,
        letters,
        clock,
        _options(made, follow),
        partition,
    )


@contextmanager
def join_worker(
    made: Declared,
    sources: Sequence[Source],
    log: TransitionLog,
    store: StateStore,
    letters: Sink,
    clock: Clock,
    follow: bool = False,
) -> Iterator[JoinWorker]:
    """Build a joiner, and close it and all that it was given afterwards."""
    worker = build(made, sources, log, store, DeadLetters(letters), clock, follow)
    try:
        yield worker
    finally:
        worker.close()


def _options(made: Declared, follow: bool) -> WorkerOptions:
    join = made.config.join
    return WorkerOptions(
        poll_rows=join.poll_rows,
        tell_rows=join.tell_rows,
        block_rows=join.block_rows,
        block_every=join.block_every,
        checkpoint_every=join.checkpoint_every,
        silence=SilenceOptions(join.idle_after, _patience(made)) if follow else None,
    )


def _patience(made: Declared) -> dict[str, Millis]:
    """Return how long each source may be silent. Missing scores teach nothing wrong, so they are waited for less."""
    join, before = made.config.join, made.chain.before
    scores = {spec.source for spec in made.specs if before is not None and spec.kind == before.name}
    others = {spec.source for spec in made.specs if before is None or spec.kind != before.name}
    short = dict.fromkeys(scores, join.idle_after)
    return short | dict.fromkeys(others, max(join.label_stall, join.idle_after))


def _facts(crew: Crew) -> Facts:
    accounts = crew.accounts()
    joiners = [worker.joiner for worker in crew.workers.values()]
    told = min((joiner.told_before for joiner in joiners), default=BEGINNING)
    newest = max(
        (mark for joiner in joiners if (mark := joiner.watermarks.greatest()) is not None), default=None
    )
    known = told != BEGINNING and newest is not None
    silent = frozenset().union(*(worker.silent for worker in crew.workers.values()))
    return {
        "events": sum(sum(counts.values()) for counts in accounts.values()),
        "waiting": sum(counts["waiting"] for counts in accounts.values()),
        "malformed": sum(counts["malformed"] for counts in accounts.values()),
        "exposures": sum(joiner.exposures.ring.next for joiner in joiners),
        "partitions": ", ".join(map(str, sorted(crew.workers))),
        "watermark_ms": told if known else None,
        "lag_ms": max(newest - told, 0) if known and newest is not None else None,
        "silent": ", ".join(sorted(silent)) or None,
    }

"""The joiner as a process: sources in, the log of transitions out."""

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from stream_mtl.clock import BEGINNING, Clock, Millis, system_clock
from stream_mtl.config.chains import limits
from stream_mtl.config.formats import file_formats
from stream_mtl.config.load import Loaded
from stream_mtl.config.sections import Config
from stream_mtl.connectors.append import JsonLinesSink
from stream_mtl.connectors.base import Sink, Source
from stream_mtl.connectors.files import FileSource
from stream_mtl.connectors.letters import DeadLetters
from stream_mtl.durable import claimed
from stream_mtl.errors import ConfigError
from stream_mtl.events.codec import Codec
from stream_mtl.join.log import FileLog, TransitionLog
from stream_mtl.join.silence import SilenceOptions
from stream_mtl.join.store import SegmentStore, StateStore
from stream_mtl.join.worker import JoinWorker, WorkerOptions
from stream_mtl.processes.declared import Declared, declared, log_folder, state_folder
from stream_mtl.processes.status import Facts, StatusFile
from stream_mtl.processes.stop import IDLE, Stop

Accounts = Mapping[str, Mapping[str, int]]
"""Kind -> fate -> records."""


def join(loaded: Loaded, stop: Stop, clock: Clock = system_clock, follow: bool = False) -> Accounts:
    """Run the joiner until its sources end or `stop` says so; returns the accounts."""
    made = declared(loaded)
    config = made.config
    log, store = log_folder(config), state_folder(config)
    with (
        claimed(log),
        StatusFile(config.run.status, "join", clock) as status,
        join_worker(
            made,
            sources(made, follow),
            FileLog(log),
            SegmentStore(store),
            dead_letters(config),
            clock,
            follow,
        ) as worker,
    ):
        worker.recover()
        while not worker.ended() and not stop():
            read = worker.step()
            status.say(lambda: _facts(worker))
            if read == 0 and not worker.ended():
                time.sleep(IDLE / 1_000)
        if worker.ended():
            worker.finish()
        else:
            worker.commit()
            worker.checkpoint()
        status.end(_facts(worker))
        return worker.joiner.accounts()


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
    worker = JoinWorker(
        made.chain,
        made.specs,
        sources,
        Codec(made.specs, limits(made.config), clock),
        log,
        store,
        DeadLetters(letters),
        clock,
        _options(made, follow),
    )
    try:
        yield worker
    finally:
        worker.close()


def sources(made: Declared, follow: bool = False) -> list[FileSource]:
    """Open the sources of all kinds; recorded events may lack the served scores. Raises ConfigError."""
    if follow:
        _make_room_for_scores(made.config)
    names = dict.fromkeys(spec.source for spec in made.specs)
    absent = None if follow else absent_scores(made)
    return [_source(made.config, name, follow) for name in names if name != absent]


def absent_scores(made: Declared) -> str | None:
    """Return the source of the served scores if it has no file, and nothing but scores would come from it."""
    before = made.chain.before
    if before is None:
        return None
    (name,) = {spec.source for spec in made.specs if spec.kind == before.name}
    shared = any(spec.source == name and spec.kind != before.name for spec in made.specs)
    return None if shared or _has_files(name.partition(":")[2]) else name


def _has_files(pattern: str) -> bool:
    path = Path(pattern)
    if path.is_dir():
        return any(inner.is_file() for inner in path.rglob("*"))
    return any(inner.is_file() for inner in Path(path.anchor).glob(str(path.relative_to(path.anchor))))


def dead_letters(config: Config) -> Sink:
    """Open the sink of records that are no events."""
    return JsonLinesSink(config.dead_letters.path)


def _source(config: Config, name: str, follow: bool) -> FileSource:
    scheme, _, rest = name.partition(":")
    if scheme != "files":
        raise ConfigError(f'source "{name}": only files: sources can be read by this version')
    return FileSource(name, rest, follow=follow, format=file_formats(config)[name])


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


def _make_room_for_scores(config: Config) -> None:
    """Let a joiner that is there before the scorer find the folder that the scorer will write to."""
    if config.serve.log is not None:
        Path(config.serve.log).mkdir(parents=True, exist_ok=True)


def _facts(worker: JoinWorker) -> Facts:
    joiner = worker.joiner
    accounts = joiner.accounts()
    told, newest = joiner.told_before, joiner.watermarks.greatest()
    known = told != BEGINNING and newest is not None
    return {
        "events": sum(sum(counts.values()) for counts in accounts.values()),
        "waiting": sum(counts["waiting"] for counts in accounts.values()),
        "malformed": sum(counts["malformed"] for counts in accounts.values()),
        "exposures": joiner.exposures.ring.next,
        "watermark_ms": told if known else None,
        "lag_ms": newest - told if known and newest is not None else None,
        "silent": ", ".join(sorted(worker.silent)) or None,
    }

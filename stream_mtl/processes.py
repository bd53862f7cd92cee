"""The processes: each builds its parts from the configuration and runs them until told to stop."""

import signal
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

from stream_mtl.clock import Clock, system_clock
from stream_mtl.config.chains import chain_spec, limits
from stream_mtl.config.columns import event_specs, read_schemas
from stream_mtl.config.load import Loaded
from stream_mtl.config.sections import Config
from stream_mtl.connectors.append import JsonLinesSink
from stream_mtl.connectors.base import Source
from stream_mtl.connectors.files import FileSource
from stream_mtl.connectors.letters import DeadLetters
from stream_mtl.connectors.peek import first_schema
from stream_mtl.errors import ConfigError
from stream_mtl.events.codec import Codec
from stream_mtl.events.types import EventSpec
from stream_mtl.join.digest import TransitionDigest
from stream_mtl.join.log import FileLog, TransitionLog
from stream_mtl.join.spec import ChainSpec
from stream_mtl.join.store import SegmentStore, StateStore
from stream_mtl.join.worker import JoinWorker, WorkerOptions
from stream_mtl.label.methods import make
from stream_mtl.label.plan import Plan

Stop = Callable[[], bool]
"""Asked between steps: should the process end now?"""


@dataclass(frozen=True, slots=True)
class Declared:
    """What a configuration declares, worked out: the chain, its events, and what the tasks teach."""

    chain: ChainSpec
    specs: list[EventSpec]
    plan: Plan


def declared(loaded: Loaded) -> Declared:
    """Work a configuration out. Raises ConfigError."""
    config = loaded.config
    schemas = {**_schemas_of_files(config), **read_schemas(config)}
    bare = chain_spec(config)
    methods = {
        name: make(task.method.name, *task.method.waits)
        for name, task in config.tasks.items()
        if not next(t for t in bare.tasks if t.name == name).regression
    }
    plan = Plan(bare.tasks, methods)
    chain = chain_spec(config, plan.waits, plan.features_on_final)
    return Declared(chain, event_specs(config, schemas, loaded.document), plan)


def join(
    loaded: Loaded, stop: Stop, clock: Clock = system_clock, follow: bool = False
) -> dict[str, dict[str, int]]:
    """Run the joiner until its sources end or `stop` says so; returns the accounts."""
    config = loaded.config
    with join_worker(
        loaded, FileLog(log_folder(config)), SegmentStore(state_folder(config)), clock, follow
    ) as worker:
        worker.recover()
        while not worker.ended() and not stop():
            if worker.step() == 0 and not worker.ended():
                time.sleep(_IDLE_SECONDS)
        if worker.ended():
            worker.finish()
        else:
            worker.commit()
            worker.checkpoint()
        return worker.joiner.accounts()


_IDLE_SECONDS = 0.02  # between polls that found nothing


@contextmanager
def join_worker(
    loaded: Loaded, log: TransitionLog, store: StateStore, clock: Clock, follow: bool = False
) -> Iterator[JoinWorker]:
    """Build a joiner and its surroundings, and close them afterwards."""
    config, made = loaded.config, declared(loaded)
    sources = [_source(name, follow) for name in dict.fromkeys(spec.source for spec in made.specs)]
    options = WorkerOptions(
        poll_rows=config.join.poll_rows,
        tell_rows=config.join.tell_rows,
        block_rows=config.join.block_rows,
        block_every=config.join.block_every,
        checkpoint_every=config.join.checkpoint_every,
    )
    worker = JoinWorker(
        made.chain,
        made.specs,
        sources,
        Codec(made.specs, limits(config), clock),
        log,
        store,
        DeadLetters(JsonLinesSink(config.dead_letters.path)),
        clock,
        options,
    )
    try:
        yield worker
    finally:
        worker.close()


def digest(loaded: Loaded) -> dict[str, object]:
    """Return hashes of what a configuration's processes have made so far, for comparing runs."""
    log = FileLog(log_folder(loaded.config))
    hashed = TransitionDigest(declared(loaded).chain.features_on_final)
    last = None
    for header, transitions in log.read(log.first()):
        hashed.update(transitions)
        last = header
    accounts = last.accounts if last is not None else {}
    return {"transitions": hashed.value(), "rows": hashed.rows, "accounts": accounts}


def log_folder(config: Config) -> Path:
    """Return the folder of the log of joiner partition 0."""
    return Path(config.join.path) / "0"


def state_folder(config: Config) -> Path:
    """Return the folder of the state of joiner partition 0."""
    return Path(config.join.state) / "0"


@contextmanager
def stopped_by_signals() -> Iterator[Stop]:
    """Give a `Stop` that the first SIGTERM or SIGINT sets; a second one ends the process at once."""
    asked: list[int] = []
    before: Mapping[signal.Signals, object]

    def ask(number: int, _: FrameType | None) -> None:
        asked.append(number)
        for one in (signal.SIGTERM, signal.SIGINT):
            signal.signal(one, signal.SIG_DFL)

    before = {one: signal.signal(one, ask) for one in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield lambda: bool(asked)
    finally:
        for one, handler in before.items():
            signal.signal(one, handler)  # type: ignore[arg-type]


def _source(name: str, follow: bool) -> Source:
    scheme, _, rest = name.partition(":")
    if scheme != "files":
        raise ConfigError(f'source "{name}": only files: sources can be read by this version')
    return FileSource(name, rest, follow=follow)


def _schemas_of_files(config: Config) -> dict[str, bytes]:
    """Return the writer schema of each kind whose source is Avro container files that are there."""
    found = {}
    for kind, event in config.events.items():
        scheme, _, rest = event.source.partition(":")
        schema = first_schema(rest) if scheme == "files" else None
        if schema is not None:
            found[kind] = schema
    return found

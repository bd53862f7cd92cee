"""The scorer as a process: snapshots in, scores over HTTP and as events out."""

import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pyarrow as pa

from stream_mtl.clock import Clock, system_clock
from stream_mtl.config.load import Loaded
from stream_mtl.config.sections import Config
from stream_mtl.connectors.later import LateSink
from stream_mtl.errors import ConfigError
from stream_mtl.processes.bus import kafka_of, sink_of
from stream_mtl.processes.declared import Declared, declared
from stream_mtl.processes.recipe import prepare_torch, recipe_of
from stream_mtl.processes.status import Facts, StatusFile
from stream_mtl.processes.stop import Stop
from stream_mtl.publish.store import SnapshotFolder
from stream_mtl.serve.announced import Listener
from stream_mtl.serve.http import Service, application
from stream_mtl.serve.log import ScoreLog
from stream_mtl.serve.reload import Reloader
from stream_mtl.serve.requests import Messages
from stream_mtl.serve.scorer import Scorer
from stream_mtl.serve.server import calm_collector, run
from stream_mtl.serve.tokens import read_tokens


def serve(
    loaded: Loaded,
    stop: Stop,
    clock: Clock = system_clock,
    announce: Callable[[str, int], None] = lambda host, port: None,
) -> None:
    """Score until `stop` says so. `announce` is told host and port once requests are taken."""
    made = declared(loaded)
    config = made.config
    prepare_torch(config)
    with StatusFile(config.run.status, "serve", clock) as status:
        address: list[str] = []
        service = _service(made, clock)

        def told(host: str, port: int) -> None:
            calm_collector()
            address.append(f"http://{host}:{port}")
            announce(host, port)

        def stopping() -> bool:
            status.say(lambda: _facts(service, address), _problem(service))
            return stop()

        app = application(service, config.serve.max_body, config.serve.timeout)
        with _listening(config, service):
            run(app, config.serve.host, config.serve.port, stopping, told)
        status.end(_facts(service, address))


@contextmanager
def _listening(config: Config, service: Service) -> Iterator[None]:
    """Look for a snapshot as soon as it is announced, where it is."""
    topic = config.publish.announce
    if topic is None:
        yield
        return
    listener = Listener(lambda: kafka_of(config).partition(topic.name, 0), service.reloader.nudge)
    listener.start()
    try:
        yield
    finally:
        listener.close()


def _service(made: Declared, clock: Clock) -> Service:
    config = made.config
    recipe = recipe_of(made)
    scorer = Scorer(recipe)
    messages = Messages(recipe, _schema(made), config.serve.max_rows, clock, lambda: uuid.uuid4().hex)
    log = None
    if config.serve.log is not None:
        place = config.serve.log
        # Each file is whole at once, so that the joiner sees it; and a broker that is away does not stop a scorer.
        sink = LateSink(lambda: sink_of(config, place, roll=1))
        log = ScoreLog(sink, made.chain.key, messages, config.serve.log_every)
    tokens = None if config.serve.token_file is None else read_tokens(config.serve.token_file)
    reloader = Reloader(SnapshotFolder(config.publish.path), scorer, config.serve.poll_every, clock)
    return Service(scorer, reloader, messages, log, tokens, clock)


def _schema(made: Declared) -> pa.Schema:
    """Return the fields of the root event, which requests name theirs by."""
    if not made.chain.key:
        raise ConfigError("rows that bring their labels cannot be served yet: there is no exposure to score")
    return made.specs[0].schema


def _problem(service: Service) -> str | None:
    problem = service.reloader.problem
    return None if problem is None else problem.detail


def _facts(service: Service, address: list[str]) -> Facts:
    loaded, log = service.scorer.loaded, service.log
    return {
        "requests": service.timings.answered,
        "p50_ms": service.timings.millis(0.5),
        "p99_ms": service.timings.millis(0.99),
        "snapshot": None if loaded is None else loaded.version,
        "address": address[0] if address else None,
        "logged": None if log is None else log.written,
        "dropped": None if log is None else log.dropped,
    }

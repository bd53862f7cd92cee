"""What a configuration names, opened: sources, logs and sinks, on files or on a bus (never loads torch)."""

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path

from stream_mtl.clock import Millis
from stream_mtl.config.formats import file_formats, topic_formats
from stream_mtl.config.registry import schema_registry
from stream_mtl.config.secrets import secret_of
from stream_mtl.config.sections import Config
from stream_mtl.config.values import Topic as TopicName
from stream_mtl.connectors.append import JsonLinesSink
from stream_mtl.connectors.base import Format, Sink, Source
from stream_mtl.connectors.files import FileSource
from stream_mtl.connectors.history import History, Start, histories, named_start
from stream_mtl.connectors.kafka import Kafka
from stream_mtl.connectors.kafka_reader import Topic
from stream_mtl.connectors.numbered import ROLL
from stream_mtl.connectors.security import KafkaOptions
from stream_mtl.errors import ConfigError
from stream_mtl.events.readers import SchemaOf
from stream_mtl.join.feed import Feed
from stream_mtl.join.log import FileLog, TransitionLog
from stream_mtl.join.topic import TopicLog
from stream_mtl.processes.crew import summed
from stream_mtl.processes.declared import Declared, check_folder
from stream_mtl.processes.stop import IDLE, IDLE_ON_BUS


def kafka_of(config: Config) -> Kafka:
    """Return the broker of a configuration. Raises ConfigError."""
    kafka = config.kafka
    return Kafka(
        KafkaOptions(
            bootstrap_servers=kafka.bootstrap_servers,
            security=kafka.security,
            mechanism=kafka.mechanism,
            user=kafka.user,
            password=secret_of(kafka.password, kafka.password_file),
            ca_path=kafka.ca_path,
            cert_path=kafka.cert_path,
            key_file=kafka.key_file,
            allow_insecure_sasl=kafka.allow_insecure_sasl,
            request_timeout=kafka.request_timeout,
            delivery_timeout=2 * kafka.request_timeout,
            startup_timeout=kafka.connect_timeout,
        )
    )


def schema_of(config: Config) -> SchemaOf | None:
    """Return how the schema of an id is asked for; None without a registry. Raises ConfigError."""
    registry = schema_registry(config.kafka)
    return None if registry is None else registry.schema_of


def is_on_bus(config: Config) -> bool:
    """Return whether the sources are topics. Raises ConfigError where some are and some are not."""
    schemes = {event.source.partition(":")[0] for event in config.events.values()}
    if unknown := schemes - {"files", "kafka"}:
        raise ConfigError(
            f'source "{unknown.pop()}:": only files: and kafka: sources can be read by processes'
        )
    if len(schemes) > 1:
        raise ConfigError("events: some sources are files and some are topics; let all be of one kind")
    return schemes == {"kafka"}


def idle_of(config: Config) -> Millis:
    """Return how long a reader of the log rests when it found nothing to do."""
    return IDLE_ON_BUS if isinstance(config.join.path, TopicName) else IDLE


def sources(made: Declared, follow: bool, partition: int | None = None) -> list[Source]:
    """Open the sources of all kinds: all partitions, or one of each. Recorded events may lack the served scores.

    Raises ConfigError, Unavailable.
    """
    if is_on_bus(made.config):
        return _topics(made, follow, partition)
    return [*file_sources(made, follow, partition)]


def file_sources(made: Declared, follow: bool = False, partition: int | None = None) -> list[FileSource]:
    """Open sources that are files, as `sources` does. Raises ConfigError if they are not."""
    config = made.config
    if is_on_bus(config):
        raise ConfigError(
            "events: the sources are topics; this command reads files: name them with --events PATH"
        )
    if follow:
        _make_room_for_scores(config)
    absent = None if follow else absent_scores(made)
    formats = file_formats(config)
    return [
        FileSource(name, name.partition(":")[2], follow=follow, format=formats[name], only=partition)
        for name in dict.fromkeys(spec.source for spec in made.specs)
        if name != absent
    ]


def absent_scores(made: Declared) -> str | None:
    """Return the source of the served scores if it has no file, and nothing but scores would come from it."""
    before = made.chain.before
    if before is None:
        return None
    (name,) = {spec.source for spec in made.specs if spec.kind == before.name}
    shared = any(spec.source == name and spec.kind != before.name for spec in made.specs)
    return None if shared or _has_files(name.partition(":")[2]) else name


def schemas_of_topics(made: Declared) -> Mapping[str, str]:
    """Return the writer schema of each topic whose records come without."""
    config = made.config
    return {
        event.source: event.schema_path.read_text()
        for event in config.events.values()
        if event.source.startswith("kafka:") and event.schema_path is not None
    }


def log_of(config: Config, partition: int) -> TransitionLog:
    """Open the log of one joiner partition. Raises ConfigError, Unavailable."""
    path = config.join.path
    if isinstance(path, TopicName):
        return TopicLog(kafka_of(config).partition(path.name, partition))
    return FileLog(path / str(partition))


def feed_of(config: Config) -> Feed:
    """Open what readers of the log are fed. Raises ConfigError, Unavailable."""
    with ExitStack() as opened:
        logs = {}
        for number in range(config.join.partitions):
            logs[number] = log_of(config, number)
            opened.callback(logs[number].close)
        opened.pop_all()
    return Feed(logs)


def accounts_of(config: Config) -> dict[str, dict[str, int]]:
    """Return the accounts of all joiners, as their last blocks have them."""
    found = []
    for number in range(config.join.partitions):
        with closing(log_of(config, number)) as log:
            found.append(log.last())
    return summed(header.accounts for header in found if header is not None)


@contextmanager
def closed_on_error(feed: Feed) -> Iterator[Feed]:
    """Give a feed; close it if what is done with it fails."""
    try:
        yield feed
    except BaseException:
        feed.close()
        raise


def check_logs(made: Declared) -> None:
    """Raise FingerprintMismatch, naming what differs, if a log was written under another configuration."""
    for number in range(made.config.join.partitions):
        with closing(log_of(made.config, number)) as log:
            if isinstance(log, TopicLog):
                log.check(made.declaration)
            elif isinstance(log, FileLog):
                check_folder(made, log.folder)


def sink_of(config: Config, place: Path | TopicName, roll: int = ROLL) -> Sink:
    """Open a folder, whose files are whole at `roll` bytes, or a topic, to write JSON to.

    Raises ConfigError, Unavailable.
    """
    if isinstance(place, TopicName):
        return kafka_of(config).sink(place.name)
    return JsonLinesSink(place, roll)


def _topics(made: Declared, follow: bool, partition: int | None) -> list[Source]:
    formats = topic_formats(made.config)
    schemas = schemas_of_topics(made)
    only = None if partition is None else (partition,)
    topics = {
        name: Topic(name.partition(":")[2], _format(formats[name], schemas.get(name)), only)
        for name in dict.fromkeys(spec.source for spec in made.specs)
    }
    kafka = kafka_of(made.config)
    opened = kafka.reader(topics, follow=follow).sources
    return [_with_history(made.config, kafka, source, partition) for source in opened.values()]


def _with_history(config: Config, kafka: Kafka, source: Source, partition: int | None) -> Source:
    """Let the files that hold the beginning of a topic come first, where there are such."""
    event = next(event for event in config.events.values() if event.source == source.name)
    if event.history is None:
        return source
    topic, pattern = source.name.partition(":")[2], event.history.partition(":")[2]
    start = named_start(source.name, pattern)
    if event.history_until is not None:
        start = _start_at(kafka, topic, event.history_until)
    if start is None:
        raise ConfigError(
            f"{source.name}: nothing says where the topic goes on behind its history; set history_until, or name the "
            "files TOPIC+PARTITION+OFFSET.*"
        )
    found = histories(event.history, pattern)
    return History({n: one for n, one in found.items() if partition in (None, n)}, source, start)


def _start_at(kafka: Kafka, topic: str, time: Millis) -> Start:
    def start(partition: int, rows: int) -> int:
        with closing(kafka.admin()) as admin:
            return admin.at(topic, time)[partition]

    return start


def _format(encoding: str, schema: str | None) -> Format:
    return Format(encoding, schema.encode() if schema is not None and encoding == "avro" else None)  # type: ignore[arg-type]


def _has_files(pattern: str) -> bool:
    path = Path(pattern)
    if path.is_dir():
        return any(inner.is_file() for inner in path.rglob("*"))
    return any(inner.is_file() for inner in Path(path.anchor).glob(str(path.relative_to(path.anchor))))


def _make_room_for_scores(config: Config) -> None:
    """Let a joiner that is there before the scorer find the folder that the scorer will write to."""
    if isinstance(config.serve.log, Path):
        config.serve.log.mkdir(parents=True, exist_ok=True)

"""The sections of a configuration: one class each, with every key, its default and its meaning."""

from typing import Annotated, Any, Literal, TypeAlias

from pydantic import Field, model_validator

from stream_mtl.clock import DAY, HOUR, MINUTE, SECOND
from stream_mtl.config.declarations import AnyFeature, Chain, Event, Task
from stream_mtl.config.section import Count, Counts, LevelWidths, Rate, Section, Widths
from stream_mtl.config.units import Duration, Size
from stream_mtl.config.values import FolderOrTopic, Listed, Names, PathInFolder, Secret, SecretPath, TopicName

MetricsPort: TypeAlias = Annotated[
    int | None,
    Field(
        ge=0, le=65_535, description="Port of /metrics, /healthz and /readyz; 0: any free one; absent: none."
    ),
]


class Model(Section):
    """The shape of the model: bottom, sharing, towers, relation."""

    name: Literal["logistic", "shared_bottom", "mmoe", "cgc", "ple"] = Field(
        default="shared_bottom", description="How the tasks share what is learned; logistic has no layers."
    )
    relation: Literal["independent", "esmm", "dbmtl", "gmsl", "aitm"] = Field(
        default="independent", description="How one task's output enters another's."
    )
    interaction: Literal["none", "deepfm", "dcn", "dcn_v2"] = Field(
        default="none", description="What the bottom makes of the features besides its layers."
    )
    bottom: Widths | None = Field(
        default=None,
        description="Widths of the bottom; []: the input itself; absent: [64, 32], under experts [].",
    )
    towers: Widths = Field(default=(32,), description="Widths of each tower's own layers.")
    crosses: Count = Field(default=2, description="dcn, dcn_v2: cross layers.")
    experts: Count = Field(default=4, description="mmoe: experts.")
    own_experts: Counts = Field(
        default=(2,), description="cgc, ple: experts of each task; a list: one number for each level."
    )
    shared_experts: Counts = Field(
        default=(2,), description="cgc, ple: experts of all tasks; a list: one number for each level."
    )
    expert: LevelWidths = Field(
        default=((64, 32),), description="Widths of each expert; a list of lists: for each level."
    )
    shared_expert: LevelWidths | None = Field(
        default=None, description="cgc, ple: widths of each expert of all tasks; absent: as `expert`."
    )
    levels: Count = Field(default=2, description="ple: levels.")
    gate: Widths = Field(default=(), description="Widths of each gate's hidden layers.")
    relation_widths: Widths = Field(
        default=(32,),
        description="dbmtl, aitm: widths of each task's layers there; gmsl: the width of the state.",
    )
    conditional: Literal["none", "clicks", "ips", "dr"] = Field(
        default="none", description="esmm: a loss on the conditional probability; ips and dr are ESCM2's."
    )
    conditional_weight: float = Field(default=1.0, ge=0, description="Its weight.")
    calibrator: float = Field(
        default=0.6, ge=0, description="aitm: weight of the loss of a later event likelier than an earlier."
    )
    norm: Literal["layer", "batch", "none"] = Field(
        default="layer", description="Normalisation in each layer."
    )
    activation: Literal["relu", "leaky_relu", "gelu", "tanh"] = Field(
        default="relu", description="After each layer."
    )
    dropout: float = Field(
        default=0.0, ge=0, lt=1, description="Share of activations dropped while learning."
    )


class Learn(Section):
    """The trainer: how the model learns, and how often what it learned is kept."""

    batch_size: Count = Field(default=256, description="Rows of the log in one minibatch.")
    learning_rate: Rate | None = Field(
        default=None, description="Step of the dense weights; absent: chosen by the batch size."
    )
    embedding_learning_rate: Rate = Field(default=5e-2, description="Step of the embedding rows.")
    denominator: Literal["rows", "weights", "present"] = Field(
        default="rows",
        description="What a task's loss is divided by: rows of the batch, their weights, those with a label.",
    )
    balance: Literal["fixed"] = Field(
        default="fixed", description="How the tasks' losses are weighed against each other."
    )
    clip_norm: Rate | None = Field(
        default=None, description="Greatest norm of the gradient; absent: not clipped."
    )
    evict_every: Count = Field(
        default=1_000, description="Minibatches between two looks for embedding rows that are too old."
    )
    predict_rows: Count = Field(default=4_096, description="Exposures predicted at once, at most.")
    seed: int = Field(default=0, ge=0, lt=1 << 63, description="Of all that is random.")
    threads: Count = Field(
        default=1, description="Threads of the trainer; part of what makes a run repeatable."
    )
    metrics_port: MetricsPort = None
    path: PathInFolder = Field(
        default="learner", validate_default=True, description="Folder of the trainer's checkpoints."
    )
    checkpoint_every: Duration = Field(default=MINUTE, description="Time between two checkpoints.")
    snapshot_every: Duration = Field(default=5 * MINUTE, description="Event time between two snapshots.")
    flush_after: Duration = Field(
        default=SECOND, description="Live only: an unfilled minibatch waits no longer."
    )
    snapshot_after: Duration = Field(
        default=2 * SECOND,
        description="Live only: what was learned is published no later, if that takes a tenth of the time at most.",
    )


class Limits(Section):
    """What a record may be at most; beyond, it is malformed and the stream goes on."""

    max_record_bytes: Size = Field(default=1 << 20, description="Of one record.")
    max_items: Count = Field(default=10_000, description="Of one array.")
    max_key_bytes: Size = Field(default=1_024, description="Of one key or id.")


class Join(Section):
    """The joiner: its log, its state, its patience."""

    path: FolderOrTopic = Field(
        default="log", validate_default=True, description="The log of transitions: a folder, or kafka:TOPIC."
    )
    partitions: Count = Field(
        default=1,
        description="Joiners: 1 joins all partitions of all sources, of several each joins one of every source.",
    )
    state: PathInFolder = Field(default="state", validate_default=True, description="Folder of checkpoints.")
    poll_rows: Count = Field(default=10_000, description="Records read of a source at a time.")
    tell_rows: Count = Field(
        default=32_768, description="Records read after which what became true is told, if no block is due."
    )
    block_rows: Count = Field(default=65_536, description="Rows of the log after which a block is written.")
    block_every: Duration = Field(
        default=SECOND, description="Live only: a block is written at least so often."
    )
    checkpoint_every: Duration = Field(
        default=MINUTE, description="Time between two checkpoints of the state."
    )
    idle_after: Duration = Field(
        default=30 * SECOND, description="A partition so long silent no longer holds others back."
    )
    label_stall: Duration = Field(
        default=10 * MINUTE, description="How long a kind that fell silent holds the watermark."
    )
    max_future_skew: Duration = Field(
        default=HOUR, description="An event further in the future than this is malformed."
    )
    limits: Limits = Field(default_factory=Limits, description="What a record may be at most.")
    metrics_port: MetricsPort = None


class Publish(Section):
    """Where snapshots go."""

    path: PathInFolder = Field(
        default="snapshots", validate_default=True, description="Folder of the snapshots."
    )
    keep: Count = Field(default=20, description="Snapshots that are kept.")
    announce: TopicName | None = Field(
        default=None,
        description="kafka:TOPIC where each snapshot is announced, by the one trainer that leads.",
    )


class Serve(Section):
    """The scorer."""

    host: str = Field(default="127.0.0.1", min_length=1, description="Address to listen on.")
    port: int = Field(default=8080, ge=0, le=65_535, description="Port to listen on; 0: any free one.")
    poll_every: Duration = Field(default=2 * SECOND, description="How often a new snapshot is looked for.")
    max_body: Size = Field(default=1 << 20, description="Of one request.")
    max_rows: Count = Field(default=1_000, description="Candidates in one request.")
    timeout: Duration = Field(default=5 * SECOND, description="For one request.")
    token_file: SecretPath | None = Field(
        default=None, description="File of accepted bearer tokens, one a line."
    )
    log: FolderOrTopic | None = Field(
        default=None,
        description="Where served scores are written as events: a folder, or kafka:TOPIC; absent: they are not.",
    )
    log_every: Duration = Field(default=SECOND, description="How often a file of served scores is completed.")


class Watch(Section):
    """What is measured of the served scores."""

    path: PathInFolder = Field(
        default="readings", validate_default=True, description="Folder of the readings."
    )
    readings: TopicName | None = Field(
        default=None, description="kafka:TOPIC that takes the readings too, a record each time they are kept."
    )
    every: Duration = Field(default=SECOND, description="Time between two readings.")
    checkpoint_every: Duration = Field(
        default=10 * SECOND, description="Time between two checkpoints, and two lines of the history."
    )
    windows: Annotated[tuple[Duration, ...], Listed] = Field(
        default=(HOUR, DAY), description="Sliding windows of event time, beside the whole life."
    )
    bins: Count = Field(default=10, description="Bins of the reliability diagram.")
    slices: Names = Field(default=(), description="Features by whose values readings are split.")
    max_slices: Count = Field(
        default=50, description="Values of one slice that are told apart; the rest is `other`."
    )
    min_examples: Count = Field(default=100, description="Below this many examples a reading is absent.")
    metrics_port: MetricsPort = None


class Run(Section):
    """What all processes have in common."""

    status: PathInFolder = Field(
        default="status", validate_default=True, description="Folder where each process says how it is."
    )
    metrics_host: str = Field(
        default="127.0.0.1",
        min_length=1,
        description="Address of the metrics_port of join, learn and watch; [serve] has its own.",
    )


class DeadLetters(Section):
    """Where records go that are no events."""

    path: FolderOrTopic = Field(
        default="dead-letters", validate_default=True, description="A folder, or kafka:TOPIC."
    )
    max_bytes: Size = Field(default=1 << 30, description="Beyond, the oldest are dropped.")
    keep: Duration = Field(default=7 * DAY, description="How long a dead letter is kept.")


class Kafka(Section):
    """The broker behind kafka: sources."""

    bootstrap_servers: str = Field(
        default="localhost:9092", min_length=1, description="Brokers, comma-separated."
    )
    group: str = Field(
        default="stream-mtl", min_length=1, description="Consumer group: a mirror for lag tools only."
    )
    session_timeout: Duration = Field(
        default=10 * SECOND, description="A joiner so long unheard of loses its partitions to the others."
    )
    startup_timeout: Duration = Field(
        default=5 * MINUTE, description="How long a broker may be away before a process that starts gives up."
    )
    connect_timeout: Duration = Field(
        default=10 * SECOND, description="How long a connection is tried before that counts as away."
    )
    registry_url: str | None = Field(
        default=None, min_length=1, description="Schema registry, with its path: https://registry:8081."
    )
    registry_cache: PathInFolder = Field(
        default="registry", validate_default=True, description="Folder of the schemas that it once gave."
    )
    registry_user: str | None = Field(default=None, min_length=1, description="The user there.")
    registry_password: Secret | None = Field(default=None, description="From the environment only.")
    registry_password_file: SecretPath | None = Field(
        default=None, description="File that holds the password there."
    )
    registry_token_file: SecretPath | None = Field(
        default=None, description="File that holds a bearer token, in place of a user."
    )
    registry_ca_path: PathInFolder | None = Field(
        default=None, description="Certificates to trust there, PEM; absent: as for the brokers."
    )
    registry_timeout: Duration = Field(
        default=5 * SECOND, description="How long one of its answers may take."
    )
    security: Literal["plaintext", "ssl", "sasl_plaintext", "sasl_ssl"] = Field(
        default="plaintext", description="How the connection is secured."
    )
    mechanism: Literal["plain", "scram-sha-256", "scram-sha-512"] = Field(
        default="scram-sha-512", description="How a user shows who he is (sasl_*)."
    )
    allow_insecure_sasl: bool = Field(
        default=False, description="Whether a password may be shown without TLS (sasl_plaintext)."
    )
    user: str | None = Field(default=None, min_length=1, description="The user (sasl_*).")
    password: Secret | None = Field(default=None, description="From the environment only.")
    password_file: SecretPath | None = Field(default=None, description="File that holds the password.")
    ca_path: PathInFolder | None = Field(default=None, description="Certificates to trust, PEM.")
    cert_path: PathInFolder | None = Field(default=None, description="Own certificate, PEM.")
    key_file: SecretPath | None = Field(default=None, description="Own private key, PEM.")
    request_timeout: Duration = Field(default=30 * SECOND, description="How long one answer may take.")


class Config(Section):
    """A whole configuration."""

    chain: Chain | None = Field(
        default=None, description="What belongs together; rows that come with their labels need none."
    )
    events: dict[str, Event] = Field(min_length=1, description="The kinds of event, by name.")
    tasks: dict[str, Task] = Field(min_length=1, description="What is learned, by name.")
    features: dict[str, AnyFeature] = Field(default={}, description="What is known at the exposure, by name.")
    challengers: dict[str, Names] = Field(
        default={},
        description="Learners beside the configured one, by name: what each has otherwise, as KEY=VALUE.",
        examples=[{"fresh": ["tasks.cvr.method=fnw", "learn.learning_rate=0.003"]}],
    )
    model: Model = Field(default_factory=Model)
    learn: Learn = Field(default_factory=Learn)
    join: Join = Field(default_factory=Join)
    publish: Publish = Field(default_factory=Publish)
    serve: Serve = Field(default_factory=Serve)
    watch: Watch = Field(default_factory=Watch)
    run: Run = Field(default_factory=Run)
    dead_letters: DeadLetters = Field(default_factory=DeadLetters)
    kafka: Kafka = Field(default_factory=Kafka)

    @model_validator(mode="before")
    @classmethod
    def _absent_sections(cls, data: Any) -> Any:
        # An absent section is read like an empty one, so that its default paths find their folder too.
        if not isinstance(data, dict):
            return data
        events = data.get("events")
        alone = isinstance(events, dict) and len(events) == 1  # rows with labels: there is nothing to chain
        return {key: {} for key in cls.model_fields if not (alone and key == "chain")} | data

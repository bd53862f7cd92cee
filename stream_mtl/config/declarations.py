"""What a user declares: the chain, its events, the tasks asked about them, and the features."""

from typing import Annotated, Literal, TypeAlias

from pydantic import Field

from stream_mtl.clock import HOUR
from stream_mtl.config.section import Count, Floats, Section, Widths
from stream_mtl.config.units import Duration
from stream_mtl.config.values import (
    Choices,
    HistoryFiles,
    Instant,
    Listed,
    Method,
    MethodName,
    Names,
    PathInFolder,
    Scalar,
    SourceName,
)
from stream_mtl.events.types import FieldType
from stream_mtl.join.spec import Aggregate


class Chain(Section):
    """What belongs together: one chain is everything known about one exposure."""

    key: Names = Field(
        min_length=1,
        description="The field or fields that every event of a chain carries.",
        examples=["exposure_id"],
    )
    lateness: Duration = Field(
        default=0, description="How far events may be out of order within one source partition."
    )
    remember: Duration = Field(
        default=HOUR,
        description="How long after the last moment a child could come an exposure is still known.",
    )
    max_events: Count = Field(
        default=1_000,
        description="Events of one kind in one exposure that count towards values; more are joined only.",
    )
    features_on_final: bool = Field(
        default=False, description="Whether `final` tellings carry the fields even if no method needs it."
    )


class Event(Section):
    """One kind of event. The root has no `after`; every other kind has `after` and `within`."""

    source: SourceName = Field(
        description="Where the events are: files:GLOB or kafka:TOPIC.",
        examples=["files:events/clicks/*.avro"],
    )
    history: HistoryFiles | None = Field(
        default=None,
        description="Of a topic: files:GLOB or folder of its partitions (0, 1, ...) with what came before; read first.",
        examples=["files:last-month/clicks"],
    )
    history_until: Instant | None = Field(
        default=None,
        description="The topic goes on with the first record whose broker time is not before this; not needed where "
        "the files are named TOPIC+PARTITION+OFFSET.*, as Kafka Connect does.",
    )
    format: Literal["csv", "jsonl", "json", "avro", "confluent-avro"] | None = Field(
        default=None,
        description="Of files whose names do not say it: csv, jsonl, avro. Of a topic: json, avro (by `schema`), "
        "confluent-avro (by a registry; the default where there is one, else json).",
    )
    columns: Annotated[tuple[str, ...], Listed] = Field(
        default=(), description="The names of a CSV file's columns, where it has no header line."
    )
    trim: bool = Field(default=False, description="Whether blanks around CSV values are not part of them.")
    time: str | None = Field(
        default=None,
        min_length=1,
        description="The field that holds the event time; rows that come with their labels may lack it.",
    )
    time_unit: Literal["s", "ms", "us", "ns"] = Field(
        default="ms", description="The unit of a numeric `time`."
    )
    time_format: str | None = Field(
        default=None, min_length=1, description="The strptime format of a textual `time` (UTC)."
    )
    id: str | None = Field(
        default=None, min_length=1, description="The field that makes two records the same event."
    )
    after: Names = Field(
        default=(), description="The kind or kinds that this one follows, the preferred first."
    )
    before: str | None = Field(
        default=None, description="The root, where this kind is the served scores of what it shows."
    )
    within: Duration | None = Field(
        default=None, description="How long after (or before) that event it still belongs to it, inclusive."
    )
    parent: str | None = Field(
        default=None, min_length=1, description="The field that holds the `id` of the event it follows."
    )
    skew: Duration = Field(
        default=0, description="How far it may precede the event it follows: clocks differ."
    )
    retracts: bool = Field(
        default=False,
        description="Whether it takes back the one event that it follows, which then does not count any more: a "
        "refund, an invalid click.",
    )
    where: dict[str, Scalar] = Field(
        default={}, description="Field values that tell this kind apart in a source shared by several."
    )
    fields: dict[str, FieldType] = Field(
        default={}, description="Types of fields, by name; they win over the schema's."
    )
    schema_path: PathInFolder | None = Field(
        default=None, alias="schema", description="An Avro schema file (.avsc) that says the fields' types."
    )


class Task(Section):
    """One question about an exposure: did `event` happen, or what was its `value`.

    Of rows that come with their labels, which are events of the only kind there is, it asks `where` or `value`.
    """

    event: str = Field(
        description="The kind of event that is the label, or the only kind, whose rows bring it.",
        examples=["click"],
    )
    where: dict[str, Choices] = Field(
        default={},
        description="Rows with labels: the label is 1 where the fields have these values, null where one is null.",
    )
    given: str | None = Field(
        default=None, description="The task on whose positives alone this one is defined."
    )
    value: str | None = Field(
        default=None, min_length=1, description="A numeric field of the event, to be predicted."
    )
    how: Aggregate = Field(default="first", description="How several events make one value.")
    less: str | None = Field(
        default=None,
        min_length=1,
        description="Of a sum: what is given back of it, as KIND.FIELD; the kind follows `event`.",
        examples=["refund.amount"],
    )
    absent: bool = Field(
        default=False,
        description="Whether the label is 1 where the event does not come: a conversion that was kept.",
    )
    method: MethodName = Field(
        default=Method("wait"),
        description='How late labels are treated: "wait" (to the end), "wait:15m", "fnw", ...',
    )
    auxiliary: Literal["stream", "oracle"] = Field(
        default="stream",
        description="When a method's auxiliary logits learn of a label: when it is final, or (replays only) at the look.",
    )
    auxiliary_until: Instant | None = Field(
        default=None,
        description="Event time from which on they learn no more: frozen, as published code has them.",
    )
    looks: Annotated[tuple[Duration, ...], Listed] = Field(
        default=(),
        description="Looks that the log holds besides those of the methods: for methods tried later on the same log.",
    )
    weight: float = Field(default=1.0, ge=0, description="The weight of the task's loss.")
    prior: float = Field(
        default=0.05, gt=0, lt=1, description="A label's probability before anything was learned."
    )
    transform: Literal["none", "log1p"] = Field(
        default="none", description="What is done to a value before it is learned."
    )
    loss: Literal["squared", "absolute", "huber", "sigmoid_squared", "ziln", "ziln_likelihood", "softmax"] = (
        Field(default="squared", description="The loss of a value task; labels have the method's loss.")
    )
    classes: int = Field(
        default=0,
        ge=0,
        le=100_000,
        description='loss = "softmax": classes; the value is 0, 1, ..., classes - 1.',
    )
    focal: float = Field(
        default=0.0,
        ge=0,
        le=100,
        description="Of a label: gamma of the focal loss; 0: the method's own loss.",
    )
    row_weight: str | None = Field(
        default=None,
        min_length=1,
        description="A numeric field of the root event: how much the row counts for this task; missing or below 0: 0.",
    )
    space: str | None = Field(
        default=None,
        min_length=1,
        description="Another task: this one's rows count by whether that is above 0.",
    )
    in_space_weight: float = Field(default=1.0, ge=0, description="Weight of a row where it is.")
    out_space_weight: float = Field(default=1.0, ge=0, description="Weight of a row where it is not.")
    tower: str | None = Field(
        default=None,
        min_length=1,
        description="The tower that it reads; tasks that name the same one share it; absent: its own.",
    )
    parents: Names | None = Field(
        default=None,
        description='relation = "dbmtl": the tasks whose hidden features it reads; absent: the one it is given.',
    )
    relation_widths: Widths | None = Field(
        default=None, description='relation = "dbmtl": widths of its layers there; absent: those of [model].'
    )


class Feature(Section):
    """What every feature has."""

    field: str | None = Field(
        default=None,
        min_length=1,
        description="The field of the root event; the feature's own name when absent.",
    )


class Categorical(Feature):
    """An id or a text, embedded."""

    type: Literal["categorical"] = Field(description="One value of an open set.", examples=["categorical"])
    dim: Count = Field(default=16, description="Width of the embedding.")
    buckets: Count | None = Field(
        default=None, description="Hash into so many rows; absent: a table that grows."
    )
    share: str | None = Field(default=None, description="The feature whose embedding table this one uses.")
    admit: Count = Field(
        default=1, description="How often an id must be seen before it gets a row of its own."
    )
    evict_after: Duration | None = Field(
        default=None, description="Event time after which an unseen id loses its row."
    )


class Numeric(Feature):
    """A number."""

    type: Literal["numeric"] = Field(
        description="A number, scaled or cut into buckets.", examples=["numeric"]
    )
    log1p: bool = Field(default=False, description="Take sign(x) log(1 + |x|) first.")
    limits: Annotated[Floats, Field(min_length=2, max_length=2)] | None = Field(
        default=None,
        description="Clip to [low, high] and scale to 0..1; absent: standardised as the stream goes.",
    )
    boundaries: Floats = Field(default=(), description="Cut into buckets here and embed the bucket.")
    dim: Count = Field(default=8, description="Width of the embedding of buckets.")


class Sequence(Feature):
    """Several ids or texts, embedded and pooled."""

    type: Literal["sequence"] = Field(description="An array of values of an open set.", examples=["sequence"])
    dim: Count = Field(default=16, description="Width of the embedding.")
    buckets: Count | None = Field(
        default=None, description="Hash into so many rows; absent: a table that grows."
    )
    share: str | None = Field(default=None, description="The feature whose embedding table this one uses.")
    admit: Count = Field(
        default=1, description="How often an id must be seen before it gets a row of its own."
    )
    evict_after: Duration | None = Field(
        default=None, description="Event time after which an unseen id loses its row."
    )
    pooling: Literal["mean", "sum", "max"] = Field(
        default="mean", description="How the embeddings become one."
    )
    max_items: Count = Field(default=50, description="Items that are used; the last ones.")


AnyFeature: TypeAlias = Annotated[Categorical | Numeric | Sequence, Field(discriminator="type")]

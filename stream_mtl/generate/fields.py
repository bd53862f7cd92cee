"""The fields of every kind of event that the market writes, as types, as Avro schemas and as a chain."""

from collections.abc import Mapping
from typing import Any

from stream_mtl.clock import DAY, HOUR, MINUTE, SECOND, Millis
from stream_mtl.events.types import FieldType
from stream_mtl.generate.options import GeneratorOptions
from stream_mtl.join.spec import ChainSpec, KindSpec, TaskSpec

KINDS = ("impression", "click", "conversion")
EVERY_KIND = (*KINDS, "refund", "invalid_click")
IDS: Mapping[str, str] = {
    "impression": "exposure_id",
    "click": "click_id",
    "conversion": "conversion_id",
    "refund": "refund_id",
    "invalid_click": "invalid_id",
}
PURPOSES: Mapping[str, str] = {kind: f"{kind}s" for kind in EVERY_KIND} | {
    "impression": "exposures"
}  # of `ids`
AFTER: Mapping[str, str] = {
    "click": "impression",
    "conversion": "click",
    "refund": "conversion",
    "invalid_click": "click",
}
TIME = "ts"


def kinds(options: GeneratorOptions) -> tuple[str, ...]:
    """Return the kinds that a market writes, each behind what it follows, the root first."""
    absent = {
        "impression": options.root == "click",
        "refund": options.refund_rate == 0,
        "invalid_click": options.invalid_rate == 0,
    }
    return tuple(kind for kind in EVERY_KIND if not absent.get(kind))


def named_parent(options: GeneratorOptions, kind: str) -> str | None:
    """Return the field by which a kind names what it follows, None where it is found by its key."""
    named = {"conversion": options.conversion_names_click, "refund": True, "invalid_click": True}
    return IDS[AFTER[kind]] if named.get(kind) else None


def retracts(options: GeneratorOptions, kind: str) -> bool:
    """Return whether a kind takes back what it follows. Nothing takes an exposure back."""
    return {"refund": options.refund_retracts, "invalid_click": options.root != "click"}.get(kind, False)


def event_fields(options: GeneratorOptions, kind: str) -> dict[str, FieldType]:
    """Return the fields of a kind in the order in which they are written; the time is ms since 1970."""
    if kind == options.root:
        return _root(options)
    return {
        "click": _click,
        "conversion": _conversion,
        "refund": _refund,
        "invalid_click": _invalid_click,
    }[kind](options)


def features(options: GeneratorOptions) -> dict[str, str]:
    """Return what a model may learn from: the type of each feature as a configuration names it."""
    kinds: Mapping[FieldType, str] = {
        "long": "categorical",
        "string": "categorical",
        "double": "numeric",
        "array<long>": "sequence",
        "array<string>": "sequence",
    }
    bookkeeping = ("exposure_id", "click_id", "request_id", TIME)
    fields = event_fields(options, options.root)
    return {name: kinds[type_] for name, type_ in fields.items() if name not in bookkeeping}


def avro_schema(options: GeneratorOptions, kind: str) -> dict[str, Any]:
    """Return the Avro schema of a kind's records."""
    return {
        "type": "record",
        "name": kind.title().replace("_", ""),
        "namespace": "stream_mtl",
        "fields": [
            {"name": name, "type": _avro_type(name, type_)}
            for name, type_ in event_fields(options, kind).items()
        ],
    }


def chain_spec(options: GeneratorOptions) -> ChainSpec:
    """Return the chain for which the truth is told, with the tasks ctr (of impressions), cvr and order_value.

    Where orders are given back and stay orders all the same, there is a task refund; where they do not, order_value is
    what is left of them, of every click.
    """
    return ChainSpec(
        key=options.chain_key,
        kinds=tuple(_kind(options, kind) for kind in kinds(options)),
        tasks=_tasks(options),
        lateness=options.lateness,
        remember=options.remember,
    )


def _kind(options: GeneratorOptions, kind: str) -> KindSpec:
    if kind == options.root:
        return KindSpec(kind, id=IDS[kind])
    return KindSpec(
        kind,
        (AFTER[kind],),
        window_of(options, kind),
        options.skew,
        IDS[kind],
        named_parent(options, kind),
        retracts(options, kind),
    )


def duration(millis: Millis) -> str:
    """Return a time as a number and the largest unit that it is whole in, like 15m."""
    units = {"d": DAY, "h": HOUR, "m": MINUTE, "s": SECOND, "ms": 1}
    unit = next(name for name, size in units.items() if millis % size == 0)
    return f"{millis // units[unit]}{unit}" if millis else "0s"


def window_of(options: GeneratorOptions, kind: str) -> Millis:
    """Return how long after what it follows a kind counts."""
    return {
        "click": options.click_within,
        "conversion": options.conversion_within,
        "refund": options.refund_within,
        "invalid_click": options.invalid_within,
    }[kind]


def _tasks(options: GeneratorOptions) -> tuple[TaskSpec, ...]:
    clicks = (TaskSpec("ctr", "click"),) if options.root != "click" else ()
    given = "ctr" if clicks else None
    cvr = TaskSpec("cvr", "conversion", given=given)
    value = TaskSpec("order_value", "conversion", given="cvr", value="amount")
    if "refund" not in kinds(options):
        return (*clicks, cvr, value)
    if not retracts(options, "refund"):
        return (*clicks, cvr, value, TaskSpec("refund", "refund", given="cvr"))
    net = TaskSpec(
        "order_value", "conversion", given=given, value="amount", how="sum", less=("refund", "amount")
    )
    return (*clicks, cvr, net)


def _root(options: GeneratorOptions) -> dict[str, FieldType]:
    name: FieldType = "string" if options.texts else "long"
    names: FieldType = "array<string>" if options.texts else "array<long>"
    fields: dict[str, FieldType] = {IDS[options.root]: "string", TIME: "long"}
    if options.slate > 1:
        fields |= {"request_id": "string"}
    fields |= {"user_id": "long", "item_id": "long", "category": name, "brand": name}
    fields |= {"device": name, "country": name, "placement": name, "hour": "long"}
    fields |= {"price": "double", "activity": "double", "age_days": "double", "relevance": "double"}
    if options.slate > 1:
        fields |= {"position": "long"}
    if options.history > 0:
        fields |= {"recent_categories": names}
    return fields


def _click(options: GeneratorOptions) -> dict[str, FieldType]:
    return {"click_id": "string", TIME: "long", **_of_exposure(options), "screen_x": "double"}


def _conversion(options: GeneratorOptions) -> dict[str, FieldType]:
    head: dict[str, FieldType] = {"conversion_id": "string", TIME: "long", "click_id": "string"}
    return {**head, **_of_exposure(options), "amount": "double"}


def _refund(options: GeneratorOptions) -> dict[str, FieldType]:
    head: dict[str, FieldType] = {"refund_id": "string", TIME: "long", "conversion_id": "string"}
    return {**head, **_of_exposure(options), "amount": "double"}


def _invalid_click(options: GeneratorOptions) -> dict[str, FieldType]:
    head: dict[str, FieldType] = {"invalid_id": "string", TIME: "long", "click_id": "string"}
    return {**head, **_of_exposure(options), "confidence": "double"}


def _of_exposure(options: GeneratorOptions) -> dict[str, FieldType]:
    """Return what every event says of its exposure: its id, which of a click may stand there already, and its pair."""
    return {IDS[options.root]: "string", "user_id": "long", "item_id": "long"}


def _avro_type(name: str, type_: FieldType) -> Any:
    if name == TIME:
        return {"type": "long", "logicalType": "timestamp-millis"}
    if type_.startswith("array<"):
        return {"type": "array", "items": type_[len("array<") : -1]}
    return type_

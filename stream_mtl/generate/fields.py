"""The fields of every kind of event that the market writes, as types, as Avro schemas and as a chain."""

from collections.abc import Mapping
from typing import Any

from stream_mtl.events.types import FieldType
from stream_mtl.generate.options import GeneratorOptions
from stream_mtl.join.spec import ChainSpec, KindSpec, TaskSpec

KINDS = ("impression", "click", "conversion")
IDS: Mapping[str, str] = {
    "impression": "exposure_id",
    "click": "click_id",
    "conversion": "conversion_id",
}
TIME = "ts"


def event_fields(options: GeneratorOptions, kind: str) -> dict[str, FieldType]:
    """Return the fields of a kind in the order in which they are written; the time is ms since 1970."""
    return {"impression": _impression, "click": _click, "conversion": _conversion}[kind](options)


def features(options: GeneratorOptions) -> dict[str, str]:
    """Return what a model may learn from: the type of each feature as a configuration names it."""
    kinds: Mapping[FieldType, str] = {
        "long": "categorical",
        "string": "categorical",
        "double": "numeric",
        "array<long>": "sequence",
        "array<string>": "sequence",
    }
    bookkeeping = ("exposure_id", "request_id", TIME)
    fields = event_fields(options, "impression")
    return {name: kinds[type_] for name, type_ in fields.items() if name not in bookkeeping}


def avro_schema(options: GeneratorOptions, kind: str) -> dict[str, Any]:
    """Return the Avro schema of a kind's records."""
    return {
        "type": "record",
        "name": kind.capitalize(),
        "namespace": "stream_mtl",
        "fields": [
            {"name": name, "type": _avro_type(name, type_)}
            for name, type_ in event_fields(options, kind).items()
        ],
    }


def chain_spec(options: GeneratorOptions) -> ChainSpec:
    """Return the chain for which the truth is told, with the tasks ctr, cvr and order_value."""
    click = KindSpec("click", ("impression",), options.click_within, options.skew, IDS["click"])
    parent = IDS["click"] if options.conversion_names_click else None
    conversion = KindSpec(
        "conversion", ("click",), options.conversion_within, options.skew, IDS["conversion"], parent
    )
    return ChainSpec(
        key=options.key,
        kinds=(KindSpec("impression", id=IDS["impression"]), click, conversion),
        tasks=(
            TaskSpec("ctr", "click"),
            TaskSpec("cvr", "conversion", given="ctr"),
            TaskSpec("order_value", "conversion", given="cvr", value="amount"),
        ),
        lateness=options.lateness,
        remember=options.remember,
    )


def _impression(options: GeneratorOptions) -> dict[str, FieldType]:
    name: FieldType = "string" if options.texts else "long"
    names: FieldType = "array<string>" if options.texts else "array<long>"
    fields: dict[str, FieldType] = {"exposure_id": "string", TIME: "long"}
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
    return {"click_id": "string", TIME: "long", **_OF_EXPOSURE, "screen_x": "double"}


def _conversion(options: GeneratorOptions) -> dict[str, FieldType]:
    return {
        "conversion_id": "string",
        TIME: "long",
        "click_id": "string",
        **_OF_EXPOSURE,
        "amount": "double",
    }


_OF_EXPOSURE: Mapping[str, FieldType] = {"exposure_id": "string", "user_id": "long", "item_id": "long"}


def _avro_type(name: str, type_: FieldType) -> Any:
    if name == TIME:
        return {"type": "long", "logicalType": "timestamp-millis"}
    if type_.startswith("array<"):
        return {"type": "array", "items": type_[len("array<") : -1]}
    return type_

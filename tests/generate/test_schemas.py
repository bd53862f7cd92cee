"""The reference schemas are what the market writes, and what the reader can read."""

import json
from pathlib import Path
from typing import Any

import fastavro
import msgspec
import pytest

from stream_mtl.generate.fields import EVERY_KIND, avro_schema, chain_spec
from stream_mtl.generate.options import GeneratorOptions
from stream_mtl.join.transitions import rows_schema
from stream_mtl.publish.snapshot import Manifest

SCHEMAS = Path(__file__).parents[2] / "schemas"


def reference(kind: str) -> Any:
    return json.loads((SCHEMAS / f"{kind}.avsc").read_text())


def without_words(schema: Any) -> Any:
    fields = [{"name": field["name"], "type": field["type"]} for field in schema["fields"]]
    return {name: value for name, value in schema.items() if name != "doc"} | {"fields": fields}


@pytest.mark.parametrize("kind", EVERY_KIND)
def test_the_market_writes_by_the_reference_schema(kind: str) -> None:
    options = GeneratorOptions(refund_rate=0.1, invalid_rate=0.1)
    assert without_words(reference(kind)) == avro_schema(options, kind)


@pytest.mark.parametrize("kind", [*EVERY_KIND, "scored", "transition"])
def test_every_schema_is_valid_and_every_field_has_its_words(kind: str) -> None:
    fastavro.parse_schema(reference(kind))
    assert all(field["doc"] for field in reference(kind)["fields"])


def test_a_score_names_the_exposure_by_the_same_field_as_the_impression() -> None:
    shared = ("exposure_id", "ts")
    types = [
        {field["name"]: field["type"] for field in reference(kind)["fields"]}
        for kind in ("impression", "scored")
    ]
    assert [types[0][name] for name in shared] == [types[1][name] for name in shared]


def test_a_transition_has_a_field_for_every_column_of_the_log() -> None:
    arrow = {"int64": "long", "int8": "int", "double": "double"}
    columns = {
        column.name.replace(".", "_"): arrow[str(column.type)]
        for column in rows_schema(chain_spec(GeneratorOptions()))
        if column.name != "row"
    }
    types = {field["name"]: field["type"] for field in reference("transition")["fields"]}
    del types["exposure_id"]
    assert {name: type_ if isinstance(type_, str) else type_[1] for name, type_ in types.items()} == columns


def test_the_manifest_is_described_as_it_is() -> None:
    described = json.loads((SCHEMAS / "manifest.schema.json").read_text())
    assert described == json.loads(msgspec.json.encode(msgspec.json.schema(Manifest))), (
        "write it anew: msgspec.json.schema(stream_mtl.publish.snapshot.Manifest)"
    )

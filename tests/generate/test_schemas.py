"""The reference schemas are what the market writes, and what the reader can read."""

import json
from pathlib import Path
from typing import Any

import fastavro
import pytest

from stream_mtl.generate.fields import KINDS, avro_schema
from stream_mtl.generate.options import GeneratorOptions

SCHEMAS = Path(__file__).parents[2] / "schemas"


def reference(kind: str) -> Any:
    return json.loads((SCHEMAS / f"{kind}.avsc").read_text())


def without_words(schema: Any) -> Any:
    fields = [{"name": field["name"], "type": field["type"]} for field in schema["fields"]]
    return {name: value for name, value in schema.items() if name != "doc"} | {"fields": fields}


@pytest.mark.parametrize("kind", KINDS)
def test_the_market_writes_by_the_reference_schema(kind: str) -> None:
    assert without_words(reference(kind)) == avro_schema(GeneratorOptions(), kind)


@pytest.mark.parametrize("kind", [*KINDS, "scored"])
def test_every_schema_is_valid_and_every_field_has_its_words(kind: str) -> None:
    fastavro.parse_schema(reference(kind))
    assert all(field["doc"] for field in reference(kind)["fields"])


def test_a_score_names_the_exposure_by_the_same_field_as_the_impression() -> None:
    shared = ("exposure_id", "ts", "user_id", "item_id")
    types = [
        {field["name"]: field["type"] for field in reference(kind)["fields"]}
        for kind in ("impression", "scored")
    ]
    assert [types[0][name] for name in shared] == [types[1][name] for name in shared]

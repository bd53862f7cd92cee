"""What is asked becomes columns without loss, or is refused with its place; what is answered comes in order."""

import json
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stream_mtl.errors import ConfigError
from stream_mtl.learn.features import FeatureSpec, Numeric
from stream_mtl.learn.recipe import Recipe
from stream_mtl.serve.requests import Asked, Messages, Refused, json_name, refuse_twins
from stream_mtl.serve.scorer import Scores
from tests.label.world import TASKS

from .world import NOW, OUTPUTS, RECIPE, SCHEMA, messages

ALL_TYPES = pa.schema(
    [
        ("long", pa.int64()),
        ("double", pa.float64()),
        ("boolean", pa.bool_()),
        ("a text.of", pa.string()),
        ("longs", pa.list_(pa.int64())),
        ("doubles", pa.list_(pa.float64())),
        ("class", pa.list_(pa.string())),
    ]
)
_LONGS = st.integers(-(2**63), 2**63 - 1)
_DOUBLES = st.floats(allow_nan=False, allow_infinity=False)
_TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=6)
VALUES = {
    "long": _LONGS,
    "double": _DOUBLES,
    "boolean": st.booleans(),
    "a text.of": _TEXTS,
    "longs": st.lists(st.none() | _LONGS, max_size=4),
    "doubles": st.lists(st.none() | _DOUBLES, max_size=4),
    "class": st.lists(st.none() | _TEXTS, max_size=4),
}
CANDIDATES = st.fixed_dictionaries({}, optional={name: st.none() | one for name, one in VALUES.items()})


def of_all_types(max_rows: int = 1_000) -> Messages:
    recipe = Recipe(FeatureSpec({"double": Numeric()}), TASKS)
    return Messages(recipe, ALL_TYPES, max_rows, lambda: NOW, lambda: "made")


ALL = of_all_types()


def asked(body: Any, of: Messages | None = None) -> Asked:
    found = (of or messages()).read(json.dumps(body).encode())
    assert isinstance(found, Asked), found
    return found


def refused(body: bytes | str | Any, of: Messages | None = None) -> Refused:
    text = body if isinstance(body, bytes | str) else json.dumps(body)
    found = (of or messages()).read(text if isinstance(text, bytes) else text.encode())
    assert isinstance(found, Refused), found
    return found


@given(rows=st.lists(CANDIDATES, max_size=5))
def test_candidates_become_columns_as_they_are(rows: list[dict[str, Any]]) -> None:
    found = asked({"candidates": rows}, ALL).fields
    assert found.schema == ALL_TYPES
    assert found.to_pylist() == [{name: row.get(name) for name in ALL_TYPES.names} for row in rows]


@given(shared=CANDIDATES, rows=st.lists(CANDIDATES, min_size=1, max_size=4))
def test_what_a_candidate_lacks_is_taken_from_what_all_share(shared: Any, rows: list[Any]) -> None:
    found = asked({"shared": shared, "candidates": rows}, ALL).fields.to_pylist()
    for row, got in zip(rows, found, strict=True):
        for name in ALL_TYPES.names:
            own = row.get(name)
            assert got[name] == (shared.get(name) if own is None else own)


def test_no_candidates_are_no_rows() -> None:
    found = asked({"candidates": [], "shared": {"user": 1}})
    assert (found.fields.num_rows, found.fields.schema) == (0, SCHEMA)


def test_what_is_not_said_is_filled_in() -> None:
    found = asked({"candidates": []})
    assert (found.request_id, found.time, found.by, found.top) == ("made", NOW, None, None)


def test_what_is_said_is_kept() -> None:
    found = asked({"candidates": [], "request_id": "r1", "time": 12, "by": "joint_cvr", "top": 3})
    assert (found.request_id, found.time, found.by, found.top) == ("r1", 12, "joint.cvr", 3)


def test_unknown_names_are_ignored_at_every_height() -> None:
    found = asked({"candidates": [{"user": 1, "colour": {"deep": [1]}}], "shared": {"x": 1}, "trace": "t"})
    assert found.fields.column("user").to_pylist() == [1]


@pytest.mark.parametrize(
    ("field", "value", "wanted", "came"),
    [
        ("long", "1", "int", "str"),
        ("long", 1.0, "int", "float"),
        ("long", True, "int", "bool"),
        ("long", [1], "int", "array"),
        ("double", "1.5", "float", "str"),
        ("double", False, "float", "bool"),
        ("boolean", 1, "bool", "int"),
        ("a text.of", 7, "str", "int"),
        ("a text.of", {}, "str", "object"),
        ("longs", 1, "array", "int"),
        ("doubles", {"0": 1}, "array", "object"),
        ("class", "abc", "array", "str"),
    ],
)
def test_a_value_of_a_wrong_type_is_refused_with_its_place(
    field: str, value: Any, wanted: str, came: str
) -> None:
    found = refused({"candidates": [{}, {}, {field: value}]}, ALL)
    assert found.reason == "wrong"
    assert found.detail == f"Expected `{wanted} | null`, got `{came}` - at `$.candidates[2].{field}`"


def test_an_item_of_a_wrong_type_is_refused_with_its_place() -> None:
    found = refused({"candidates": [{"longs": [1, None, "2"]}]}, ALL)
    assert found.detail.endswith("got `str` - at `$.candidates[0].longs[2]`")


def test_a_wrong_value_that_is_shared_is_refused_with_its_place() -> None:
    assert "$.shared.long" in refused({"candidates": [], "shared": {"long": "x"}}, ALL).detail


@pytest.mark.parametrize("value", [2**63, -(2**63) - 1, 10**30])
@pytest.mark.parametrize("wrap", [lambda v: {"long": v}, lambda v: {"longs": [v]}], ids=["one", "item"])
def test_an_integer_beyond_64_bits_is_refused(value: int, wrap: Any) -> None:
    assert "$.candidates[0].long" in refused({"candidates": [wrap(value)]}, ALL).detail


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"null",
        b"[]",
        b"{}",
        b"{",
        b"nonsense",
        b'{"candidates": null}',
        b'{"candidates": [1]}',
        b'{"candidates": [null]}',
        b'{"candidates": [{"double": NaN}]}',
        b'{"candidates": [{"double": Infinity}]}',
        b'{"candidates": [{"double": 1e999}]}',
        b'{"candidates": [{"a text.of": "\\ud800"}]}',
        b'{"candidates": [{"a text.of": "\xff"}]}',
        b'{"candidates": [{"x": ' + b"[" * 100_000,
        b'{"candidates": []} {}',
        b'{"candidates": [], "time": "now"}',
        b'{"candidates": [], "time": -1}',
        b'{"candidates": [], "time": 9223372036854775807}',
        b'{"candidates": [], "request_id": 7}',
        b'{"candidates": [], "request_id": ""}',
        b'{"candidates": [], "by": "nothing"}',
        b'{"candidates": [], "by": "joint.cvr"}',
        b'{"candidates": [], "top": 3}',
        b'{"candidates": [], "by": "ctr", "top": 0}',
        b'{"candidates": [], "by": "ctr", "top": 1.5}',
    ],
)
def test_nonsense_is_refused(body: bytes) -> None:
    found = refused(body, ALL)
    assert found.reason == "wrong"
    assert found.detail


def test_too_many_candidates_are_refused() -> None:
    few = of_all_types(max_rows=2)
    assert asked({"candidates": [{}] * 2}, few).fields.num_rows == 2
    assert refused({"candidates": [{}] * 3}, few).reason == "too_many"


def scores(*ctr: float) -> Scores:
    column = np.array(ctr, np.float32)
    return Scores(5, {name: column if name == "ctr" else column * 2 for name in RECIPE.plan.outputs})


def answer(of: Scores, **options: Any) -> dict[str, Any]:
    one = messages()
    return json.loads(one.write(one.respond(asked({"candidates": [], **options}, one), of)))


def test_an_answer_says_the_snapshot_and_names_every_score() -> None:
    found = answer(scores(0.25, 0.5), request_id="r")
    assert (found["snapshot"], found["request_id"], found["outputs"]) == (5, "r", OUTPUTS)
    assert found["scores"] == [
        {"candidate": 0, "ctr": 0.25, "cvr": 0.5, "order_value": 0.5, "joint_cvr": 0.5},
        {"candidate": 1, "ctr": 0.5, "cvr": 1.0, "order_value": 1.0, "joint_cvr": 1.0},
    ]


@pytest.mark.parametrize(
    ("options", "places"),
    [
        ({}, [0, 1, 2, 3, 4]),
        ({"by": "ctr"}, [4, 1, 3, 0, 2]),
        ({"by": "joint_cvr", "top": 2}, [4, 1]),
        ({"by": "ctr", "top": 9}, [4, 1, 3, 0, 2]),
    ],
)
def test_an_answer_is_ordered_by_an_output_equals_as_they_were_asked_unknown_last(
    options: Any, places: list[int]
) -> None:
    found = answer(scores(0.1, 0.5, np.nan, 0.5, 0.9), **options)
    assert [score["candidate"] for score in found["scores"]] == places


def test_what_the_model_does_not_know_is_null() -> None:
    assert answer(scores(np.nan))["scores"][0]["ctr"] is None


def test_no_candidates_have_no_scores() -> None:
    assert answer(scores(), by="ctr", top=3)["scores"] == []


def test_names_of_outputs_are_fit_for_json() -> None:
    assert (json_name("ctr"), json_name("joint.cvr")) == ("ctr", "joint_cvr")
    with pytest.raises(ConfigError, match="joint_cvr"):
        refuse_twins(["joint_cvr", "ctr", json_name("joint.cvr")])


def test_a_feature_that_requests_cannot_carry_is_found_at_the_start() -> None:
    with pytest.raises(ConfigError, match=r"features\.price"):
        messages(schema=SCHEMA.remove(SCHEMA.get_field_index("price")))
    texts = SCHEMA.set(SCHEMA.get_field_index("price"), pa.field("price", pa.string()))
    with pytest.raises(ConfigError, match=r"features\.price"):
        messages(schema=texts)
    with pytest.raises(ConfigError, match="when"):
        messages(schema=SCHEMA.append(pa.field("when", pa.timestamp("ms"))))

"""Which writer schemas are read, which are refused, and what of a schema a wanted field may be."""

import json
from dataclasses import replace

import fastavro
import numpy as np
import pytest

from stream_mtl.errors import SchemaError
from stream_mtl.events.avro import decode
from stream_mtl.events.schema import compile_plan
from stream_mtl.events.types import ARROW_TYPES, Limits


def record(name="Row", **fields):
    return {"type": "record", "name": name, "fields": [{"name": k, "type": v} for k, v in fields.items()]}


def array(items):
    return {"type": "array", "items": items}


def plan(schema, **fields):
    return compile_plan(schema, fields, Limits())


def refused(schema, about, **fields):
    with pytest.raises(SchemaError, match=about):
        plan(schema, **fields)


def test_a_schema_may_be_text_bytes_or_parsed():
    schema = record(a="long")
    forms = [schema, json.dumps(schema), json.dumps(schema).encode(), fastavro.parse_schema(schema)]
    for form in forms:
        assert plan(form, a="long").columns == plan(schema, a="long").columns


@pytest.mark.parametrize(
    "schema",
    [
        "",
        "{",
        b"\xff\xfe\xfd",
        "[" * 100_000,
        "null",
        "3",
        '"string"',
        '"long"',
        "[]",
        '["null"]',
        "{}",
        '{"type": "record"}',
    ],
)
def test_what_is_no_record_schema_is_refused(schema):
    with pytest.raises(SchemaError):
        plan(schema)


@pytest.mark.parametrize(
    "kind",
    [
        None,
        3,
        "nothing",
        {},
        {"type": None},
        {"type": "array"},
        {"type": "map"},
        {"type": "enum", "name": "E"},
        {"type": "enum", "name": "E", "symbols": []},
        {"type": "enum", "name": "E", "symbols": [1]},
        {"type": "enum", "name": "E", "symbols": ["\ud800"]},
        {"type": "enum", "symbols": ["a"]},
        {"type": "fixed", "name": "F"},
        {"type": "fixed", "name": "F", "size": -1},
        {"type": "fixed", "name": "F", "size": True},
        {"type": "fixed", "name": "F", "size": 2**31},
        {"type": "record", "name": "R"},
        {"type": "record", "name": "R", "fields": [{"type": "int"}]},
        {"type": "record", "name": "Row", "fields": []},
        [],
        ["null", ["int"]],
    ],
)
def test_a_type_that_avro_does_not_have_is_refused(kind):
    refused(record(a=kind), "writer schema, at ")


def test_a_field_that_is_there_twice_is_refused():
    refused({"type": "record", "name": "R", "fields": [{"name": "a", "type": "int"}] * 2}, "twice")


@pytest.mark.parametrize(
    "schema",
    [
        record("Tree", value="long", left=["null", "Tree"]),
        record("Tree", children=array("Tree")),
        record("Tree", children={"type": "map", "values": "Tree"}),
        record("A", b=record("B", a=["null", "A"])),
        {"type": "record", "name": "x.A", "fields": [{"name": "b", "type": ["null", "x.A"]}]},
        {"type": "record", "name": "A", "namespace": "x", "fields": [{"name": "b", "type": ["null", "A"]}]},
    ],
)
def test_a_recursive_schema_is_refused(schema):
    refused(schema, "contains itself")


@pytest.mark.parametrize(
    "items",
    [
        "null",
        record("Empty"),
        record("Nulls", a="null", b=record("Inner")),
        {"type": "fixed", "name": "F", "size": 0},
    ],
)
@pytest.mark.parametrize("kind", ["array", "map"])
def test_items_that_take_no_bytes_are_refused_wherever_they_are(kind, items):
    repeated = {"type": kind, "items" if kind == "array" else "values": items}
    refused(record(id="string", a=repeated), "no bytes")
    refused(record(id="string", a=["null", array(record("In", b=repeated))]), "no bytes")


def test_a_row_that_takes_no_bytes_is_refused():
    for schema in (
        record(),
        record(a="null"),
        record(a=record("Inner", b={"type": "fixed", "name": "F", "size": 0})),
    ):
        refused(schema, "takes a byte")


def test_a_schema_that_unfolds_to_very_much_is_refused():
    named = record("T0", a="long")
    for level in range(1, 60):
        named = record(f"T{level}", a=named, b=f"T{level - 1}")
    refused(record(t=named), "nested deeper|types, named ones counted")
    wide = record("T0", a="long", b="long")
    for level in range(1, 20):
        wide = record(f"T{level}", a=wide, **{f"b{i}": f"T{level - 1}" for i in range(9)})
    refused(record(t=wide), "named ones counted")


def test_a_schema_that_is_nested_very_deep_is_refused():
    deep = "long"
    for _ in range(70):
        deep = array(deep)
    refused(record(a=deep), "deeper")
    chain = [{"name": "f0", "type": record("R0", x="long")}]
    chain += [{"name": f"f{i}", "type": record(f"R{i}", x=f"R{i - 1}")} for i in range(1, 80)]
    refused({"type": "record", "name": "Row", "fields": chain}, "deeper")


def test_names_are_looked_up_in_their_namespace():
    colour = {"type": "enum", "name": "Colour", "symbols": ["red"]}
    inner = {
        "type": "record",
        "name": "y.Inner",
        "fields": [{"name": "c", "type": {**colour}}, {"name": "d", "type": "Colour"}],
    }
    fields = [
        {"name": "a", "type": inner},
        {"name": "b", "type": "y.Colour"},
        {"name": "e", "type": "y.Inner"},
    ]
    schema = {"type": "record", "name": "Row", "namespace": "x", "fields": fields}
    fastavro.parse_schema(schema)
    assert plan(schema, b="string", **{"a.d": "string"}).columnar
    fields[1]["type"] = "Colour"
    refused(schema, "'Colour' is neither")
    fields[1]["type"] = {"type": "fixed", "name": "y.Colour", "size": 1}
    refused(schema, "defined twice")


def test_columns_have_the_order_and_the_types_that_were_asked_for():
    fields = {"b": "array<string>", "z": "double", "a": "long"}
    columns = plan(record(a="int", b=array("string")), **fields).columns
    assert columns.names == list(fields)
    assert columns.types == [ARROW_TYPES[kind] for kind in fields.values()]


POSSIBLE = {
    "long": ["int", "long"],
    "double": ["int", "long", "float", "double"],
    "boolean": ["boolean"],
    "string": ["string", "bytes", "enum", "fixed", "int", "long"],
}
WRITTEN = {kind: kind for kind in ("boolean", "int", "long", "float", "double", "bytes", "string")} | {
    "enum": {"type": "enum", "name": "E", "symbols": ["a"]},
    "fixed": {"type": "fixed", "name": "F", "size": 2},
    "record": record("Inner", x="long"),
    "map": {"type": "map", "values": "long"},
}


@pytest.mark.parametrize("wanted", POSSIBLE)
@pytest.mark.parametrize("written", WRITTEN)
def test_a_wanted_type_takes_just_the_types_that_become_it(wanted, written):
    kind, items = WRITTEN[written], f"array<{wanted}>"
    shapes = [(kind, wanted), (["null", kind], wanted), ([kind, "null"], wanted)]
    shapes += (
        [(array(kind), items), (["null", array(kind)], items), (array(["null", kind]), items)]
        if items in ARROW_TYPES
        else []
    )
    for shape, name in shapes:
        if written in POSSIBLE[wanted]:
            assert plan(record(a=shape), a=name).columns.types == [ARROW_TYPES[name]]
        else:
            refused(record(a=shape), f"'a' is {written} .* cannot become", a=name)


def test_a_list_is_no_scalar_and_a_scalar_no_list():
    refused(record(a=array("long")), "cannot become long", a="long")
    refused(record(a="long"), "cannot become array<long>", a="array<long>")
    refused(record(a=array(array("long"))), "cannot become long", a="array<long>")


def test_every_branch_of_a_wanted_union_must_become_the_wanted_type():
    assert not plan(record(a=["null", "int", "string"]), a="string").columnar
    refused(record(a=["null", "int", "string"]), "string .* cannot become long", a="long")


def test_bytes_that_are_a_number_are_no_text():
    for logical in ("decimal", "duration", "uuid"):
        refused(
            record(a={"type": "fixed", "name": "F", "size": 16, "logicalType": logical}), logical, a="string"
        )
    refused(record(a={"type": "bytes", "logicalType": "decimal", "precision": 4}), "decimal", a="string")
    assert plan(record(a={"type": "string", "logicalType": "uuid"}), a="string").columnar


def test_a_type_may_be_wrapped_into_types():
    wrapped = {"type": {"type": {"type": "string", "avro.java.string": "String"}}}
    assert plan(record(a=wrapped, b={"type": ["null", {"type": "long"}]}), a="string", b="long").columnar


def test_a_dot_leads_only_into_records():
    schema = record(a="long", b=array(record("In", x="long")), c=["null", record("Maybe", x="long")])
    refused(schema, "'a.x': a is long", **{"a.x": "long"})
    refused(schema, "'b.x': b is array", **{"b.x": "long"})
    assert plan(schema, **{"c.x": "long", "c.y": "long", "d.x": "long"}).columns.names == [
        "c.x",
        "c.y",
        "d.x",
    ]


@pytest.mark.parametrize("kind", [*WRITTEN, "null", "array"])
@pytest.mark.parametrize("nullable", [False, True])
def test_columns_cover_plain_types_nulls_arrays_of_plain_types_and_records(kind, nullable):
    shape = WRITTEN.get(kind, array("string") if kind == "array" else "null")
    covered = plan(record(id="long", a=["null", shape] if nullable and kind != "null" else shape)).columnar
    assert covered == (kind != "map")


@pytest.mark.parametrize(
    "kind",
    [
        ["null", "long", "string"],
        ["long"],
        ["null", "null"],
        array(["null", "long"]),
        array(array("long")),
        array(record("In", x="long")),
        record("In", x={"type": "map", "values": "string"}),
    ],
)
def test_what_columns_do_not_cover_goes_row_by_row(kind):
    assert not plan(record(id="string", a=kind), id="string").columnar


def test_a_plan_is_a_function_of_its_schema_and_is_not_changed_by_use():
    schema = record(id="string", a=array("long"))
    made = plan(schema, id="string", a="array<long>")
    data = np.frombuffer(b"\2x\2\4\0", np.uint8)
    first = decode(made, data, np.array([0]), np.array([5]))
    again = decode(made, data, np.array([0]), np.array([5]))
    assert first.columns.equals(again.columns)
    assert replace(made, row=None, skip=None) == replace(
        plan(schema, id="string", a="array<long>"), row=None, skip=None
    )

"""Which columns are kept of each kind, and how their types are known."""

import json
import re
from pathlib import Path

import pytest

import stream_mtl
from stream_mtl.config import event_specs, load, read_schemas
from stream_mtl.config.avro import avro_types
from stream_mtl.errors import ConfigError, SchemaError
from stream_mtl.events.types import EventSpec
from tests.config.documents import BASE, config_of, edited, loaded, problems
from tests.config.test_chains import SHOP

FIELDS = 'fields = { exposure_id = "string", user = "long", recent = "array<long>" }'
LAST_FIELD = 'id = "click_id"'
VALUE = '[tasks.amount]\nevent = "conversion"\nvalue = "amount"\n[learn]'


def schema(**fields: object) -> str:
    listed = [{"name": name, "type": kind} for name, kind in fields.items()]
    return json.dumps({"type": "record", "name": "E", "fields": listed})


IMPRESSION = schema(
    exposure_id="string", user=["null", "long"], recent={"type": "array", "items": "int"}, price="float"
)
CLICK = schema(exposure_id="string", click_id="long", ts="long")


def test_the_columns_are_what_the_chain_the_tasks_and_the_features_ask_for(tmp_path: Path) -> None:
    config = config_of(
        tmp_path,
        (
            FIELDS,
            'fields = { exposure_id = "string", usr = "long", recent = "array<long>", never = "double" }',
        ),
        ("[features.user]", '[features.user]\nfield = "usr"'),
        (LAST_FIELD, 'id = "click_id"\nfields = { click_id = "long" }\nwhere = { type = "c", v = 2 }'),
        ('after = "click"', 'after = "click"\nparent = "clicked"\ntime_unit = "s"'),
        ("[learn]", VALUE),
    )
    assert event_specs(config) == [
        EventSpec(
            kind="impression",
            source=f"files:{tmp_path}/events/impressions/*.avro",
            time="ts",
            fields={
                "exposure_id": "string",
                "usr": "long",
                "recent": "array<long>",
                "never": "double",
                "price": "double",
            },
            required=("exposure_id",),
        ),
        EventSpec(
            kind="click",
            source="kafka:clicks",
            time="ts",
            fields={"exposure_id": "string", "click_id": "long"},
            where={"type": "c", "v": 2},
            required=("exposure_id", "click_id"),
        ),
        EventSpec(
            kind="conversion",
            source="kafka:conversions",
            time="ts",
            fields={"exposure_id": "string", "clicked": "long", "amount": "double"},
            time_unit="s",
            required=(),  # the parent's name is enough
        ),
    ]


def test_kinds_of_one_source_keep_their_where_and_time_format(tmp_path: Path) -> None:
    specs = {spec.kind: spec for spec in event_specs(loaded(tmp_path, SHOP).config)}
    assert list(specs) == ["view", "cart", "purchase"]
    assert specs["view"].time_format == "%Y-%m-%d %H:%M:%S UTC"
    assert specs["cart"].where == {"event_type": "cart"}
    assert specs["purchase"].fields == {"user_id": "long", "product_id": "long", "price": "double"}
    assert specs["purchase"].required == ("user_id", "product_id")


def test_a_schema_says_what_the_file_does_not(tmp_path: Path) -> None:
    config = config_of(tmp_path, (FIELDS, 'fields = { price = "long" }'))
    specs = event_specs(config, {"impression": IMPRESSION, "click": CLICK.encode()})
    assert specs[0].fields == {
        "exposure_id": "string",
        "user": "long",
        "recent": "array<long>",
        "price": "long",  # what the file says wins
    }
    assert specs[1].fields == {"exposure_id": "string", "click_id": "long"}


def test_a_schema_file_is_read_beside_the_configuration(tmp_path: Path) -> None:
    (tmp_path / "click.avsc").write_text(CLICK)
    config = config_of(tmp_path, (LAST_FIELD, 'id = "click_id"\nschema = "click.avsc"'))
    assert read_schemas(config) == {"click": CLICK.encode()}
    assert event_specs(config, read_schemas(config))[1].fields["click_id"] == "long"


@pytest.mark.parametrize(
    ("edits", "expected"),
    [
        pytest.param(
            [(FIELDS, 'fields = { user = "long", recent = "array<long>" }')],
            'chain.key: nothing says the type of "exposure_id" in impression; add to [events.impression] '
            'fields = { exposure_id = "long" } or schema = "impression.avsc"',
            id="key",
        ),
        pytest.param(
            [],
            'events.click.id: nothing says the type of "click_id" in click; add to [events.click] '
            'fields = { click_id = "long" } or schema = "click.avsc"',
            id="id",
        ),
        pytest.param(
            [(FIELDS, 'fields = { exposure_id = "string", recent = "array<long>" }')],
            'features.user: nothing says the type of "user" in impression',
            id="categorical_feature",
        ),
        pytest.param(
            [(FIELDS, 'fields = { exposure_id = "string", user = "long" }')],
            'features.recent: nothing says the type of "recent" in impression; add to [events.impression] '
            'fields = { recent = "array<long>" }',
            id="sequence",
        ),
    ],
)
def test_a_field_whose_type_nobody_says_is_refused(
    tmp_path: Path, edits: list[tuple[str, str]], expected: str
) -> None:
    config = config_of(tmp_path, *edits)
    with pytest.raises(ConfigError, match=re.escape(expected)):
        event_specs(config)


def test_a_field_without_a_type_is_told_with_its_line_where_the_document_is_given(tmp_path: Path) -> None:
    found = loaded(tmp_path, BASE)
    with pytest.raises(ConfigError, match=r"^/.*site\.toml:13: events\.click\.id: nothing says the type"):
        event_specs(found.config, document=found.document)


def test_the_quickstart_says_all_its_types() -> None:
    found = load(Path(stream_mtl.__file__).parents[1] / "examples/quickstart.toml", {})
    specs = {spec.kind: dict(spec.fields) for spec in event_specs(found.config)}
    assert specs["conversion"] == {"exposure_id": "string", "click_id": "string", "amount": "double"}


def test_all_fields_without_a_type_are_told_at_once(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as refused:
        event_specs(config_of(tmp_path, (FIELDS, "")))
    assert [line.split(": ")[0] for line in str(refused.value).splitlines()] == [
        "chain.key",
        "features.user",
        "features.recent",
        "chain.key",
        "events.click.id",
        "chain.key",
    ]


@pytest.mark.parametrize(
    ("edits", "expected"),
    [
        pytest.param(
            [(LAST_FIELD, 'id = "click_id"\nfields = { exposure_id = "long" }')],
            'site.toml:2: chain.key: "exposure_id" is long in click, but what it must equal is string; '
            "make them the same",
            id="key_of_another_type_than_the_roots",
        ),
        pytest.param(
            [
                (LAST_FIELD, 'id = "click_id"\nfields = { click_id = "string" }'),
                ('after = "click"', 'after = "click"\nparent = "click"\nfields = { click = "long" }'),
            ],
            'site.toml:22: events.conversion.parent: "click" is long in conversion, '
            "but what it must equal is string; make them the same",
            id="parent_of_another_type_than_the_id",
        ),
        pytest.param(
            [(LAST_FIELD, 'id = "click_id"\nfields = { click_id = "double" }')],
            'site.toml:13: events.click.id: "click_id" is double in click, but must be long or string here; '
            "name another field",
            id="id_of_a_type_that_cannot_serve",
        ),
        pytest.param(
            [
                (
                    'time = "ts"\nafter = "click"',
                    'time = "ts"\nfields = { amount = "string" }\nafter = "click"',
                ),
                ("[learn]", VALUE),
            ],
            'site.toml:43: tasks.amount.value: "amount" is string in conversion, '
            "but must be double or long here; name another field",
            id="value_that_is_a_text",
        ),
        pytest.param(
            [("[features.price]", '[features.price]\nfield = "recent"')],
            'site.toml:37: features.price: "recent" is array<long> in impression, '
            "but must be boolean or double or long here; name another field",
            id="number_that_is_an_array",
        ),
        pytest.param(
            [
                ('time = "ts"\nafter = "click"', 'time = "ts"\nschema = "c.avsc"\nafter = "click"'),
                ("[learn]", VALUE),
            ],
            'site.toml:43: tasks.amount.value: the schema of conversion has no field "amount"; '
            'did you mean "amonut"?',
            id="value_that_the_schema_lacks",
        ),
        pytest.param(
            [(FIELDS, 'schema = "odd.avsc"')],
            'site.toml:30: features.user: no column holds the type of "user" in the schema of impression; '
            "name another field",
            id="type_that_no_column_holds",
        ),
        pytest.param(
            [(FIELDS, FIELDS + '\nschema = "none.avsc"')],
            "site.toml:9: events.impression.schema: none.avsc cannot be read: "
            "No such file or directory; name an existing Avro schema file",
            id="schema_that_is_not_there",
        ),
        pytest.param(
            [(FIELDS, FIELDS + '\nschema = "site.toml"')],
            "site.toml:9: events.impression.schema: is no JSON (Expecting value: line 1 column 2 (char 1)); "
            "give an Avro record schema",
            id="schema_that_is_no_json",
        ),
        pytest.param(
            [(FIELDS, FIELDS + '\nschema = "map.avsc"')],
            "site.toml:9: events.impression.schema: is no record with fields; give an Avro record schema",
            id="schema_that_is_no_record",
        ),
    ],
)
def test_a_field_that_cannot_serve_is_refused_with_the_configuration(
    tmp_path: Path, edits: list[tuple[str, str]], expected: str
) -> None:
    (tmp_path / "c.avsc").write_text(schema(exposure_id="string", amonut="double"))
    (tmp_path / "odd.avsc").write_text(
        schema(
            exposure_id="string",
            user=["int", "string"],
            recent={"type": "array", "items": "long"},
            price="int",
        )
    )
    (tmp_path / "map.avsc").write_text('{"type": "map", "values": "long"}')
    found = problems(tmp_path, edited(*edits))
    assert expected in found


def test_of_scores_all_declared_fields_are_kept(tmp_path: Path) -> None:
    fields = 'fields = { ctr = "double", snapshot = "string", user = "long", user_ids = "array<long>" }'
    scored = f'[events.scored]\nsource = "kafka:s"\ntime = "ts"\nbefore = "impression"\nwithin = "1h"\n{fields}\n[learn]'
    clicks = (LAST_FIELD, 'id = "click_id"\nfields = { click_id = "long" }')
    spec = event_specs(config_of(tmp_path, clicks, ("[learn]", scored)))[-1]
    assert (spec.kind, spec.required) == ("scored", ("exposure_id",))
    assert spec.fields == {
        "exposure_id": "string",
        "ctr": "double",
        "snapshot": "string",
        "user": "long",
        "user_ids": "array<long>",
    }


def test_a_key_may_lack_where_a_parent_is_named(tmp_path: Path) -> None:
    (tmp_path / "c.avsc").write_text(schema(clicked="long", ts="long"))
    clicks = (LAST_FIELD, 'id = "click_id"\nfields = { click_id = "long" }')
    lacking = ('time = "ts"\nafter = "click"', 'time = "ts"\nschema = "c.avsc"\nafter = "click"')
    named = (
        'time = "ts"\nafter = "click"',
        'time = "ts"\nschema = "c.avsc"\nparent = "clicked"\nafter = "click"',
    )
    assert problems(tmp_path, edited(clicks, lacking)) == [
        'site.toml:2: chain.key: the schema of conversion has no field "exposure_id"; known: clicked, ts'
    ]
    config = config_of(tmp_path, clicks, named)
    assert event_specs(config, read_schemas(config))[2].fields == {"exposure_id": "string", "clicked": "long"}


def test_what_a_registry_may_still_say_is_no_fault_of_the_file(tmp_path: Path) -> None:
    assert problems(tmp_path, BASE.replace(FIELDS, "")) == []


def test_avro_types_become_ours() -> None:
    kinds = {
        "i": ("int", "long"),
        "l": ("long", "long"),
        "f": ("float", "double"),
        "d": ("double", "double"),
        "b": ("boolean", "boolean"),
        "s": ("string", "string"),
        "t": ({"type": "long", "logicalType": "timestamp-millis"}, "long"),
        "e": ({"type": "enum", "name": "n.E", "symbols": ["A"]}, "string"),
        "again": ("n.E", "string"),
        "u": (["null", "double"], "double"),
        "v": (["string", "null"], "string"),
        "x": ({"type": "enum", "name": "X", "namespace": "m", "symbols": ["A"]}, "string"),
        "y": (["null", "m.X"], "string"),
        "a": ({"type": "array", "items": "int"}, "array<long>"),
        "n": (["null", {"type": "array", "items": ["null", "string"]}], "array<string>"),
        "bytes": ("bytes", None),
        "two": (["null", "long", "string"], None),
        "nothing": ("null", None),
        "map": ({"type": "map", "values": "long"}, None),
        "record": ({"type": "record", "name": "R", "fields": []}, None),
        "fixed": ({"type": "fixed", "name": "F", "size": 4}, None),
        "lists": ({"type": "array", "items": {"type": "array", "items": "long"}}, None),
        "booleans": ({"type": "array", "items": "boolean"}, None),
        "decimal": ({"type": "bytes", "logicalType": "decimal", "precision": 4}, None),
    }
    read = avro_types(schema(**{name: kind for name, (kind, _) in kinds.items()}))
    assert read == {name: ours for name, (_, ours) in kinds.items()}


@pytest.mark.parametrize(
    "text", ["", "3", '"long"', '{"type": "record"}', '{"type": "record", "fields": [3]}']
)
def test_what_is_no_record_schema_is_refused(text: str) -> None:
    with pytest.raises(SchemaError, match="give an Avro record schema"):
        avro_types(text)

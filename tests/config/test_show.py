"""What is shown is what is meant: it loads as the same, says where each value is from, and hides secrets."""

import json
import tomllib
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from stream_mtl.config import load
from stream_mtl.config.sections import Config
from stream_mtl.config.shape import sections_within
from stream_mtl.config.show import as_json, as_toml, json_schema
from stream_mtl.config.values import MASK
from tests.config import rows
from tests.config.documents import BASE, documents, edited, loaded, to_toml, written

ENVIRON = {"STREAM_MTL__KAFKA__PASSWORD": "hunter2"}


@given(st.one_of(documents(), rows.documents()))
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_what_is_shown_loads_as_the_same(tmp_path_factory: Any, document: dict[str, Any]) -> None:
    folder = tmp_path_factory.getbasetemp()
    first = loaded(folder, to_toml(document))
    elsewhere = folder / "elsewhere"
    elsewhere.mkdir(exist_ok=True)
    for origins in (False, True):
        again = loaded(elsewhere, as_toml(first, origins))
        assert again.config == first.config
        assert as_toml(again) == as_toml(first)


@given(st.one_of(documents(), rows.documents()))
@settings(max_examples=75, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_json_and_toml_show_the_same(tmp_path_factory: Any, document: dict[str, Any]) -> None:
    found = loaded(tmp_path_factory.getbasetemp(), to_toml(document))
    shown = json.loads(as_json(found))
    assert tomllib.loads(as_toml(found)) == _without_empty(shown)


def _without_empty(table: dict[str, Any]) -> dict[str, Any]:
    return {
        key: _without_empty(value) if isinstance(value, dict) else value
        for key, value in table.items()
        if value != {}
    }


def test_every_shown_value_has_its_origin_behind_it(tmp_path: Path) -> None:
    found = load(written(tmp_path, BASE), {"STREAM_MTL__JOIN__IDLE_AFTER": "60s"}, ["serve.port=0"])
    lines = as_toml(found, origins=True).splitlines()
    assert all("  # " in line for line in lines if " = " in line)
    for expected in (
        f"seed = 7  # {tmp_path}/site.toml:41",
        f'recent = "array<long>"  # {tmp_path}/site.toml:8',
        'idle_after = "1m"  # environment STREAM_MTL__JOIN__IDLE_AFTER',
        "port = 0  # -X serve.port",
        "batch_size = 256  # default",
    ):
        assert expected in lines


def test_json_with_origins_lists_values_by_path(tmp_path: Path) -> None:
    shown = json.loads(as_json(load(written(tmp_path, BASE), {}, ["serve.port=0"]), origins=True))
    assert shown["serve.port"] == {"value": 0, "origin": "-X serve.port"}
    assert shown["learn.seed"] == {"value": 7, "origin": f"{tmp_path}/site.toml:41"}
    assert shown["events.click.after"] == {"value": ["impression"], "origin": f"{tmp_path}/site.toml:14"}


def test_a_secret_is_shown_as_a_mask_and_comes_back_from_the_environment(tmp_path: Path) -> None:
    text = edited(("[learn]", '[kafka]\npassword_file = "pw"\nuser = "ann"\n[learn]'))
    first = loaded(tmp_path, text, ENVIRON)
    shown = as_toml(first)
    assert (
        f'password = "{MASK}"' in shown and f'password_file = "{MASK}"' in shown and 'user = "ann"' in shown
    )
    again = loaded(tmp_path, shown.replace(f'_file = "{MASK}"', '_file = "pw"'), ENVIRON)
    assert again.config == first.config


def test_every_field_named_file_is_masked_and_no_other_path_is() -> None:
    for section in sections_within(Config):
        for name, field in section.model_fields.items():
            if "Path" in str(field.annotation):
                shown = section.model_construct(**{name: Path("x")}).model_dump(mode="json", include={name})
                assert shown == {name: MASK if name.endswith("_file") else "x"}
            else:
                assert not name.endswith("_file")


def test_the_schema_names_every_key_and_describes_it() -> None:
    schema = json.loads(json_schema())
    assert schema["required"] == ["events", "tasks"]
    assert set(schema["properties"]) == set(Config.model_fields)
    for name, section in schema["$defs"].items():
        assert section["additionalProperties"] is False, name
        assert section["description"], name
        for key, value in section["properties"].items():
            assert value.get("description"), f"{name}.{key}"
    assert "schema" in schema["$defs"]["Event"]["properties"]
    assert "default" not in schema["$defs"]["Event"]["properties"]["source"]


@pytest.mark.parametrize(
    ("section", "key", "default"),
    [
        ("Chain", "remember", "1h"),
        ("Event", "skew", "0s"),
        ("Event", "after", []),
        ("Task", "method", "wait"),
        ("Join", "path", "log"),
        ("Limits", "max_record_bytes", "1MiB"),
        ("Watch", "windows", ["1h", "1d"]),
        ("Learn", "batch_size", 256),
        ("Model", "dropout", 0.0),
    ],
)
def test_the_schema_shows_defaults_as_a_user_writes_them(section: str, key: str, default: object) -> None:
    assert json.loads(json_schema())["$defs"][section]["properties"][key]["default"] == default

"""Defaults, under the file, under the environment, under -X: which wins, and what is refused."""

from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from stream_mtl.config import Loaded
from stream_mtl.config.show import as_json, as_toml
from stream_mtl.config.values import MASK
from tests.config.documents import BASE, edited, loaded, problems

SEED = "STREAM_MTL__LEARN__SEED"


def seed_and_origin(found: Loaded) -> tuple[int, str]:
    return found.config.learn.seed, str(found.document.origin(("learn", "seed")))


def test_a_later_layer_wins_and_is_the_origin(tmp_path: Path) -> None:
    path = tmp_path / "site.toml"
    without = edited(("seed = 7", ""))
    assert seed_and_origin(loaded(tmp_path, without)) == (0, "default")
    assert seed_and_origin(loaded(tmp_path, BASE)) == (7, f"{path}:41")
    assert seed_and_origin(loaded(tmp_path, BASE, {SEED: "8"})) == (8, f"environment {SEED}")
    over = loaded(tmp_path, BASE, {SEED: "8"}, "learn.seed=9")
    assert seed_and_origin(over) == (9, "-X learn.seed")
    assert seed_and_origin(loaded(tmp_path, without, {}, "learn.seed=9")) == (9, "-X learn.seed")


def test_of_two_arguments_the_last_wins(tmp_path: Path) -> None:
    assert loaded(tmp_path, BASE, {}, "learn.seed=1", "learn.seed=2").config.learn.seed == 2


def test_only_the_value_that_is_named_changes(tmp_path: Path) -> None:
    plain, over = loaded(tmp_path, BASE).config, loaded(tmp_path, BASE, {}, "events.click.within=1h").config
    assert over.events["click"].within == 3_600_000
    click = over.events["click"].model_copy(update={"within": plain.events["click"].within})
    assert over.model_copy(update={"events": {**over.events, "click": click}}) == plain


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [
        ("learn__batch_size", "128", 128),
        ("LEARN__LEARNING_RATE", "1e-4", 1e-4),
        ("Learn__Learning_Rate", "2", 2.0),
        ("CHAIN__FEATURES_ON_FINAL", "true", True),
        ("JOIN__IDLE_AFTER", "5m", 300_000),
        ("JOIN__IDLE_AFTER", '"5m"', 300_000),
        ("SERVE__HOST", "0.0.0.0", "0.0.0.0"),
        ("SERVE__HOST", "12", "12"),
        ("KAFKA__GROUP", "true", "true"),
        ("KAFKA__GROUP", "2024-01-01", "2024-01-01"),
        ("KAFKA__GROUP", "1\nb = 2", "1\nb = 2"),
        ("WATCH__SLICES", '["user"]', ("user",)),
        ("WATCH__SLICES", "user", ("user",)),
        ("MODEL__BOTTOM", "[8, 4]", (8, 4)),
    ],
)
def test_a_text_of_the_environment_is_a_toml_value_or_itself(
    tmp_path: Path, name: str, text: str, value: Any
) -> None:
    section, key = name.lower().split("__")
    config = loaded(tmp_path, BASE, {f"STREAM_MTL__{name}": text, "PATH": "x", "STREAM_MTL_X": "y"}).config
    assert getattr(getattr(config, section), key) == value


@given(st.text(st.characters(exclude_categories=("Cs",), exclude_characters="\0"), min_size=1))
@example('"quoted"')
@example("12")
def test_a_password_is_taken_to_the_letter(tmp_path_factory: Any, password: str) -> None:
    tmp_path = tmp_path_factory.getbasetemp()
    config = loaded(tmp_path, BASE, {"STREAM_MTL__KAFKA__PASSWORD": password}).config
    assert config.kafka.password is not None
    assert config.kafka.password.get_secret_value() == password


def test_names_of_the_user_are_found_in_any_case(tmp_path: Path) -> None:
    text = BASE.replace("[events.click]", "[events.Click]").replace('"click"', '"Click"')
    config = loaded(tmp_path, text, {"STREAM_MTL__EVENTS__CLICK__WITHIN": "1h"}).config
    assert config.events["Click"].within == 3_600_000


def test_an_entry_can_be_added_to_a_table_of_values(tmp_path: Path) -> None:
    environ = {"STREAM_MTL__EVENTS__CLICK__FIELDS__AMOUNT": "double"}
    found = loaded(
        tmp_path, BASE, environ, "events.click.where.kind=click", 'events.click.where={ "a.b" = 1 }'
    )
    click = found.config.events["click"]
    assert (click.fields, click.where) == ({"amount": "double"}, {"kind": "click", "a.b": 1})
    assert str(found.document.origin(("events", "click", "where", "a.b"))) == "-X events.click.where"


@pytest.mark.parametrize(
    ("environ", "arguments", "expected"),
    [
        pytest.param(
            {"STREAM_MTL__LEARN__BACH_SIZE": "1"},
            [],
            'environment STREAM_MTL__LEARN__BACH_SIZE: unknown key "bach_size"; did you mean "batch_size"?',
            id="unknown_key",
        ),
        pytest.param(
            {"STREAM_MTL__LERN__SEED": "1"},
            [],
            'environment STREAM_MTL__LERN__SEED: unknown key "lern"; did you mean "learn"?',
            id="unknown_section",
        ),
        pytest.param(
            {"STREAM_MTL__EVENTS__CLIK__WITHIN": "1h"},
            [],
            'environment STREAM_MTL__EVENTS__CLIK__WITHIN: unknown key "clik"; did you mean "click"?',
            id="kind_that_the_file_does_not_declare",
        ),
        pytest.param(
            {"STREAM_MTL__LEARN__SEED__X": "1"},
            [],
            "environment STREAM_MTL__LEARN__SEED__X: learn.seed is a value, not a table; drop .x",
            id="key_inside_a_value",
        ),
        pytest.param(
            {"STREAM_MTL__": "1"},
            [],
            'environment STREAM_MTL__: unknown key ""; known: chain, events, tasks, features, challengers, model, learn, '
            "join, publish, serve, watch, run, dead_letters, kafka",
            id="no_key",
        ),
        pytest.param(
            {SEED: "1", SEED.lower(): "2"},
            [],
            f"environment {SEED.lower()}: says the same as {SEED}; unset one of them",
            id="the_same_name_in_two_cases",
        ),
        pytest.param(
            {SEED: "x"},
            [],
            f"environment {SEED}: learn.seed: must be an integer, not a text; write seed = 1",
            id="wrong_value_in_the_environment",
        ),
        pytest.param(
            {SEED: "1.5"},
            [],
            f"environment {SEED}: learn.seed: must be an integer, not a float; write seed = 1",
            id="wrong_number_in_the_environment",
        ),
        pytest.param(
            {SEED: "1\nthreads = 2"},
            [],
            f"environment {SEED}: learn.seed: must be an integer, not a text; write seed = 1",
            id="more_than_one_value_in_the_environment",
        ),
        pytest.param(
            {SEED: "\udc80"},
            [],
            f"environment {SEED}: is not valid UTF-8; set it again",
            id="bytes_that_are_no_text",
        ),
        pytest.param(
            {},
            ["learn.sead=1"],
            '-X learn.sead: unknown key "sead"; did you mean "seed"?',
            id="unknown_key_in_an_argument",
        ),
        pytest.param(
            {},
            ["learn.seed=-1"],
            "-X learn.seed: learn.seed: -1 is out of bounds; it must be at least 0",
            id="wrong_value_in_an_argument",
        ),
        pytest.param(
            {},
            ["learn.seed"],
            '-X learn.seed: is no override; write a key and a value: "-X learn.batch_size=128"',
            id="argument_without_a_value",
        ),
        pytest.param(
            {},
            ["=1"],
            '-X : is no override; write a key and a value: "-X learn.batch_size=128"',
            id="argument_without_a_key",
        ),
        pytest.param(
            {},
            ["learn=1", "learn.seed=1"],
            "-X learn: learn: must be a table, not an integer; write a section [learn]",
            id="value_for_a_section",
        ),
        pytest.param(
            {},
            ["kafka.password=hunter2"],
            "-X kafka.password: kafka.password: a secret may not stand here; "
            "set STREAM_MTL__KAFKA__PASSWORD or password_file",
            id="secret_in_an_argument",
        ),
        pytest.param(
            {},
            ["tasks.ctr.event=clik"],
            '-X tasks.ctr.event: tasks.ctr.event: there is no kind "clik"; did you mean "click"?',
            id="contradiction_in_an_argument",
        ),
    ],
)
def test_an_override_that_cannot_be_meant_is_refused(
    tmp_path: Path, environ: dict[str, str], arguments: list[str], expected: str
) -> None:
    assert problems(tmp_path, BASE, environ, *arguments) == [expected]


@pytest.mark.parametrize("value", ["s3cret", "1231", '["s3cret"]', "{ a = 's3cret' }", "s3cret\nx = 1"])
def test_no_fault_and_no_text_of_a_configuration_shows_a_secret(tmp_path: Path, value: str) -> None:
    environ = {"STREAM_MTL__KAFKA__PASSWORD": value, "STREAM_MTL__SERVE__PORT": "-1"}
    texts = problems(tmp_path, BASE, environ)
    assert texts == [
        "environment STREAM_MTL__SERVE__PORT: serve.port: -1 is out of bounds; it must be at least 0"
    ]
    found = loaded(tmp_path, BASE, {"STREAM_MTL__KAFKA__PASSWORD": value})
    for shown in (repr(found), as_toml(found), as_toml(found, origins=True), as_json(found, origins=True)):
        assert value not in shown.replace(MASK, "")

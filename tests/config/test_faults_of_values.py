"""Every fault of a file or of one value: what is said of it, and where."""

from dataclasses import replace
from pathlib import Path

import pytest

from stream_mtl.config import load, values
from stream_mtl.config.declarations import Chain
from stream_mtl.config.sections import Config
from stream_mtl.config.values import Method, parse_method
from stream_mtl.errors import ConfigError
from stream_mtl.label.methods import METHODS
from tests.config.documents import BASE, edited, loaded, problems, written


def test_the_small_file_is_valid(tmp_path: Path) -> None:
    assert problems(tmp_path, BASE) == []


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        pytest.param(
            "seed = 7",
            "sead = 7",
            'site.toml:41: learn.sead: unknown key "sead"; did you mean "seed"?',
            id="unknown_key_with_a_near_one",
        ),
        pytest.param(
            "[learn]",
            "[lern]",
            'site.toml:40: lern: unknown key "lern"; did you mean "learn"?',
            id="unknown_section",
        ),
        pytest.param(
            'key = "exposure_id"',
            'key = "exposure_id"\nzzz = 1',
            'site.toml:3: chain.zzz: unknown key "zzz"; '
            "known: key, lateness, remember, max_events, features_on_final",
            id="unknown_key_with_no_near_one",
        ),
        pytest.param(
            'type = "numeric"',
            'type = "numeric"\npooling = "sum"',
            'site.toml:39: features.price.pooling: unknown key "pooling"; '
            "known: field, type, log1p, limits, boundaries, dim",
            id="key_of_another_type_of_feature",
        ),
        pytest.param(
            'type = "numeric"',
            'type = "numerc"',
            'site.toml:38: features.price.type: "numerc" is no choice; did you mean "numeric"?',
            id="unknown_type_of_feature",
        ),
        pytest.param(
            'type = "numeric"',
            "dim = 3",
            "site.toml:37: features.price.type: this key is required; "
            'add type = "categorical", "numeric" or "sequence"',
            id="missing_type_of_feature",
        ),
        pytest.param(
            'key = "exposure_id"',
            "",
            'site.toml:1: chain.key: this key is required; add key = "exposure_id"',
            id="missing_key",
        ),
        pytest.param(
            'key = "exposure_id"',
            "key = []",
            "site.toml:2: chain.key: must not be empty; name at least one",
            id="empty_list",
        ),
        pytest.param(
            'key = "exposure_id"',
            "key = 3",
            'site.toml:2: chain.key: must be a text, not an integer; write key = "..."',
            id="number_for_a_text",
        ),
        pytest.param(
            "seed = 7",
            'seed = "7"',
            "site.toml:41: learn.seed: must be an integer, not a text; write seed = 1",
            id="text_for_an_integer",
        ),
        pytest.param(
            "seed = 7",
            "seed = true",
            "site.toml:41: learn.seed: must be an integer, not true or false; write seed = 1",
            id="boolean_for_an_integer",
        ),
        pytest.param(
            "seed = 7",
            "learning_rate = 2024-01-01",
            "site.toml:41: learn.learning_rate: must be a number, not a date; write learning_rate = 1.0",
            id="date_for_a_number",
        ),
        pytest.param(
            "seed = 7",
            "[model]\nbottom = 64",
            "site.toml:42: model.bottom: must be an array, not an integer; write bottom = [...]",
            id="number_for_an_array",
        ),
        pytest.param(
            'type = "numeric"',
            'type = "numeric"\nlog1p = 1',
            "site.toml:39: features.price.log1p: must be true or false, not an integer; write log1p = true",
            id="number_for_a_boolean",
        ),
        pytest.param(
            "[learn]\nseed = 7",
            "[[learn]]\nseed = 7",
            "site.toml:40: learn: must be a table, not an array; write a section [learn]",
            id="array_of_tables_for_a_table",
        ),
        pytest.param(
            "seed = 7",
            "seed = -1",
            "site.toml:41: learn.seed: -1 is out of bounds; it must be at least 0",
            id="below_the_least",
        ),
        pytest.param(
            "seed = 7",
            "learning_rate = 0.0",
            "site.toml:41: learn.learning_rate: 0.0 is out of bounds; it must be greater than 0.0",
            id="not_above_zero",
        ),
        pytest.param(
            "seed = 7",
            "[serve]\nport = 65536",
            "site.toml:42: serve.port: 65536 is out of bounds; it must be at most 65535",
            id="above_the_most",
        ),
        pytest.param(
            "seed = 7",
            "[model]\ndropout = 1.0",
            "site.toml:42: model.dropout: 1.0 is out of bounds; it must be less than 1.0",
            id="not_below_one",
        ),
        pytest.param(
            "seed = 7",
            "learning_rate = inf",
            "site.toml:41: learn.learning_rate: inf is no finite number; write one",
            id="not_finite",
        ),
        pytest.param(
            'type = "numeric"',
            'type = "numeric"\nlimits = [1]',
            "site.toml:39: features.price.limits: must hold 2 values; add the others",
            id="too_few_values",
        ),
        pytest.param(
            'type = "numeric"',
            'type = "numeric"\nlimits = [1, 2, 3]',
            "site.toml:39: features.price.limits: must hold 2 values; drop the others",
            id="too_many_values",
        ),
        pytest.param(
            'within = "30m"',
            "within = 30",
            "site.toml:15: events.click.within: 30 has no unit, so it is no duration; "
            'write a number and a unit, like "30s" or "30m" (units: ms, s, m, h, d, w)',
            id="duration_without_a_unit",
        ),
        pytest.param(
            "seed = 7",
            "[serve]\nmax_body = 512",
            "site.toml:42: serve.max_body: 512 has no unit, so it is no size; write a number and a unit, "
            'like "512MiB" or "4KB" (units: B, KB, MB, GB, TB, KiB, MiB, GiB, TiB)',
            id="size_without_a_unit",
        ),
        pytest.param(
            'source = "kafka:clicks"',
            'source = "clicks"',
            'site.toml:11: events.click.source: "clicks" is no source; write a scheme and a name, '
            'like "files:events/impressions/*.avro"',
            id="source_without_a_scheme",
        ),
        pytest.param(
            'source = "kafka:clicks"',
            'source = "file:clicks"',
            'site.toml:11: events.click.source: there is no source "file:"; did you mean "files"?',
            id="source_of_an_unknown_scheme",
        ),
        pytest.param(
            'event = "click"',
            'event = "click"\nmethod = "wiat:15m"',
            'site.toml:25: tasks.ctr.method: there is no method "wiat"; did you mean "wait"?',
            id="unknown_method",
        ),
        pytest.param(
            'event = "click"',
            'event = "click"\nmethod = "fnw:15m"',
            'site.toml:25: tasks.ctr.method: "fnw" takes no waits; write "fnw"',
            id="wait_of_a_method_without",
        ),
        pytest.param(
            'event = "click"',
            'event = "click"\nmethod = "wait:15m,1h"',
            'site.toml:25: tasks.ctr.method: "wait" takes at most 1 wait; drop the others',
            id="more_waits_than_a_method_takes",
        ),
        pytest.param(
            'event = "click"',
            'event = "click"\nmethod = "wait:15"',
            'site.toml:25: tasks.ctr.method: "15" has no unit; write a number and a unit, '
            'like "30s" or "30m" (units: ms, s, m, h, d, w)',
            id="wait_without_a_unit",
        ),
        pytest.param(
            'source = "kafka:clicks"',
            'source = "kafka:clicks"\nwhere = { type = ["a"] }',
            "site.toml:12: events.click.where.type: must be a text, a finite number, true or false, "
            'like event_type = "view"',
            id="where_that_compares_with_no_scalar",
        ),
        pytest.param(
            'fields = { exposure_id = "string", user = "long", recent = "array<long>" }',
            'fields = { exposure_id = "text" }',
            'site.toml:8: events.impression.fields.exposure_id: "text" is no choice; '
            "known: long, double, boolean, string, array<long>, array<double>, array<string>",
            id="unknown_type_of_field",
        ),
        pytest.param(
            "seed = 7",
            '[publish]\npath = ""',
            'site.toml:42: publish.path: must be a path; write a text, like "snapshots"',
            id="empty_path",
        ),
        pytest.param(
            "seed = 7",
            '[kafka]\npassword = "hunter2"',
            "site.toml:42: kafka.password: a secret may not stand here; "
            "set STREAM_MTL__KAFKA__PASSWORD or password_file",
            id="secret_in_the_file",
        ),
        pytest.param(
            "seed = 7",
            '[kafka]\npassword_file = "***"',
            "site.toml:42: kafka.password_file: *** only stands for a secret where a configuration is shown; "
            "write the real path",
            id="masked_path",
        ),
    ],
)
def test_a_fault_names_what_where_and_the_remedy(tmp_path: Path, old: str, new: str, expected: str) -> None:
    assert expected in problems(tmp_path, edited((old, new)))


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        pytest.param(b"a = 1\nb = \n", "site.toml:2: is not TOML: Invalid value", id="no_toml"),
        pytest.param(
            b"[a]\nb = 1\nb = 2\n", "site.toml:3: is not TOML: Cannot overwrite a value", id="twice"
        ),
        pytest.param(b"a = '\xff'", "site.toml: is not UTF-8 (byte 5); save it as UTF-8", id="no_utf8"),
    ],
)
def test_a_file_that_is_no_toml_is_refused(tmp_path: Path, content: bytes, expected: str) -> None:
    path = tmp_path / "site.toml"
    path.write_bytes(content)
    with pytest.raises(ConfigError) as refused:
        load(path, {})
    assert str(refused.value).startswith(f"{tmp_path}/{expected}")


def test_a_file_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(
        ConfigError, match=r"nothing\.toml: cannot be read: No such file or directory; name an"
    ):
        load(tmp_path / "nothing.toml", {})
    with pytest.raises(ConfigError, match="cannot be read: Is a directory"):
        load(tmp_path, {})


def test_a_byte_order_mark_and_windows_line_ends_are_no_fault(tmp_path: Path) -> None:
    path = tmp_path / "site.toml"
    path.write_bytes(b"\xef\xbb\xbf" + BASE.replace("\n", "\r\n").encode())
    document = load(path, {}).document
    assert document.origin(("learn", "seed")).text == f"{path}:41"


def test_a_section_that_is_missing_names_its_required_key(tmp_path: Path) -> None:
    assert "site.toml: chain.key: this key is required" in problems(tmp_path, "[learn]\n")[0]


def test_all_faults_are_told_at_once_in_the_order_of_the_file(tmp_path: Path) -> None:
    text = edited(
        ('key = "exposure_id"', "kee = 1"),
        ('after = "impression"', 'after = "impresion"'),
        ('given = "ctr"', 'given = "ctrr"'),
        ("seed = 7", "seed = 7.5\nthreads = 0"),
    )
    assert [found.split(": ")[:2] for found in problems(tmp_path, text)] == [
        ["site.toml:1", "chain.key"],
        ["site.toml:2", "chain.kee"],
        ["site.toml:14", "events.click.after"],
        ["site.toml:28", "tasks.cvr.given"],
        ["site.toml:41", "learn.seed"],
        ["site.toml:42", "learn.threads"],
    ]


def test_a_wrong_value_brings_no_follow_up_faults(tmp_path: Path) -> None:
    # Without its `after`, click would be a second root.
    text = edited(('after = "impression"', 'afer = "impression"'), ('type = "numeric"', "type = 3"))
    assert [found.split(": ")[1] for found in problems(tmp_path, text)] == [
        "events.click.afer",
        "features.price.type",
    ]


def test_a_wrong_key_brings_no_follow_up_fault_of_its_neighbours(tmp_path: Path) -> None:
    # Without its `value`, the task could not have a `how`.
    text = edited(('given = "ctr"', 'given = "ctr"\nvaleu = "amount"\nhow = "sum"'))
    assert problems(tmp_path, text) == [
        'site.toml:29: tasks.cvr.valeu: unknown key "valeu"; did you mean "value"?'
    ]


def test_a_configuration_cannot_be_changed(tmp_path: Path) -> None:
    config = loaded(tmp_path, BASE).config
    with pytest.raises(ValueError, match="frozen"):
        config.learn.seed = 8


@pytest.mark.parametrize("name", METHODS)
def test_every_method_that_there_is_can_be_named(name: str) -> None:
    for count in range(METHODS[name].least, METHODS[name].most + 1):
        waits = tuple(60_000 * (wait + 1) for wait in range(count))
        method = Method(name, waits)
        assert parse_method(str(method)) == method


@pytest.mark.parametrize(
    ("least", "most", "text", "fault"),
    [
        (1, 2, "odd", '"odd" takes at least 1 wait; write "odd:15m"'),
        (0, 2, "odd:1m,2m,3m", '"odd" takes at most 2 waits; drop the others'),
    ],
)
def test_a_method_says_how_many_waits_it_takes(
    monkeypatch: pytest.MonkeyPatch, least: int, most: int, text: str, fault: str
) -> None:
    monkeypatch.setattr(values, "METHODS", {"odd": replace(METHODS["wait"], least=least, most=most)})
    with pytest.raises(ValueError, match=fault):
        parse_method(text)


def test_every_required_key_of_a_section_has_an_example() -> None:
    # Faults of other keys are still found where a required one is missing: the example stands in.
    for section in (Chain, *_inner("events"), *_inner("tasks")):
        for name, field in section.model_fields.items():
            assert not field.is_required() or field.examples, name


def _inner(section: str) -> list[type[Config]]:
    annotation = Config.model_fields[section].annotation
    assert annotation is not None
    return [annotation.__args__[1]]


def test_a_relative_path_begins_at_the_folder_of_the_file(tmp_path: Path) -> None:
    text = edited(("seed = 7", '[publish]\npath = "out/../snapshots"\n[join]\nstate = "/var/state"'))
    config = load(written(tmp_path, text), {}, ["kafka.ca_path=ca.pem"]).config
    assert config.publish.path == tmp_path / "out/../snapshots"
    assert config.join.state == Path("/var/state")
    assert config.join.path == tmp_path / "log"
    assert config.dead_letters.path == tmp_path / "dead-letters"
    assert config.kafka.ca_path == tmp_path / "ca.pem"
    assert config.events["impression"].source == f"files:{tmp_path}/events/impressions/*.avro"
    assert config.events["click"].source == "kafka:clicks"

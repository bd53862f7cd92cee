"""A configuration's schema registry: what must go together, and how it is reached."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from stream_mtl.config.registry import schema_registry
from stream_mtl.errors import ConfigError
from tests.config.documents import edited, loaded, problems
from tests.services.double import Double

PASSWORD = {"STREAM_MTL__KAFKA__REGISTRY_PASSWORD": "canary"}
VIEW = '{"type": "record", "name": "View", "fields": [{"name": "ts", "type": "long"}]}'


@pytest.fixture
def double() -> Iterator[Double]:
    double = Double()
    yield double
    double.stop()


def with_kafka(*lines: str) -> str:
    return edited(("[learn]", "\n".join(("[kafka]", *lines, "[learn]"))))


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        (['registry_user = "ann"'], "kafka: `registry_url` is missing; registry_user belongs to it"),
        (
            ['registry_token_file = "t"'],
            "kafka: `registry_url` is missing; registry_token_file belongs to it",
        ),
        (['registry_url = "registry:8081"'], "write one like https://registry:8081"),
        (['registry_url = "http://ann:hunter2@registry"'], "set user and password apart from it"),
        (['registry_url = "http://registry"', 'registry_user = "ann"'], "without https"),
        (['registry_url = "http://registry"', 'registry_token_file = "t"'], "without https"),
        (
            ['registry_url = "https://registry"', 'registry_user = "ann"', 'registry_token_file = "t"'],
            "either a user or a token",
        ),
        (['registry_url = "https://registry"', 'registry_password_file = "p"'], "`registry_user` is missing"),
    ],
)
def test_what_contradicts_itself_is_told(tmp_path: Path, lines: list[str], expected: str) -> None:
    (found,) = problems(tmp_path, with_kafka(*lines))
    assert expected in found and "hunter2" not in found


def test_without_an_address_there_is_none(tmp_path: Path) -> None:
    assert schema_registry(loaded(tmp_path, with_kafka()).config.kafka) is None


@pytest.mark.parametrize(
    ("lines", "environ", "sent"),
    [
        (['registry_user = "ann"'], PASSWORD, "Basic YW5uOmNhbmFyeQ=="),
        (['registry_user = "ann"', 'registry_password_file = "secret"'], {}, "Basic YW5uOmNhbmFyeQ=="),
        (['registry_token_file = "secret"'], {}, "Bearer canary"),
        ([], {}, None),
    ],
)
def test_it_is_asked_as_the_configuration_says_and_kept_beside_it(
    tmp_path: Path, double: Double, lines: list[str], environ: dict[str, str], sent: str | None
) -> None:
    (tmp_path / "secret").write_text("canary\n")
    config = loaded(tmp_path, with_kafka(f'registry_url = "{double.url}"', *lines), environ).config
    registry = schema_registry(config.kafka)
    assert registry is not None
    assert registry.schema_of(registry.register("views", VIEW)) == VIEW
    assert double.asked[-1][2].get("Authorization") == sent
    assert (tmp_path / "registry" / "1.json").exists()


def test_a_user_whose_password_never_came_is_told(tmp_path: Path) -> None:
    text = with_kafka('registry_url = "https://registry"', 'registry_user = "ann"')
    with pytest.raises(ConfigError, match="needs a password"):
        schema_registry(loaded(tmp_path, text).config.kafka)


def test_a_secret_whose_file_is_not_there_is_told(tmp_path: Path) -> None:
    text = with_kafka('registry_url = "https://registry"', 'registry_token_file = "absent"')
    with pytest.raises(ConfigError, match="absent"):
        schema_registry(loaded(tmp_path, text).config.kafka)

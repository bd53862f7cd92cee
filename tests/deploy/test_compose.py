"""docker-compose.yml: right by its schema, pinned, closed, and of one mind with our configuration and our commands."""

import base64
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
from typer.main import get_command

from stream_mtl.cli import app
from tests.deploy.files import COMPOSE, DEPLOY, OURS, PROMETHEUS, ROLES, ROOT, SERVICES, config, run

CONFIG = "/etc/stream-mtl/config.toml"
PUBLISHED = re.compile(r"127\.0\.0\.1:\d+:\d+")
PINNED = re.compile(r"[\w./-]+:v?\d+\.\d+\.\d+[\w.-]*")
WRITES = {
    "join": ("join.state", "kafka.registry_cache", "run.status"),
    "train": ("learn.path", "publish.path", "run.status"),
    "serve": ("publish.path", "run.status"),
    "watch": ("watch.path", "run.status"),
    "people": ("kafka.registry_cache",),
    "topics": (),
}
"""What each of our services needs a volume for."""


def mounts(name: str) -> dict[str, tuple[str, bool]]:
    """Return by its path in the container what is mounted there, and whether it may be written."""
    found = {}
    for mount in SERVICES[name].get("volumes", []):
        source, target, *mode = mount.split(":")
        found[target] = (source, mode != ["ro"])
    return found


def value(path: str) -> Any:
    """Return an option of the configuration."""
    section, key = path.split(".")
    return getattr(getattr(config().config, section), key)


def parsed(words: list[str]) -> str:
    """Return the name of the command that the words are for. Raises what wrong words raise."""
    command: Any = get_command(app)
    context = command.make_context("stream-mtl", list(words))
    while hasattr(command, "resolve_command"):
        name, command, rest = command.resolve_command(context, [*context._protected_args, *context.args])
        context = command.make_context(name, rest, parent=context)
    return str(context.command_path)


def test_the_file_is_right_by_the_schema_of_compose_files() -> None:
    checked = run("dclint", "--quiet", "docker-compose.yml")
    assert (checked.returncode, checked.stdout.strip()) == (0, "")


@pytest.mark.parametrize("name", SERVICES)
def test_an_image_is_pinned_to_a_version_or_built_here(name: str) -> None:
    service = SERVICES[name]
    if name in OURS:
        assert service["image"] == "stream-mtl:local"
        assert (ROOT / service["build"]["context"] / service["build"]["dockerfile"]).is_file()
    else:
        assert PINNED.fullmatch(service["image"]), service["image"]


@pytest.mark.parametrize("name", OURS)
def test_a_command_of_ours_is_one(name: str) -> None:
    words = SERVICES[name]["command"]
    assert parsed(words).split()[1:] == words[: 1 if name == "people" else 2]
    assert CONFIG in words and mounts(name)[CONFIG] == ("./deploy/config.toml", False)


def test_a_wrong_command_would_be_found() -> None:
    for wrong in (["run", "joins", CONFIG], ["run", "join", CONFIG, "--fellow"], ["run", "join"]):
        with pytest.raises(Exception, match=r"(?i)no such|missing"):
            parsed(wrong)


@pytest.mark.parametrize("name", ROLES)
def test_a_role_that_does_not_serve_follows(name: str) -> None:
    assert ("--follow" in SERVICES[name]["command"]) == (name != "serve")


@pytest.mark.parametrize("name", SERVICES)
def test_what_is_mounted_is_there(name: str) -> None:
    for target, (source, _) in mounts(name).items():
        assert target.startswith("/")
        if source.startswith("."):
            assert (ROOT / source).exists(), source
        else:
            assert source in COMPOSE["volumes"], source


def test_every_volume_and_secret_is_used() -> None:
    used = {source for name in SERVICES for source, _ in mounts(name).values()}
    assert set(COMPOSE["volumes"]) <= used
    assert set(COMPOSE["secrets"]) == {s for one in SERVICES.values() for s in one.get("secrets", [])}


@pytest.mark.parametrize("name", OURS)
def test_a_role_can_write_where_its_configuration_says_and_nowhere_else(name: str) -> None:
    wanted = {str(value(path)) for path in WRITES[name]}
    assert {target for target in mounts(name) if target != CONFIG} == wanted
    dockerfile = (DEPLOY / "Dockerfile").read_text()
    assert all(f" {folder}" in dockerfile for folder in wanted), "the image makes the folder, with its owner"
    reads = {str(value("publish.path"))} if name == "serve" else set()
    assert {target for target in wanted if not mounts(name)[target][1]} == reads


@pytest.mark.parametrize("name", OURS)
def test_a_container_of_ours_is_closed(name: str) -> None:
    service = SERVICES[name]
    assert service["read_only"] is True and service["cap_drop"] == ["ALL"]
    assert service["tmpfs"][0].startswith("/tmp:")
    assert service["stop_grace_period"] == "30s" and "privileged" not in service


@pytest.mark.parametrize("name", SERVICES)
def test_a_container_is_bounded_and_gains_no_privileges(name: str) -> None:
    service = SERVICES[name]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert re.fullmatch(r"\d+[mg]", service["mem_limit"])
    assert service["restart"] in ("unless-stopped", "on-failure:5")
    assert "max-size" in service["logging"]["options"]


@pytest.mark.parametrize("name", SERVICES)
def test_ports_are_published_on_loopback_only(name: str) -> None:
    assert all(PUBLISHED.fullmatch(port) for port in SERVICES[name].get("ports", []))


def test_no_two_services_publish_the_same_port() -> None:
    ports = [port.split(":")[1] for one in SERVICES.values() for port in one.get("ports", [])]
    assert len(ports) == len(set(ports))


@pytest.mark.parametrize("name", SERVICES)
def test_who_is_waited_for_can_become_what_is_waited_for(name: str) -> None:
    for other, how in SERVICES[name].get("depends_on", {}).items():
        awaited = SERVICES[other]
        assert how["condition"] != "service_healthy" or "healthcheck" in awaited
        if how["condition"] == "service_completed_successfully":
            assert awaited["restart"].startswith("on-failure")
        assert set(awaited.get("profiles", [])) <= set(SERVICES[name].get("profiles", []))


@pytest.mark.parametrize(
    ("name", "port"),
    [
        ("join", "join.metrics_port"),
        ("train", "learn.metrics_port"),
        ("serve", "serve.port"),
        ("watch", "watch.metrics_port"),
    ],
)
def test_a_role_is_asked_for_its_health_and_its_metrics_where_it_answers(name: str, port: str) -> None:
    assert f"http://127.0.0.1:{value(port)}/readyz" in SERVICES[name]["healthcheck"]["test"][-1]
    (job,) = [job for job in PROMETHEUS["scrape_configs"] if job["job_name"] == name]
    assert job["static_configs"] == [{"targets": [f"{name}:{value(port)}"]}]
    assert value("serve.host" if name == "serve" else "run.metrics_host") == "0.0.0.0"


@pytest.mark.parametrize("name", ["serve", "people"])
def test_who_needs_the_token_has_its_file(name: str) -> None:
    path = str(value("serve.token_file"))
    assert path == f"/run/secrets/{SERVICES[name]['secrets'][0]}"
    assert name == "serve" or path in SERVICES[name]["command"]


def test_no_password_stands_in_the_file() -> None:
    for name, service in SERVICES.items():
        for key, given in service.get("environment", {}).items():
            assert not re.search("PASSWORD|TOKEN|SECRET", key) or given.startswith("/run/secrets/"), (
                name,
                key,
            )


def test_the_secrets_are_made_once_and_are_no_part_of_the_repository(tmp_path: Path) -> None:
    script = shutil.copy(DEPLOY / "secrets.sh", tmp_path)
    made = []
    for _ in range(2):
        subprocess.run(["bash", script], check=True, capture_output=True)
        made.append({path.name: path.read_text() for path in (tmp_path / "secrets").iterdir()})
    assert made[0] == made[1]
    assert {f"./deploy/secrets/{name}" for name in made[0]} == {
        one["file"] for one in COMPOSE["secrets"].values()
    }
    assert len(set(made[0].values())) == len(made[0]) and all(len(secret) > 30 for secret in made[0].values())
    assert "/deploy/secrets/" in (ROOT / ".gitignore").read_text().splitlines()


def test_broker_and_registry_are_where_the_configuration_looks_for_them() -> None:
    environment = SERVICES["kafka"]["environment"]
    inside = f"INSIDE://{value('kafka.bootstrap_servers')}"
    assert inside in environment["KAFKA_ADVERTISED_LISTENERS"].split(",")
    assert SERVICES["registry"]["environment"]["KAFKA_BOOTSTRAP_SERVERS"] == value("kafka.bootstrap_servers")
    assert value("kafka.registry_url").startswith("http://registry:8080/apis/ccompat/v7")
    assert SERVICES["registry"]["ports"][0].endswith(":8080")


def test_the_broker_makes_no_topics_by_itself_and_keeps_what_has_no_term() -> None:
    environment = SERVICES["kafka"]["environment"]
    assert environment["KAFKA_AUTO_CREATE_TOPICS_ENABLE"] == "false"
    assert environment["KAFKA_LOG_RETENTION_MS"] == "-1"
    assert "--replay" in SERVICES["topics"]["command"]
    assert len(base64.urlsafe_b64decode(environment["CLUSTER_ID"] + "==")) == 16
    assert all(isinstance(one, str) for one in environment.values())


def test_without_a_profile_all_that_the_journey_needs_is_started() -> None:
    started = {name for name, service in SERVICES.items() if not service.get("profiles")}
    assert started == {"kafka", "registry", "topics", *ROLES, "prometheus", "grafana"}

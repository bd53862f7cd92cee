"""Each role runs with the rights that the documentation gives it, on a broker that allows nothing else."""

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from stream_mtl import cli
from stream_mtl.config.load import load
from stream_mtl.processes.bus import kafka_of
from stream_mtl.processes.join import join
from tests.services.kafka import OwnBroker
from tests.services.plugin import needs
from tests.test_cli_config import ROOT

RIGHTS = re.compile(r"<!-- rights -->\n```console\n(.*?)```", re.DOTALL)
ROLES = ("join", "train", "serve", "watch")
MORE = """
[events.scored]
source = "kafka:scores"
time = "ts"
before = "impression"
within = "10m"
fields = { snapshot = "long", ctr = "double" }

[serve]
log = "kafka:scores"
"""


def granted() -> Iterator[dict[str, str]]:
    """Return what the documentation grants: the options of each command."""
    found = RIGHTS.search((ROOT / "docs/kafka.md").read_text())
    assert found is not None
    for line in found[1].splitlines():
        yield dict(re.findall(r"--([a-z-]+) (\w\S*)", line))


class Cluster:
    """A broker on which nobody may do anything, and a configuration for it."""

    def __init__(self, broker: OwnBroker, folder: Path) -> None:
        from kafka import KafkaAdminClient

        self._broker, self._folder = broker, folder
        self._admin = KafkaAdminClient(bootstrap_servers=broker.bootstrap, **broker.security.kafka_python())
        for name in ("password", *ROLES):
            (folder / name).write_text(f"secret-of-{name}" if name in ROLES else broker.security.password)
        text = (ROOT / "examples/kafka.toml").read_text().replace("../runs/kafka/", "")
        text = text.replace("[publish]", '[publish]\nannounce = "kafka:snapshots"')
        text = text.replace("[watch]", '[watch]\nreadings = "kafka:readings"')
        self.path = folder / "site.toml"
        self.path.write_text(text + MORE)

    def let_in(self) -> None:
        """Make the users, and give them their rights."""
        from kafka.admin import (
            ACL,
            ACLOperation,
            ACLPermissionType,
            ResourcePattern,
            ResourceType,
            ScramMechanism,
            UserScramCredentialUpsertion,
        )

        mechanism = ScramMechanism.SCRAM_SHA_512
        users = [
            UserScramCredentialUpsertion(role, mechanism, password=f"secret-of-{role}".encode())
            for role in ROLES
        ]
        assert set(self._admin.alter_user_scram_credentials(users).values()) == {None}
        rights = []
        for right in granted():
            kind = ResourceType.TOPIC if "topic" in right else ResourceType.GROUP
            pattern = ResourcePattern(kind, right.get("topic") or right["group"])
            operation = ACLOperation[right["operation"].upper()]
            allow = ACLPermissionType.ALLOW
            rights.append(ACL(right["allow-principal"], "*", operation, allow, pattern))
        assert not self._admin.create_acls(rights)["failed"]

    def run(self, role: str, *words: object) -> tuple[int, str, str]:
        """Run a command as a user; "password" is the one who may do all."""
        named = [str(self.path if word == "CONFIG" else word) for word in words]
        settings = [word for setting in self._settings(role) for word in ("-X", setting)]
        result: Any = CliRunner().invoke(cli.app, [*named, *settings])
        return result.exit_code, result.stdout, result.stderr

    def join_live(self) -> None:
        """Be a member of the group for a while."""
        turns = iter(range(50))
        join(load(self.path, {}, self._settings("join")), lambda: next(turns, None) is None, follow=True)

    def write_scores(self) -> None:
        """Write what a scorer writes."""
        config = load(self.path, {}, self._settings("serve")).config
        sink = kafka_of(config).sink("scores")
        sink.add(b'{"exposure_id": "e", "ts": 1, "snapshot": 1, "ctr": 0.5}', b"e")
        sink.close()

    def _settings(self, role: str) -> list[str]:
        user = role if role in ROLES else self._broker.security.user
        options = {
            "bootstrap_servers": self._broker.bootstrap,
            "security": "sasl_plaintext",
            "allow_insecure_sasl": "true",
            "user": user,
            "password_file": self._folder / role,
        }
        return [f"kafka.{name}={value}" for name, value in options.items()]

    def close(self) -> None:
        self._admin.close()


@pytest.fixture
def cluster(own_broker: Callable[..., OwnBroker], tmp_path: Path) -> Iterator[Cluster]:
    made = Cluster(own_broker("sasl_plaintext", "scram-sha-512", rights=True), tmp_path)
    yield made
    made.close()


@needs("sasl")
def test_the_documented_rights_are_enough_and_without_them_each_role_is_told(
    cluster: Cluster, market: Path
) -> None:
    assert cluster.run("password", "topics", "create", "CONFIG", "--replay")[0] == 0
    assert cluster.run("password", "topics", "fill", "CONFIG", "--events", market)[0] == 0
    cluster.let_in()
    code, out, err = cluster.run("train", "run", "join", "CONFIG")
    assert (code, out) == (2, "") and "not allowed" in err
    code, out, err = cluster.run("serve", "topics", "peek", "CONFIG", "clicks")
    assert (code, out) == (2, "") and "not allowed" in err
    code, out, err = cluster.run("join", "topics", "create", "CONFIG", "-X", "join.path=kafka:other")
    assert (code, out) == (2, "") and "docs/kafka.md" in err
    for role in ("join", "train", "watch"):
        code, out, err = cluster.run(role, "run", role, "CONFIG")
        assert code == 0, (role, err)
    cluster.join_live()
    assert cluster.run("serve", "topics", "peek", "CONFIG", "snapshots")[0] == 0
    cluster.write_scores()
    assert cluster.run("join", "offsets", "show", "CONFIG")[0] == 0
    assert '"version":' in cluster.run("train", "topics", "peek", "CONFIG", "snapshots")[1]

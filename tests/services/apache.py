"""Apache Kafka from an installation of its own: formatted once, configured small, one node."""

import os
import shutil
import subprocess
from pathlib import Path

from tests.services.security import PASSWORD, USER, Security
from tests.services.session import locked, run_folder

CLUSTER = "c3RyZWFtLW10bC10ZXN0cw"
ENVIRONMENT = {
    "KAFKA_HEAP_OPTS": "-Xmx256m -Xms64m",
    "KAFKA_JIT_LEVEL": "1",
    "KAFKA_JVM_PERFORMANCE_OPTS": "-XX:+UseSerialGC -XX:TieredStopAtLevel=1",
}

_SETTINGS = """
process.roles=broker,controller
node.id=1
controller.listener.names=CONTROLLER
auto.create.topics.enable=false
num.partitions=1
default.replication.factor=1
min.insync.replicas=1
offsets.topic.num.partitions=2
offsets.topic.replication.factor=1
transaction.state.log.num.partitions=2
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
share.coordinator.state.topic.num.partitions=1
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.min.isr=1
group.initial.rebalance.delay.ms=0
group.min.session.timeout.ms=500
group.coordinator.threads=1
log.retention.ms=-1
log.retention.check.interval.ms=1000
log.cleaner.dedupe.buffer.size=8388608
log.cleaner.backoff.ms=500
log.index.size.max.bytes=1048576
num.network.threads=1
num.io.threads=2
num.replica.fetchers=1
num.recovery.threads.per.data.dir=1
background.threads=2
broker.session.timeout.ms=3000
broker.heartbeat.interval.ms=500
controlled.shutdown.enable=false
sasl.enabled.mechanisms=PLAIN,SCRAM-SHA-256,SCRAM-SHA-512
"""


def installed() -> Path | None:
    """Return the installation that KAFKA_HOME names, if it can run here."""
    named = os.environ.get("KAFKA_HOME")
    home = Path(named) if named else None
    return (
        home
        if home is not None and (home / "bin" / "kafka-server-start.sh").exists() and has_java()
        else None
    )


def has_java() -> bool:
    """Return whether there is a Java to run it."""
    return bool(os.environ.get("JAVA_HOME") or shutil.which("java"))


def version(home: Path) -> str:
    """Return the version, by the name of its jar."""
    jars = sorted((home / "libs").glob("kafka_2.13-*.jar"))
    return jars[0].stem.removeprefix("kafka_2.13-") if jars else "of unknown version"


def command(home: Path, folder: Path) -> list[str]:
    return [str(home / "bin" / "kafka-server-start.sh"), str(folder / "server.properties")]


def configure(folder: Path, port: int, controller: int, security: Security) -> None:
    """Write the settings of a node whose data is in `folder`/data."""
    folder.mkdir(parents=True, exist_ok=True)
    protocol = security.protocol.upper()
    lines = [
        _SETTINGS.strip(),
        f"listeners=CLIENTS://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller}",
        f"advertised.listeners=CLIENTS://127.0.0.1:{port}",
        "inter.broker.listener.name=CLIENTS",
        f"listener.security.protocol.map=CLIENTS:{protocol},CONTROLLER:PLAINTEXT",
        f"controller.quorum.voters=1@127.0.0.1:{controller}",
        f"log.dirs={folder / 'data'}",
        *(_tls(folder, security) if "SSL" in protocol.split("_") else ()),
        *(_sasl(security) if "SASL" in protocol else ()),
        *(_RIGHTS if security.rights else ()),
    ]
    (folder / "server.properties").write_text("\n".join(lines) + "\n")


_RIGHTS = (
    "authorizer.class.name=org.apache.kafka.metadata.authorizer.StandardAuthorizer",
    f"super.users=User:{USER};User:ANONYMOUS",  # the controller's listener knows nobody
    "early.start.listeners=CONTROLLER",
)


def _tls(folder: Path, security: Security) -> list[str]:
    certificates = security.certificates
    assert certificates is not None
    chain = folder / "keystore.pem"
    chain.write_text(certificates.server_key.read_text() + certificates.server_cert.read_text())
    return [
        "ssl.keystore.type=PEM",
        f"ssl.keystore.location={chain}",
        "ssl.truststore.type=PEM",
        f"ssl.truststore.location={certificates.ca}",
        f"ssl.client.auth={'required' if security.client_certificate else 'none'}",
    ]


def _sasl(security: Security) -> list[str]:
    plain = "org.apache.kafka.common.security.plain.PlainLoginModule required"
    scram = "org.apache.kafka.common.security.scram.ScramLoginModule required"
    own = f'username="{USER}" password="{PASSWORD}"'
    listener = "listener.name.clients"
    return [
        f"sasl.mechanism.inter.broker.protocol={security.mechanism.upper()}",
        f'{listener}.plain.sasl.jaas.config={plain} {own} user_{USER}="{PASSWORD}";',
        f"{listener}.scram-sha-256.sasl.jaas.config={scram} {own};",
        f"{listener}.scram-sha-512.sasl.jaas.config={scram} {own};",
    ]


def format_data(home: Path, folder: Path) -> None:
    """Give a node empty data: a copy of what was formatted once in this run."""
    template = run_folder() / "formatted"
    with locked("formatted"):
        if not (template / "data").exists():
            shutil.rmtree(template, ignore_errors=True)
            configure(template, 1, 2, Security())
            _format(home, template)
    shutil.rmtree(folder / "data", ignore_errors=True)
    shutil.copytree(template / "data", folder / "data")


def _format(home: Path, folder: Path) -> None:
    users = [f"SCRAM-SHA-{size}=[name={USER},password={PASSWORD}]" for size in (256, 512)]
    subprocess.run(
        [
            str(home / "bin" / "kafka-storage.sh"), "format", "-t", CLUSTER, "-c", "server.properties",
            *(word for user in users for word in ("--add-scram", user)),
        ],
        cwd=folder,
        env={**os.environ, **ENVIRONMENT, "LOG_DIR": str(folder)},
        check=True,
        capture_output=True,
    )  # fmt: skip

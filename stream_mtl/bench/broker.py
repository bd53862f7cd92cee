"""A broker for a bench: the one at a given address, or Apache Kafka from an installation for as long as it takes."""

import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from stream_mtl.connectors.kafka import Kafka
from stream_mtl.connectors.security import KafkaOptions
from stream_mtl.errors import ConfigError, StreamMtlError, Unavailable

_PATIENCE = 90.0  # seconds for it to begin, and for it to end
_CLUSTER = "c3RyZWFtLW10bC1iZW5jaA"
_ENVIRONMENT = {"KAFKA_HEAP_OPTS": "-Xmx512m -Xms256m"}
_SETTINGS = """
process.roles=broker,controller
node.id=1
controller.listener.names=CONTROLLER
listener.security.protocol.map=CLIENTS:PLAINTEXT,CONTROLLER:PLAINTEXT
inter.broker.listener.name=CLIENTS
auto.create.topics.enable=false
default.replication.factor=1
offsets.topic.num.partitions=1
offsets.topic.replication.factor=1
transaction.state.log.num.partitions=1
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.min.isr=1
group.initial.rebalance.delay.ms=0
log.retention.ms=-1
"""


@contextmanager
def broker(bootstrap: str | None, home: Path | None) -> Iterator[str]:
    """Give the address of a broker: that one, or else one that is started from `home` and ended afterwards.

    Raises ConfigError where there is neither, Unavailable where it does not start.
    """
    if bootstrap is not None:
        yield bootstrap
        return
    if home is None:
        raise ConfigError("bench kafka needs a broker: name one with --bootstrap, or set KAFKA_HOME")
    with TemporaryDirectory() as name, _running(home, Path(name)) as address:
        yield address


@contextmanager
def _running(home: Path, folder: Path) -> Iterator[str]:
    port, controller = _free_ports()
    (folder / "server.properties").write_text(_settings(folder, port, controller))
    environment = {**os.environ, **_ENVIRONMENT, "LOG_DIR": str(folder / "logs")}
    words = ["format", "-t", _CLUSTER, "-c", "server.properties"]
    _storage(home, words, folder, environment)
    with (folder / "out").open("wb") as out:
        server = subprocess.Popen(
            [str(home / "bin" / "kafka-server-start.sh"), "server.properties"],
            cwd=folder,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        _wait(server, f"127.0.0.1:{port}", folder / "out")
        yield f"127.0.0.1:{port}"
    finally:
        _end(server)
        shutil.rmtree(folder / "data", ignore_errors=True)


def _settings(folder: Path, port: int, controller: int) -> str:
    return "\n".join(
        [
            _SETTINGS.strip(),
            f"listeners=CLIENTS://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller}",
            f"advertised.listeners=CLIENTS://127.0.0.1:{port}",
            f"controller.quorum.voters=1@127.0.0.1:{controller}",
            f"log.dirs={folder / 'data'}\n",
        ]
    )


def _storage(home: Path, words: list[str], folder: Path, environment: dict[str, str]) -> None:
    command = [str(home / "bin" / "kafka-storage.sh"), *words]
    try:
        subprocess.run(command, cwd=folder, env=environment, check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError) as error:
        raise ConfigError(f"KAFKA_HOME: {home} cannot be used: {error}") from error


def _wait(server: "subprocess.Popen[bytes]", address: str, out: Path) -> None:
    end = time.monotonic() + _PATIENCE
    while server.poll() is None and time.monotonic() < end:
        if _answers(address):
            return
        time.sleep(0.2)
    raise Unavailable(f"the broker of the bench did not start: {out.read_text(errors='replace')[-1_000:]}")


def _answers(address: str) -> bool:
    host, _, port = address.partition(":")
    try:
        socket.create_connection((host, int(port)), timeout=1).close()
        with closing(Kafka(KafkaOptions(address, startup_timeout=2_000)).admin()) as admin:
            admin.topics()
    except (OSError, StreamMtlError):
        return False
    return True


def _end(server: "subprocess.Popen[bytes]") -> None:
    server.terminate()
    try:
        server.wait(_PATIENCE)
    except subprocess.TimeoutExpired:
        server.kill()
        server.wait()


def _free_ports() -> tuple[int, int]:
    with socket.socket() as one, socket.socket() as other:
        one.bind(("127.0.0.1", 0))
        other.bind(("127.0.0.1", 0))
        return one.getsockname()[1], other.getsockname()[1]

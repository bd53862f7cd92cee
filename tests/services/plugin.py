"""The fixtures `broker`, `own_broker`, `registry` and `own_registry`, and the mark `needs`.

A test that needs what the broker at hand lacks is skipped, and the summary says so. With CI=true and a real broker
at hand, or none at all, it fails instead: nothing passes because a service was missing.
"""

import os
import random
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.services import kafka
from tests.services import registry as registries
from tests.services.double import Double
from tests.services.kafka import Broker, OwnBroker
from tests.services.registry import OwnRegistry, Registry
from tests.services.security import Mechanism, Protocol, Security, make_certificates
from tests.services.session import Run, note, notes, shared

MISSING = "not at hand: "
_RUN = pytest.StashKey[Run]()


def needs(*capabilities: str) -> pytest.MarkDecorator:
    """Mark what a test needs of its broker, by the names in `kafka.ALL`."""
    return pytest.mark.needs(*capabilities)


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "needs(capability...): what a test needs of its broker")
    if not hasattr(config, "workerinput"):
        config.stash[_RUN] = Run()


def pytest_unconfigure(config: pytest.Config) -> None:
    if _RUN in config.stash:
        config.stash[_RUN].end()


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    """Say which services were used, and what was skipped for want of one."""
    for service, names in notes(config.stash[_RUN].folder).items():
        terminalreporter.write_line(f"{service}: {', '.join(names)}")
    reasons = [str(report.longrepr[2]) for report in terminalreporter.stats.get("skipped", [])]
    for reason, number in Counter(reason for reason in reasons if MISSING in reason).items():
        terminalreporter.write_line(f"{number} skipped, {reason.removeprefix('Skipped: ')}")


def missing(reason: str, strict: bool) -> None:
    """Skip the test, or fail it if `strict`, under CI."""
    if strict and os.environ.get("CI") == "true":
        pytest.fail(f"{MISSING}{reason}; CI=true lets no test be skipped for that", pytrace=False)
    pytest.skip(f"{MISSING}{reason}")


def _needed(request: pytest.FixtureRequest) -> list[str]:
    return [name for mark in request.node.iter_markers("needs") for name in mark.args]


def _chosen(needed: list[str], own: bool) -> Any:
    there = list(kafka.kinds())
    found = kafka.chosen(there, needed, own)
    if isinstance(found, str):
        usable = [kind for kind in there if kind.ownable or not own]
        missing(found, strict=not there or any(kind.real for kind in usable))
    note("kafka", found.name)
    return found


@pytest.fixture
def broker(request: pytest.FixtureRequest) -> Broker:
    """The broker that all tests of a run share. Name topics and groups uniquely."""
    kind = _chosen(_needed(request), own=False)
    if isinstance(kind, kafka.Given):
        return Broker(kind.bootstrap, kind.name, kind.capabilities)
    label = "kafka-" + type(kind).__name__.lower()
    address = shared(label, lambda folder: kafka.start_shared(kind, folder))
    return Broker(address, kind.name, kind.capabilities)


@pytest.fixture
def own_broker(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Callable[..., OwnBroker]]:
    """Make and start brokers of this test alone: own_broker(), own_broker("sasl_ssl", "plain").

    With `rights`, others than its own user may only do what they were allowed to.
    """
    made: list[OwnBroker] = []

    def make(
        protocol: Protocol = "plaintext",
        mechanism: Mechanism = "scram-sha-512",
        client_certificate: bool = False,
        rights: bool = False,
    ) -> OwnBroker:
        secured = [name for name in ("sasl", "tls") if {"tls": "ssl"}.get(name, name) in protocol.split("_")]
        kind = _chosen([*_needed(request), *secured], own=True)
        certificates = make_certificates(tmp_path / "certificates") if "tls" in secured else None
        security = Security(protocol, mechanism, certificates, client_certificate, rights=rights)
        made.append(OwnBroker(kind, tmp_path / f"broker-{len(made)}", security))
        made[-1].start()
        return made[-1]

    yield make
    for one in made:
        one.remove()


@pytest.fixture(scope="session")
def _double() -> Iterator[Double]:
    double = Double()
    yield double
    double.stop()


@pytest.fixture
def registry(request: pytest.FixtureRequest) -> Registry:
    """The schema registry that all tests of a run share. Name subjects uniquely."""
    address, home = os.environ.get(registries.ADDRESS), registries.installed()
    if address:
        found = Registry(address, f"the registry at {address}")
    elif home is not None:
        url = shared("schema-registry", lambda folder: registries.start_shared(home, folder))
        found = Registry(url, registries.NAME)
    else:
        found = Registry(request.getfixturevalue("_double").url, registries.DOUBLE)
    note("schema registry", found.name)
    return found


@pytest.fixture
def own_registry(tmp_path: Path) -> Iterator[OwnRegistry]:
    """A schema registry of this test alone."""
    found = registries.own(registries.installed(), tmp_path / "registry")
    note("schema registry", found.name)
    yield found
    found.stop()


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Give kafka-python dice of its own: its threads throw those of everybody, and hypothesis holds that against us."""
    for name in [name for name in sys.modules.copy() if name.startswith("kafka.")]:
        module = sys.modules[name]
        if vars(module).get("random") is random:
            vars(module)["random"] = random.Random()

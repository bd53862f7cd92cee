"""What is asked of a connection, and that no secret is ever shown."""

import logging
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from stream_mtl.connectors.base import Format
from stream_mtl.connectors.kafka_reader import Topic
from stream_mtl.connectors.security import KafkaOptions, connection, consuming, producing, quiet
from stream_mtl.errors import ConfigError, Unavailable
from tests.services.kafka import OwnBroker

CANARY = "canary-secret"


def options_of(broker: OwnBroker) -> KafkaOptions:
    security = broker.security
    return KafkaOptions(
        broker.bootstrap,
        security.protocol,
        security.mechanism,
        user=security.user,
        password=security.password,
        ca_path=security.certificates.ca if security.certificates else None,
        cert_path=security.certificates.cert if security.client_certificate else None,
        key_file=security.certificates.key if security.client_certificate else None,
        allow_insecure_sasl=security.protocol == "sasl_plaintext",
        startup_timeout=20_000,
    )


@pytest.mark.parametrize(
    ("wrong", "why"),
    [
        (lambda: KafkaOptions(security="sasl_ssl"), "needs a user and a password"),
        (lambda: KafkaOptions(security="sasl_ssl", user="u"), "needs a user and a password"),
        (
            lambda: KafkaOptions(security="sasl_plaintext", user="u", password=CANARY),
            "allow_insecure_sasl = true",
        ),
        (lambda: KafkaOptions(request_timeout=5_000, delivery_timeout=5_000), "delivery_timeout"),
        (lambda: connection(KafkaOptions(security="ssl", ca_path=Path("absent.pem"))), "absent.pem"),
    ],
)
def test_what_cannot_be_or_should_not_be_is_refused(wrong: Callable[[], object], why: str) -> None:
    with pytest.raises(ConfigError, match=why) as caught:
        wrong()
    assert CANARY not in str(caught.value)


def test_nothing_dangerous_is_left_to_a_default() -> None:
    settings = consuming()
    assert (settings["enable_auto_commit"], settings["allow_auto_create_topics"]) == (False, False)
    assert (settings["isolation_level"], settings["auto_offset_reset"]) == ("read_committed", "none")
    assert settings["key_deserializer"] is settings["value_deserializer"] is None
    settings = producing(KafkaOptions(), "lz4")
    assert (settings["acks"], settings["enable_idempotence"], settings["allow_auto_create_topics"]) == (
        "all",
        True,
        False,
    )
    assert connection(KafkaOptions())["security_protocol"] == "PLAINTEXT"


def test_a_broker_must_show_who_it_is() -> None:
    import ssl

    context = connection(KafkaOptions(security="ssl"))["ssl_context"]
    assert context.check_hostname
    assert context.verify_mode == ssl.CERT_REQUIRED
    assert context.minimum_version >= ssl.TLSVersion.TLSv1_2


def test_a_password_is_not_shown_by_what_holds_it() -> None:
    options = KafkaOptions(security="sasl_ssl", user="u", password=CANARY)
    assert CANARY not in repr(options) + repr(connection(options)) + f"{connection(options)}"
    assert connection(options)["sasl_plain_password"] == CANARY


def test_kafka_python_never_logs_below_info_whatever_its_loggers_are_set_to(
    caplog: pytest.LogCaptureFixture,
) -> None:
    logger = logging.getLogger("kafka.made.up")
    quiet()
    with caplog.at_level(logging.DEBUG, logger="kafka.made.up"):
        logger.debug("a frame with %s", CANARY)
        logger.info("seen")
    assert [record.getMessage() for record in caplog.records] == ["seen"]


@pytest.mark.parametrize(
    ("protocol", "mechanism", "client_certificate"),
    [("sasl_plaintext", "plain", False), ("sasl_ssl", "scram-sha-512", True)],
)
def test_a_secured_broker_is_used_and_no_log_shows_the_password(
    own_broker: Callable[..., OwnBroker],
    protocol: str,
    mechanism: str,
    client_certificate: bool,
    caplog: pytest.LogCaptureFixture,
) -> None:
    from stream_mtl.connectors.kafka import Kafka

    broker = own_broker(protocol, mechanism, client_certificate)
    options = options_of(broker)
    names = [name for name in logging.root.manager.loggerDict if name.startswith("kafka")]
    with caplog.at_level(logging.DEBUG):
        for name in names:
            caplog.set_level(logging.DEBUG, logger=name)
        kafka = Kafka(options)
        admin = kafka.admin()
        admin.create("t", 1)
        admin.close()
        sink = kafka.sink("t")
        sink.add(b"a")
        sink.close()
        reader = kafka.reader({"s": Topic("t", Format("json"))}, follow=False)
        assert sum(map(len, reader.sources["s"].poll(9))) == 1
        reader.close()
        member = kafka.member("g", ["t"], print)
        member.poll()
        member.close()
        wrong = Kafka(replace(options, password=f"not-{CANARY}", startup_timeout=1_500))
        with pytest.raises(Unavailable, match="A wrong user or password looks like this") as caught:
            wrong.admin()
        if options.ca_path is not None:
            other = broker.security.certificates.other_ca
            with pytest.raises(Unavailable, match="certificate that is not signed"):
                Kafka(replace(options, ca_path=other, startup_timeout=1_500)).admin()
    assert any(record.name.startswith("kafka") for record in caplog.records)
    assert CANARY not in caplog.text + str(caught.value)

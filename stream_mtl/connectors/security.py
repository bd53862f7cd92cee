"""How a client is connected to Kafka: the options, and what they mean as settings of kafka-python."""

import logging
import ssl
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Literal, TypeAlias

from stream_mtl.connectors.renewing import RenewingContext
from stream_mtl.errors import ConfigError

Security: TypeAlias = Literal["plaintext", "ssl", "sasl_plaintext", "sasl_ssl"]
Mechanism: TypeAlias = Literal["plain", "scram-sha-256", "scram-sha-512"]
Compression: TypeAlias = Literal["none", "gzip", "snappy", "lz4", "zstd"]

Settings: TypeAlias = dict[str, Any]


class Hidden(str):
    """A text that is not shown: kafka-python writes its settings into its log."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "'***'"


@dataclass(frozen=True, slots=True)
class KafkaOptions:
    """Where the broker is, who we are, and how long we wait. Raises ConfigError when it cannot be as it is.

    Times are ms. `request_timeout` is how long one answer may take, `delivery_timeout` how long a record may take to
    become durable, `startup_timeout` how long a broker may not be there when a client starts.
    """

    bootstrap_servers: str = "localhost:9092"  # comma-separated
    security: Security = "plaintext"
    mechanism: Mechanism = "scram-sha-512"
    user: str | None = None
    password: str | None = field(default=None, repr=False)
    ca_path: Path | None = None
    cert_path: Path | None = None
    key_file: Path | None = None
    allow_insecure_sasl: bool = False
    client_id: str = "stream-mtl"
    request_timeout: int = 30_000
    delivery_timeout: int = 60_000
    startup_timeout: int = 60_000
    largest_record: int = 16 << 20  # bytes that are sent at once; the broker has its own limit

    def __post_init__(self) -> None:
        if self.security.startswith("sasl") and not (self.user and self.password):
            raise ConfigError(f"kafka: security {self.security} needs a user and a password")
        if self.security == "sasl_plaintext" and not self.allow_insecure_sasl:
            raise ConfigError(
                "kafka: with security sasl_plaintext the password can be read on the wire; use sasl_ssl, "
                "or set allow_insecure_sasl = true"
            )
        if self.delivery_timeout < self.request_timeout + LINGER:
            raise ConfigError("kafka: delivery_timeout must be longer than request_timeout")


LINGER: Final = 5  # ms that a producer waits for more records to send at once
_HIGHEST_BACKOFF = 1_000  # ms


def connection(options: KafkaOptions) -> Settings:
    """Return what all clients are told. Raises ConfigError when certificates cannot be read."""
    settings: Settings = {
        "bootstrap_servers": [server.strip() for server in options.bootstrap_servers.split(",")],
        "client_id": options.client_id,
        "request_timeout_ms": options.request_timeout,
        "security_protocol": options.security.upper(),
        "reconnect_backoff_max_ms": _HIGHEST_BACKOFF,
    }
    if options.security in ("ssl", "sasl_ssl"):
        settings["ssl_context"] = tls(options)
    if options.security in ("sasl_plaintext", "sasl_ssl"):
        settings["sasl_mechanism"] = options.mechanism.upper()
        settings["sasl_plain_username"] = options.user
        settings["sasl_plain_password"] = Hidden(options.password)
    return settings


def consuming() -> Settings:
    """Return what consumers are told besides: nothing is committed, created, reset or decoded behind our back."""
    return {
        "enable_auto_commit": False,
        "allow_auto_create_topics": False,
        "auto_offset_reset": "none",
        "isolation_level": "read_committed",
        "check_crcs": True,
        "metrics_enabled": False,
        "key_deserializer": None,
        "value_deserializer": None,
        "fetch_max_wait_ms": 100,  # a partition that is resumed waits for the fetch that is under way
        "fetch_max_bytes": 32 << 20,
        "max_partition_fetch_bytes": 2 << 20,
        "max_poll_records": 10_000,
    }


def producing(options: KafkaOptions, compression: Compression) -> Settings:
    """Return what producers are told besides: every record is acknowledged by all replicas, once and in order."""
    return {
        "enable_idempotence": True,
        "acks": "all",
        "allow_auto_create_topics": False,
        "compression_type": None if compression == "none" else compression,
        "linger_ms": LINGER,
        "batch_size": 256 << 10,
        "max_request_size": options.largest_record,
        "max_block_ms": options.request_timeout,
        "delivery_timeout_ms": options.delivery_timeout,
        "metrics_enabled": False,
    }


def tls(options: KafkaOptions) -> ssl.SSLContext:
    """Return a context that checks the broker's certificate and name; renewed files serve. Raises ConfigError."""
    try:
        return RenewingContext.of(options.ca_path, options.cert_path, options.key_file)
    except (OSError, ssl.SSLError) as error:
        paths = ", ".join(
            str(path) for path in (options.ca_path, options.cert_path, options.key_file) if path
        )
        raise ConfigError(f"kafka: certificates cannot be used: {error} ({paths})") from error


def quiet() -> None:
    """Keep kafka-python from logging below INFO, whatever its loggers are set to: it writes passwords there."""
    for name in [name for name in logging.root.manager.loggerDict if name.split(".")[0] == "kafka"]:
        logger = logging.getLogger(name)
        if _harmless not in logger.filters:
            logger.addFilter(_harmless)


def _harmless(record: logging.LogRecord) -> bool:
    return record.levelno >= logging.INFO


def silence(options: KafkaOptions, waited: int) -> str:
    """Return what to tell an operator when no broker has answered for so many ms."""
    text = f"kafka: no broker at {options.bootstrap_servers} answered in {waited / 1000:g} s; is it running?"
    if options.security.startswith("sasl"):
        text += f" A wrong user or password looks like this too (user {options.user}, {options.mechanism})."
    if options.security.endswith("ssl"):
        text += " So does a certificate that is not signed by ca_path, or is for another host."
    if options.security == "plaintext":
        text += " A port that expects TLS or a password looks like this too: see kafka.security."
    return text

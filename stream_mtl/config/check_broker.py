"""What the connection to a broker must make sense of."""

from collections.abc import Iterator

from stream_mtl.config.problems import Problem
from stream_mtl.config.sections import Config


def known_user(config: Config) -> Iterator[Problem]:
    """SASL shows who we are; the password may come later, from the environment."""
    kafka = config.kafka
    if kafka.security.startswith("sasl") and kafka.user is None:
        yield Problem(("kafka",), f'`user` is missing; security "{kafka.security}" shows one to the broker')


def hidden_password(config: Config) -> Iterator[Problem]:
    """Without TLS a password can be read on the wire."""
    kafka = config.kafka
    if kafka.security == "sasl_plaintext" and not kafka.allow_insecure_sasl:
        text = (
            "would show the password to everyone on the wire; use sasl_ssl, or set allow_insecure_sasl = true"
        )
        yield Problem(("kafka", "security"), text)


def whole_identity(config: Config) -> Iterator[Problem]:
    """A certificate is of use with its key only."""
    kafka = config.kafka
    if kafka.key_file is not None and kafka.cert_path is None:
        yield Problem(("kafka",), "`cert_path` is missing; key_file is the key of a certificate")

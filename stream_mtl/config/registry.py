"""The schema registry that a configuration names."""

from pathlib import Path

from pydantic import SecretStr

from stream_mtl.config.sections import Kafka
from stream_mtl.connectors.registry import SchemaRegistry
from stream_mtl.connectors.rest import Endpoint
from stream_mtl.errors import ConfigError


def schema_registry(kafka: Kafka) -> SchemaRegistry | None:
    """Return the registry, not asked yet; None if none is named. Raises ConfigError when a file cannot be read."""
    if kafka.registry_url is None:
        return None
    endpoint = Endpoint(
        kafka.registry_url,
        user=kafka.registry_user,
        password=_secret(kafka.registry_password, kafka.registry_password_file),
        token=_secret(None, kafka.registry_token_file),
        ca_path=kafka.registry_ca_path or kafka.ca_path,
        cert_path=kafka.cert_path,
        key_file=kafka.key_file,
        timeout=kafka.registry_timeout,
    )
    return SchemaRegistry(endpoint, kafka.registry_cache)


def _secret(given: SecretStr | None, path: Path | None) -> str | None:
    """Return a secret: as it is given, or else the only line of its file."""
    if given is not None:
        return given.get_secret_value()
    if path is None:
        return None
    try:
        return path.read_text(encoding="utf-8").rstrip("\r\n")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: the secret cannot be read: {error}") from error

"""The schema registry that a configuration names."""

from stream_mtl.config.secrets import secret_of
from stream_mtl.config.sections import Kafka
from stream_mtl.connectors.registry import SchemaRegistry
from stream_mtl.connectors.rest import Endpoint


def schema_registry(kafka: Kafka) -> SchemaRegistry | None:
    """Return the registry, not asked yet; None if none is named. Raises ConfigError when a file cannot be read."""
    if kafka.registry_url is None:
        return None
    endpoint = Endpoint(
        kafka.registry_url,
        user=kafka.registry_user,
        password=secret_of(kafka.registry_password, kafka.registry_password_file),
        token=secret_of(None, kafka.registry_token_file),
        ca_path=kafka.registry_ca_path or kafka.ca_path,
        cert_path=kafka.cert_path,
        key_file=kafka.key_file,
        timeout=kafka.registry_timeout,
    )
    return SchemaRegistry(endpoint, kafka.registry_cache)

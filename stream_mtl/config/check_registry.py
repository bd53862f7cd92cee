"""What the connection to a schema registry must make sense of."""

from collections.abc import Iterator

from stream_mtl.config.problems import Problem
from stream_mtl.config.sections import Config
from stream_mtl.connectors.rest import Endpoint
from stream_mtl.errors import ConfigError

_BELONG = ("registry_user", "registry_password_file", "registry_token_file", "registry_ca_path")


def reachable_registry(config: Config) -> Iterator[Problem]:
    """A registry has an address, and a user or a token at most; the password may come later, from the environment."""
    kafka = config.kafka
    if kafka.registry_url is None:
        for name in _BELONG:
            if getattr(kafka, name) is not None:
                yield Problem(("kafka",), f"`registry_url` is missing; {name} belongs to it")
        return
    if kafka.registry_password_file is not None and kafka.registry_user is None:
        yield Problem(
            ("kafka",), "`registry_user` is missing; registry_password_file holds a user's password"
        )
    password = None if kafka.registry_user is None else "to come"
    token = None if kafka.registry_token_file is None else "to-come"
    try:
        Endpoint(kafka.registry_url, kafka.registry_user, password, token)
    except ConfigError as error:
        yield Problem(("kafka", "registry_url"), str(error))

"""Secrets: given in the environment, or in a file of their own."""

from pathlib import Path

from pydantic import SecretStr

from stream_mtl.errors import ConfigError


def secret_of(given: SecretStr | None, path: Path | None) -> str | None:
    """Return a secret: as it is given, or else the only line of its file. Raises ConfigError if that cannot be read."""
    if given is not None:
        return given.get_secret_value()
    if path is None:
        return None
    try:
        return path.read_text(encoding="utf-8").rstrip("\r\n")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: the secret cannot be read: {error}") from error

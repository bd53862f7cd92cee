"""Who may ask: bearer tokens, several valid at once so that they can be changed one by one."""

import hashlib
import hmac
from collections.abc import Iterable
from pathlib import Path

from stream_mtl.errors import ConfigError


class Tokens:
    """The tokens that are accepted. They are compared as digests, in a time that says nothing about them."""

    def __init__(self, tokens: Iterable[str]) -> None:
        self._digests = [_digest(token.encode()) for token in tokens]

    def accepts(self, authorization: str | None) -> bool:
        """Return whether the value of an Authorization header holds one of the tokens."""
        scheme, _, token = (authorization or "").partition(" ")
        found = _digest(token.strip().encode())
        equal = [hmac.compare_digest(found, digest) for digest in self._digests]
        return scheme.lower() == "bearer" and any(equal)


def read_tokens(path: Path) -> Tokens:
    """Return the tokens of a file, one a line; blank lines and lines that begin with # are none. Raises ConfigError."""
    try:
        lines = [line.strip() for line in path.read_text().splitlines()]
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: the tokens cannot be read: {error}") from error
    tokens = [line for line in lines if line and not line.startswith("#")]
    if not tokens:
        raise ConfigError(f"{path}: holds no token, so nobody could ask; write one a line")
    return Tokens(tokens)


def _digest(token: bytes) -> bytes:
    return hashlib.sha256(token).digest()

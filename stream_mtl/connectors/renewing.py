"""Certificates that are renewed while a process runs: each new connection reads their files again if they have changed."""

import logging
import ssl
from collections.abc import Iterable
from pathlib import Path
from typing import Any, TypeAlias

log = logging.getLogger(__name__)

Stamps: TypeAlias = tuple[tuple[int, int], ...]
"""When each file was changed last (ns), and its inode."""


class RenewingContext(ssl.SSLContext):
    """A client's context. It checks the certificate and the name of whom it talks to; TLS 1.2 is the least."""

    _ca: Path | None
    _cert: Path | None
    _key: Path | None
    _stamps: Stamps

    @classmethod
    def of(cls, ca: Path | None, cert: Path | None, key: Path | None) -> "RenewingContext":
        """Trust an authority (None: whom this machine trusts), and show a certificate, if there is one.

        Raises OSError, ssl.SSLError.
        """
        made = cls(ssl.PROTOCOL_TLS_CLIENT)
        made.minimum_version = ssl.TLSVersion.TLSv1_2
        made._ca, made._cert, made._key = ca, cert, key
        made._stamps = made._now()
        made._load(made)
        return made

    def wrap_socket(self, *arguments: Any, **options: Any) -> ssl.SSLSocket:
        """Begin a connection, with what the files hold now."""
        self._renew()
        return super().wrap_socket(*arguments, **options)

    def _renew(self) -> None:
        """Read the files again. A pair that does not fit, as while it is being replaced, is left for the next time."""
        try:
            stamps = self._now()
            if stamps == self._stamps:
                return
            self._load(ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT))
            self._load(self)
        except OSError as error:  # ssl.SSLError is one
            log.warning("certificates that have changed cannot be used yet: %s", error)
            return
        self._stamps = stamps
        log.info("certificates were read again")

    def _load(self, context: ssl.SSLContext) -> None:
        if self._ca is None:
            context.load_default_certs()
        else:
            context.load_verify_locations(self._ca)
        if self._cert is not None:
            context.load_cert_chain(self._cert, self._key)

    def _now(self) -> Stamps:
        return _stamps(path for path in (self._ca, self._cert, self._key) if path is not None)


def _stamps(paths: Iterable[Path]) -> Stamps:
    stats = [path.stat() for path in paths]
    return tuple((stat.st_mtime_ns, stat.st_ino) for stat in stats)

"""What a secured server and its clients need: certificates, users, and how a client says so."""

import ssl
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeAlias

Protocol: TypeAlias = Literal["plaintext", "ssl", "sasl_plaintext", "sasl_ssl"]
Mechanism: TypeAlias = Literal["plain", "scram-sha-256", "scram-sha-512"]

USER, PASSWORD = "tester", "canary-secret"


@dataclass(frozen=True, slots=True)
class Certificates:
    """PEM files: an authority, a server's certificate for 127.0.0.1 and localhost, a client's, and a stranger's."""

    folder: Path

    @property
    def ca(self) -> Path:
        return self.folder / "ca.pem"

    @property
    def cert(self) -> Path:
        return self.folder / "client.pem"

    @property
    def key(self) -> Path:
        return self.folder / "client-key.pem"

    @property
    def server_cert(self) -> Path:
        return self.folder / "server.pem"

    @property
    def server_key(self) -> Path:
        return self.folder / "server-key.pem"

    @property
    def other_ca(self) -> Path:
        """An authority that has signed nothing here."""
        return self.folder / "other.pem"

    def server_context(self) -> ssl.SSLContext:
        """Return what a TLS server of Python needs."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.server_cert, self.server_key)
        return context


def make_certificates(folder: Path) -> Certificates:
    """Make all of them anew, with the `openssl` command."""
    folder.mkdir(parents=True, exist_ok=True)
    _authority(folder, "ca")
    _authority(folder, "other")
    _signed(folder, "server", "subjectAltName=DNS:localhost,IP:127.0.0.1")
    _signed(folder, "client", "extendedKeyUsage=clientAuth")
    return Certificates(folder)


_KEY = ("-newkey", "rsa:2048", "-nodes", "-sha256")


def _authority(folder: Path, name: str) -> None:
    _openssl(
        folder, "req", "-x509", *_KEY, "-days", "3650", "-subj", f"/CN=test {name}",
        "-keyout", f"{name}-key.pem", "-out", f"{name}.pem",
    )  # fmt: skip


def _signed(folder: Path, name: str, extension: str) -> None:
    (folder / f"{name}.ext").write_text(extension)
    _openssl(
        folder, "req", *_KEY, "-subj", f"/CN={name}", "-keyout", f"{name}-key.pem", "-out", f"{name}.csr"
    )
    _openssl(
        folder, "x509", "-req", "-in", f"{name}.csr", "-CA", "ca.pem", "-CAkey", "ca-key.pem", "-CAcreateserial",
        "-days", "3650", "-sha256", "-extfile", f"{name}.ext", "-out", f"{name}.pem",
    )  # fmt: skip


def _openssl(folder: Path, *arguments: str) -> None:
    subprocess.run(["openssl", *arguments], cwd=folder, check=True, capture_output=True)


@dataclass(frozen=True, slots=True)
class Security:
    """How a broker is secured, and what a client shows it."""

    protocol: Protocol = "plaintext"
    mechanism: Mechanism = "scram-sha-512"
    certificates: Certificates | None = None
    client_certificate: bool = False
    """Whether the broker demands a client's certificate."""
    rights: bool = False
    """Whether everybody but its own user has only the rights that they were given."""
    user: str = USER
    password: str = PASSWORD

    def kafka_python(self) -> dict[str, Any]:
        """Return the arguments of a kafka-python client."""
        chosen: dict[str, Any] = {"security_protocol": self.protocol.upper()}
        if "ssl" in self.protocol and self.certificates is not None:
            chosen["ssl_cafile"] = str(self.certificates.ca)
            if self.client_certificate:
                chosen["ssl_certfile"] = str(self.certificates.cert)
                chosen["ssl_keyfile"] = str(self.certificates.key)
        if "sasl" in self.protocol:
            chosen["sasl_mechanism"] = self.mechanism.upper()
            chosen["sasl_plain_username"] = self.user
            chosen["sasl_plain_password"] = self.password
        return chosen

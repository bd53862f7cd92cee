"""A certificate that is renewed while a process runs is shown from the next connection on."""

import shutil
import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from stream_mtl.connectors.renewing import RenewingContext
from tests.services.security import Certificates, make_certificates


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    return make_certificates(tmp_path_factory.mktemp("certificates"))


@pytest.fixture
def held(made: Certificates, tmp_path: Path) -> Path:
    """A folder with an authority, and a certificate with its key."""
    for source, name in ((made.ca, "ca"), (made.cert, "cert"), (made.key, "key")):
        shutil.copy(source, tmp_path / f"{name}.pem")
    return tmp_path


class Server:
    """Asks each client for its certificate; `names` are whose they were."""

    def __init__(self, made: Certificates) -> None:
        self.names: list[str] = []
        self._context = made.server_context()
        self._context.load_verify_locations(made.ca)
        self._context.verify_mode = ssl.CERT_REQUIRED
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def _serve(self) -> None:
        while True:
            try:
                plain, _ = self._listener.accept()
            except OSError:
                return
            with suppress(OSError), self._context.wrap_socket(plain, server_side=True) as one:
                subject = dict(pair[0] for pair in (one.getpeercert() or {})["subject"])  # type: ignore[misc]
                self.names.append(subject["commonName"])
                one.sendall(b"seen")
            plain.close()

    def close(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join()


@pytest.fixture
def server(made: Certificates) -> Iterator[Server]:
    one = Server(made)
    yield one
    one.close()


def shown(context: ssl.SSLContext, server: Server) -> str:
    """Connect, and return as whom we were seen."""
    with (
        socket.create_connection(("127.0.0.1", server.port), timeout=60) as plain,
        context.wrap_socket(plain, server_hostname="127.0.0.1") as one,
    ):
        assert one.recv(4) == b"seen"
    return server.names[-1]


def context_of(held: Path) -> RenewingContext:
    return RenewingContext.of(held / "ca.pem", held / "cert.pem", held / "key.pem")


def put(path: Path, file: Path) -> None:
    """Give a file another content, as whoever renews certificates does."""
    beside = file.with_suffix(".new")
    shutil.copy(path, beside)
    beside.replace(file)


def test_a_renewed_certificate_is_shown_from_the_next_connection_on(
    made: Certificates, held: Path, server: Server
) -> None:
    context = context_of(held)
    assert shown(context, server) == "client"
    put(made.server_cert, held / "cert.pem")
    assert shown(context, server) == "client"  # the key is not there yet
    put(made.server_key, held / "key.pem")
    assert shown(context, server) == "server"


def test_files_that_have_gone_leave_what_there_was(held: Path, server: Server) -> None:
    context = context_of(held)
    for name in ("ca", "cert", "key"):
        (held / f"{name}.pem").unlink()
    assert shown(context, server) == "client"


def test_it_is_checked_who_answers(made: Certificates, held: Path, server: Server) -> None:
    context = RenewingContext.of(made.other_ca, None, None)
    assert context.check_hostname and context.verify_mode == ssl.CERT_REQUIRED
    assert context.minimum_version == ssl.TLSVersion.TLSv1_2
    with (
        socket.create_connection(("127.0.0.1", server.port), timeout=60) as plain,
        pytest.raises(ssl.SSLCertVerificationError),
    ):
        context.wrap_socket(plain, server_hostname="127.0.0.1")

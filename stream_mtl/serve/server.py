"""A server for the application: one process, one port, and an end that answers what was asked."""

import asyncio
import gc
import socket
from collections.abc import Callable

from litestar import Litestar
from uvicorn import Config, Server

from stream_mtl.clock import SECOND, Millis
from stream_mtl.errors import Unavailable

YOUNG = 20_000
"""Objects made and not let go before the garbage collector looks at them."""


def calm_collector() -> None:
    """Let the garbage collector pass over all that is there by now, and look less often at what comes.

    For the whole process. Else one look at everything that was imported falls into an early request: 20 to 60 ms.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(YOUNG)


def run(
    app: Litestar,
    host: str,
    port: int,
    stop: Callable[[], bool],
    announce: Callable[[str, int], None] | None = None,
    drain: Millis = 0,
    grace: Millis = 10 * SECOND,
) -> None:
    """Serve until `stop()`, SIGINT or SIGTERM. Raises Unavailable if the port cannot be had.

    `announce` is told host and port once requests are taken; port 0 is any free one. At the end: 1 /readyz says so
    for `drain`, so that no more is sent here; 2 the port closes; 3 requests that have begun are answered, within
    `grace`; 4 the application closes. A signal that was caught is raised again then, and begins with 2.
    """
    listening = _listen(host, port)
    config = Config(
        app,
        log_config=None,
        access_log=False,
        http="httptools",
        ws="none",
        lifespan="on",
        proxy_headers=False,
        server_header=False,
        timeout_graceful_shutdown=max(1, grace // SECOND),
    )
    with listening:
        _Server(config, app, stop, announce, drain).run(sockets=[listening])


class _Server(Server):
    def __init__(
        self,
        config: Config,
        app: Litestar,
        stop: Callable[[], bool],
        announce: Callable[[str, int], None] | None,
        drain: Millis,
    ) -> None:
        super().__init__(config)
        self._app, self._stop, self._announce, self._drain = app, stop, announce, drain

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if self.started and self._announce is not None and sockets:
            self._announce(*sockets[0].getsockname()[:2])

    async def on_tick(self, counter: int) -> bool:
        if await super().on_tick(counter):
            return True
        if not self._stop():
            return False
        self._app.state.draining = True
        await asyncio.sleep(self._drain / 1_000)
        return True


def _listen(host: str, port: int) -> socket.socket:
    # asyncio turns Nagle's delay off only where the protocol is spelled out; else every answer takes 40 ms.
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listening = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind((host, port))
        listening.listen()
    except OSError as error:
        listening.close()
        raise Unavailable(
            f"{host}:{port} cannot be listened on: {error}; stop what does, or choose another port"
        ) from error
    return listening

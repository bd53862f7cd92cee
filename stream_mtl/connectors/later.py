"""A sink that is opened when it is first flushed, so that whoever writes to it can start without it."""

from collections.abc import Callable

from stream_mtl.connectors.base import Sink


class LateSink:
    """Holds what is added until `open` has worked."""

    def __init__(self, open: Callable[[], Sink]) -> None:
        """`open` may raise Unavailable; then it is tried again at the next flush."""
        self._open = open
        self._sink: Sink | None = None
        self._held: list[tuple[bytes, bytes | None]] = []

    def add(self, value: bytes, key: bytes | None = None) -> None:
        """Take one record."""
        if self._sink is None:
            self._held.append((value, key))
        else:
            self._sink.add(value, key)

    def flush(self) -> None:
        """Open the sink if that is still to be done, and flush it. Raises Unavailable."""
        if self._sink is None:
            self._sink = self._open()
            held, self._held = self._held, []
            for value, key in held:
                self._sink.add(value, key)
        self._sink.flush()

    def close(self) -> None:
        """Flush what there is, and close the sink. Raises Unavailable."""
        if self._held:
            self.flush()
        if self._sink is not None:
            self._sink.close()

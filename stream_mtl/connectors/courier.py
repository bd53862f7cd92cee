"""Records to any topics of a bus, each with its own time and headers: for tools that fill topics and send again."""

from collections.abc import Callable, Sequence
from typing import Any, Final, Protocol, TypeAlias

Header: TypeAlias = tuple[str, bytes]

_WAITING: Final = 10_000  # records that may be on their way


class TimedOutbox(Protocol):
    """A producer of one topic that is told time and headers too."""

    def send(
        self,
        value: bytes,
        key: bytes | None,
        partition: int | None = None,
        time: int | None = None,
        headers: Sequence[Header] = (),
    ) -> Any:
        """Send a record, as `kafka_writer.Outbox` does."""
        ...

    def settle(self) -> None:
        """Return when everything sent is durable or has failed."""
        ...

    def refusal(self) -> Exception:
        """Give up on everything that is on its way; return what to raise about it."""
        ...

    def close(self) -> None:
        """Let go. May be called twice."""
        ...


class Courier:
    """Sends, and says so when something has not arrived; nothing is held to be sent again."""

    def __init__(self, outbox: Callable[[str], TimedOutbox]) -> None:
        self._outbox = outbox
        self._outboxes: dict[str, TimedOutbox] = {}
        self._sent: list[tuple[str, Any]] = []

    def send(
        self,
        topic: str,
        value: bytes,
        key: bytes | None = None,
        partition: int | None = None,
        time: int | None = None,
        headers: Sequence[Header] = (),
    ) -> None:
        """Send one record. Now and then it waits for those before it; then it raises as `settle` does."""
        if topic not in self._outboxes:
            self._outboxes[topic] = self._outbox(topic)
        self._sent.append((topic, self._outboxes[topic].send(value, key, partition, time, headers)))
        if len(self._sent) >= _WAITING:
            self.settle()

    def settle(self) -> list[int]:
        """Return the offsets of what was sent since the last time, once it is durable.

        Raises Unavailable, ConfigError where we may not write, DataError for a record that is too large: then some
        of it may be there and some not.
        """
        for outbox in self._outboxes.values():
            outbox.settle()
        sent, self._sent = self._sent, []
        for topic, one in sent:
            if one is None or not one.succeeded():
                raise self._outboxes[topic].refusal()
        return [one.value.offset for _, one in sent]

    def close(self) -> None:
        """Let go of all producers. May be called twice."""
        while self._outboxes:
            self._outboxes.popitem()[1].close()

    def __enter__(self) -> "Courier":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

"""The log of served scores: every score that was given becomes an event, and none of them delays an answer."""

import threading
import time
from collections import deque
from collections.abc import Sequence
from typing import Any, Final

import msgspec
import structlog
from msgspec.structs import astuple

from stream_mtl.clock import SECOND, Millis
from stream_mtl.connectors.base import Sink
from stream_mtl.connectors.keys import record_key
from stream_mtl.errors import ConfigError, Unavailable
from stream_mtl.serve.requests import Asked, Messages, ScoreAnswer, refuse_twins

HOLD: Final = 100_000
"""Records that wait for the sink, at most."""

_FIELDS: Final = ("ts", "request_id", "snapshot")
_LAST_TRIES: Final = 3
_PAUSE: Final = 0.1  # seconds between them


class ScoreLog:
    """Writes `{key fields, ts, request_id, snapshot, outputs}`, one JSON object for every candidate returned.

    A thread writes, and every `log_every` makes durable what it wrote. While the sink does not
    take anything, records wait, `hold` of them, and beyond that are dropped and counted. Raises ConfigError if
    requests have no such key, or if it has the name of an output.
    """

    def __init__(
        self,
        sink: Sink,
        key: Sequence[str],
        messages: Messages,
        log_every: Millis = SECOND,
        hold: int = HOLD,
    ) -> None:
        _check(key, messages)
        self.written = 0  # records that the sink has made durable
        self.dropped = 0  # records that found no room
        self.keyless = 0  # candidates that lack a field of the key: no exposure could be theirs
        self.failures = 0  # times that the sink did not take what it was given
        self._sink, self._key, self._every, self._hold = sink, list(key), log_every, hold
        self._encode = msgspec.json.Encoder().encode
        self._waiting: deque[tuple[bytes, bytes]] = deque()  # (record, key)
        self._unsure = 0  # records in the sink that are not yet durable
        self._away = False  # the last write failed
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._run, name="score-log", daemon=True)

    @property
    def waiting(self) -> int:
        """How many records are not durable yet."""
        return len(self._waiting) + self._unsure

    def start(self) -> None:
        """Begin to write."""
        self._thread.start()

    def close(self) -> None:
        """Write all that waits, and let go of the sink. What it still does not take is dropped, and said."""
        self._closing.set()
        if self._thread.is_alive():
            self._thread.join()
        tries = 1
        while not self.write() and tries < _LAST_TRIES:
            time.sleep(_PAUSE)
            tries += 1
        if self.waiting:
            self._lose()
        else:
            self._sink.close()

    def add(self, asked: Asked, answer: ScoreAnswer[Any]) -> None:
        """Take an answer. It never blocks; called from one thread at a time."""
        records = self._records(asked, answer)
        if self.waiting + len(records) > self._hold:
            self.dropped += len(records)
        else:
            self._waiting.extend(records)

    def write(self) -> bool:
        """Give the sink what waits and make it visible; return whether it took it."""
        try:
            self._settle()
            self._fill()
            self._settle()
        except Unavailable as error:
            self._fail(error)
            return False
        self._away = False
        return True

    def _run(self) -> None:
        while not self._closing.wait(self._every / 1_000):
            self.write()

    def _settle(self) -> None:
        """Make durable and visible what the sink holds."""
        if self._unsure:
            self._sink.flush()
            self.written += self._unsure
            self._unsure = 0

    def _lose(self) -> None:
        structlog.get_logger().error("scores_lost", records=self.waiting, failures=self.failures)
        self.dropped += self.waiting
        self._waiting.clear()
        self._unsure = 0

    def _fail(self, error: Unavailable) -> None:
        self.failures += 1
        if not self._away:
            structlog.get_logger().warning("scores_unwritten", records=self.waiting, detail=str(error))
        self._away = True

    def _fill(self) -> None:
        """Move what waits to the sink; a record whose `add` raises is held by the sink nevertheless."""
        for _ in range(len(self._waiting)):
            self._unsure += 1
            self._sink.add(*self._waiting.popleft())

    def _records(self, asked: Asked, answer: ScoreAnswer[Any]) -> list[tuple[bytes, bytes]]:
        keys = list(zip(*asked.fields.select(self._key).to_pydict().values(), strict=True))
        names = (*self._key, *_FIELDS, *answer.outputs)
        told = (asked.time, asked.request_id, answer.snapshot)
        records = []
        for place, *scores in map(astuple, answer.scores):
            if None in keys[place]:
                self.keyless += 1
            else:
                record = self._encode(dict(zip(names, (*keys[place], *told, *scores), strict=True)))
                records.append((record, record_key(keys[place])))
        return records


def _check(key: Sequence[str], messages: Messages) -> None:
    refuse_twins([*key, *_FIELDS, *messages.outputs])
    for name in key:
        if name not in messages.schema.names:
            raise ConfigError(
                f'"{name}" is a key of served scores, and requests have no such field; declare it'
            )

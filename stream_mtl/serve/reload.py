"""New snapshots for a scorer that goes on answering: looked for, loaded beside, verified, and only then swapped in."""

import threading
from collections import Counter
from dataclasses import dataclass
from typing import Final

import structlog

from stream_mtl.clock import Clock, Millis
from stream_mtl.errors import FingerprintMismatch, StateCorrupt, StateError, Unavailable
from stream_mtl.failpoints import reach
from stream_mtl.publish.snapshot import Version
from stream_mtl.publish.store import SnapshotStore
from stream_mtl.serve.scorer import Scorer, load

REASONS: Final[tuple[tuple[type[Exception], str], ...]] = (
    (StateCorrupt, "corrupt"),
    (FingerprintMismatch, "fingerprint"),
    (StateError, "missing"),
    (Unavailable, "unavailable"),
    (OSError, "unavailable"),
    (Exception, "error"),
)
"""Why a snapshot was not swapped in: the first that fits, a closed set, fit for a metric's label."""

PASSING: Final = frozenset({"missing", "unavailable"})
"""Reasons that can pass by themselves: such a snapshot is tried again. Another one is not, until the latest changes."""


@dataclass(frozen=True, slots=True)
class Problem:
    """Why the latest snapshot does not serve."""

    version: Version | None  # None: the store did not say which is the latest
    reason: str  # of REASONS
    detail: str
    time: Millis  # when that was first seen


class Reloader:
    """Keeps a scorer at the latest snapshot, in a thread of its own. What answers is never taken away."""

    def __init__(self, store: SnapshotStore, scorer: Scorer, poll_every: Millis, clock: Clock) -> None:
        self.poll_every = poll_every
        self.problem: Problem | None = None
        self.counts: Counter[tuple[str, str]] = Counter()  # (result, reason) -> how often
        self._store, self._scorer, self._clock = store, scorer, clock
        self._closing, self._awake = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._run, name="reload", daemon=True)

    def start(self) -> None:
        """Begin to look, at once and then every `poll_every`."""
        self._thread.start()

    def close(self) -> None:
        """Look no more; what is being loaded is waited for."""
        self._closing.set()
        self._awake.set()
        if self._thread.is_alive():
            self._thread.join()

    def nudge(self) -> None:
        """Look now, in the thread: somebody says that there is a new snapshot. Any thread may call it."""
        self._awake.set()

    def look(self) -> None:
        """Swap in the latest snapshot if it is another one and verifies; else note why. Never raises.

        A version that was pruned while it was read, because a newer one came, is passed over. Where nothing
        serves yet and the latest cannot, the newest one before it does.
        """
        version = self._latest()
        while version is not None and self._is_new(version):
            fault = self._take(version)
            newest = self._latest()
            if newest == version:
                self._settle(version, fault)
                return
            version = newest

    def _run(self) -> None:
        while not self._closing.is_set():
            self._awake.clear()
            self.look()
            self._awake.wait(self.poll_every / 1_000)

    def _latest(self) -> Version | None:
        try:
            return self._store.latest()
        except Exception as error:
            self._note(None, error)
            return None

    def _is_new(self, version: Version) -> bool:
        loaded, problem = self._scorer.loaded, self.problem
        if loaded is not None and loaded.version == version:
            self.problem = None
            return False
        return problem is None or problem.version != version or problem.reason in PASSING

    def _take(self, version: Version) -> Exception | None:
        """Load and swap, or return what is wrong. Any exception, for a bad snapshot may not end the looking."""
        try:
            reach("serve.before_load")
            loaded = load(self._store, self._scorer.recipe, version)
            reach("serve.loaded")
        except Exception as error:
            return error
        self._scorer.swap(loaded)
        reach("serve.swapped")
        self.counts["swapped", ""] += 1
        structlog.get_logger().info("snapshot_swapped", version=version)
        return None

    def _settle(self, version: Version, fault: Exception | None) -> None:
        if fault is None:
            self.problem = None
            return
        self._note(version, fault)
        if self._scorer.loaded is None:
            self._fall_back(version)

    def _fall_back(self, refused: Version) -> None:
        """Take the newest snapshot before this one that verifies."""
        try:
            versions = self._store.versions()
        except Exception as error:
            self._note(None, error)
            return
        for version in sorted(versions, reverse=True):
            if version < refused and self._take(version) is None:
                return

    def _note(self, version: Version | None, fault: Exception) -> None:
        reason = next(name for kind, name in REASONS if isinstance(fault, kind))
        self.counts["refused", reason] += 1
        known = self.problem
        if known is not None and (known.version, known.reason) == (version, reason):
            return
        self.problem = Problem(version, reason, str(fault) or type(fault).__name__, self._clock())
        loaded = self._scorer.loaded
        structlog.get_logger().warning(
            "snapshot_refused",
            version=version,
            reason=reason,
            detail=self.problem.detail,
            serving=None if loaded is None else loaded.version,
            exc_info=fault if reason == "error" else None,
        )

"""From a learner's cut to a snapshot in the store; a store that is away costs snapshots, not the learner."""

from collections.abc import Callable, Mapping
from typing import Any

from stream_mtl.errors import Unavailable
from stream_mtl.failpoints import reach
from stream_mtl.join.feed import Place
from stream_mtl.learn.worker import Cut
from stream_mtl.measures import Sums, reading
from stream_mtl.publish.snapshot import Learned, Manifest, Position, Snapshot, Version
from stream_mtl.publish.store import SnapshotStore, unsealed


class Publisher:
    """Puts cuts into a store, and then announces them.

    What the store did not take, or could not be announced, is tried again, unless a newer one has come by then.
    """

    def __init__(
        self,
        store: SnapshotStore,
        keep: int,
        made: Callable[[], Mapping[str, Any]],
        announce: Callable[[Manifest], None] = lambda manifest: None,
    ) -> None:
        """`announce` may be told the same more than once. It raises Unavailable, and Fenced if another one publishes."""
        self._store, self._keep, self._made, self._announce = store, keep, made, announce
        self._unsent: Snapshot | None = None
        self._unsaid: Manifest | None = None
        self.published: Manifest | None = None  # the last one
        self.failures = 0  # puts that the store did not take
        self.problem: str | None = None  # why it does not take them, or they cannot be announced, now

    def recover(self) -> None:
        """Announce the latest snapshot: a crash may have come between."""
        latest = self._store.latest()
        if latest is not None:
            self._unsaid = self._store.manifest(latest)
            self.retry()

    def newest(self) -> Version | None:
        """Return the newest snapshot that is in the store, whichever serves."""
        return max(self._store.versions(), default=None)

    def publish(self, cut: Cut) -> None:
        """Put a cut and announce it, or hold it for `retry`. Raises StateError for one that may not be published."""
        self._unsent = snapshot_of(cut, self._made())
        self.retry()

    def retry(self) -> None:
        """Put and announce what could not be, if anything. Raises Fenced."""
        try:
            if self._unsent is not None:
                self._put(self._unsent)
            if self._unsaid is not None:
                reach("publish.before_announce")
                self._announce(self._unsaid)
                reach("publish.after_announce")
        except Unavailable as error:
            self.failures += 1
            self.problem = str(error)
            return
        self._unsaid, self.problem = None, None

    def _put(self, snapshot: Snapshot) -> None:
        reach("publish.before_put")
        self._store.put(snapshot)
        reach("publish.after_put")
        self._store.prune(self._keep)
        self.published, self._unsent = snapshot.manifest, None
        self._unsaid = self._store.manifest(snapshot.manifest.version)


def snapshot_of(cut: Cut, made: Mapping[str, Any]) -> Snapshot:
    """Return a cut as a snapshot."""
    tally = cut.tally
    learned = Learned(
        steps=tally["steps"],
        examples=tally["examples"],
        told=dict(tally["told"]),
        upto=tally["upto"],
        since=_positions(cut.since),
        positions=_positions(cut.places),
    )
    manifest = Manifest(
        version=cut.version,
        parent=cut.parent,
        weights=unsealed(),
        recipe=dict(cut.recipe),
        chain=cut.chain,
        learned=learned,
        metrics={"life": _readings(cut.life), "recent": _readings(cut.recent)},
        passing=cut.passing,
        made=dict(made),
    )
    return Snapshot(manifest, cut.weights)


def _positions(places: Mapping[int, Place]) -> tuple[Position, ...]:
    return tuple(Position(number, *place) for number, place in sorted(places.items()))


def _readings(sums: Mapping[str, Sums]) -> dict[str, dict[str, float | None]]:
    return {name: reading(one) for name, one in sums.items()}

"""How the champion and its challengers do beside each other: what each one's newest snapshot says of its lineage."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from stream_mtl.clock import Millis
from stream_mtl.config.challengers import CHAMPION, family
from stream_mtl.config.load import Loaded
from stream_mtl.publish.snapshot import Version
from stream_mtl.publish.store import SnapshotFolder

Metrics = Mapping[str, Mapping[str, float | None]]
"""Output -> value."""


@dataclass(frozen=True, slots=True)
class Standing:
    """One lineage. What was predicted is what its learner said at the exposure, before it learned anything of it."""

    name: str
    otherwise: Sequence[str]  # what it has otherwise than the champion
    version: Version | None  # None: it has published nothing yet
    upto: Millis | None  # event time
    examples: int
    life: Metrics
    recent: Metrics


def standings(loaded: Loaded) -> list[Standing]:
    """Return the lineages of a configuration, the champion's first. Raises ConfigError."""
    return [_standing(one) for one in family(loaded)]


def _standing(one: Loaded) -> Standing:
    name, store = one.name or CHAMPION, SnapshotFolder(one.config.publish.path)
    otherwise = () if one.base is None else one.base.config.challengers[name]
    versions = store.versions()
    if not versions:
        return Standing(name, otherwise, None, None, 0, {}, {})
    newest = store.manifest(max(versions))
    learned, metrics = newest.learned, newest.metrics
    return Standing(
        name, otherwise, newest.version, learned.upto, learned.examples, metrics["life"], metrics["recent"]
    )

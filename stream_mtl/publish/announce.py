"""One trainer leads, and says which snapshot is the newest: both in one partition of a topic.

Who leads has claimed the partition (`connectors.claims`) and renews its claim every few seconds. A trainer that is
started while another one renews is refused; where the leader has fallen silent, or was this one before a crash, it
takes over, and the old leader learns that as soon as it writes.
"""

import time
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Final

import msgspec

from stream_mtl.clock import SECOND, Clock, Millis
from stream_mtl.connectors.claims import Claim, Tenure, claim_of, take_over
from stream_mtl.connectors.partition import Entry, PartitionLog
from stream_mtl.durable import replace_file
from stream_mtl.errors import Fenced
from stream_mtl.publish.snapshot import Manifest, Version

RENEW: Final[Millis] = 3 * SECOND
SILENCE: Final[Millis] = 4 * RENEW
"""How long a leader may be silent before another one may take over."""

_LOOK: Final[Millis] = 200


class Announcement(msgspec.Struct, frozen=True):
    """A snapshot that is whole in the store. There is no address in it: scorers look where they are told to look."""

    version: Version
    weights: str  # sha256
    epoch: int


def announcement_of(entry: Entry) -> Announcement | None:
    """Return the announcement that a record is; None for any other."""
    try:
        return msgspec.json.decode(entry.value, type=Announcement)
    except msgspec.DecodeError:
        return None


class Leader:
    """The right to publish, and the announcements that go with it."""

    def __init__(self, log: PartitionLog, owner: str, clock: Clock) -> None:
        """`owner` is the same before and after a crash. `lead` comes first."""
        self._log, self._owner, self._clock = log, owner, clock
        self._tenure: Tenure | None = None
        self._due: Millis = 0
        self.announced: Version | None = None  # the last one in the log

    def lead(self, wait: Callable[[Millis], None] = lambda millis: time.sleep(millis / 1_000)) -> None:
        """Become the leader. Raises Fenced if another one is alive, Unavailable."""
        at, claim = self._scan(self._log.begin(), None)
        if claim is not None and claim.owner != self._owner:
            waited = 0
            while waited < SILENCE:
                wait(_LOOK)
                waited += _LOOK
                at, heard = self._scan(at, None)
                if heard is not None:
                    raise Fenced(
                        f"{self._log.name}: another trainer leads ({heard.owner}, epoch {heard.epoch}); end it first, or "
                        "give this one another [learn] path, [publish] path and announce"
                    )
        self._tenure = take_over(self._log, self._owner, {}, claim.epoch if claim is not None else 0, at)
        self._due = self._clock() + RENEW

    def renew(self) -> None:
        """Say that we are alive, if it is time. Raises Fenced if another one has taken over, Unavailable."""
        if self._tenure is not None and self._clock() >= self._due:
            self._due = self._clock() + RENEW
            self._tenure.renew()

    def announce(self, manifest: Manifest) -> None:
        """Say that a snapshot is there, once. Raises Fenced, Unavailable."""
        if self._tenure is None or manifest.version == self.announced:
            return
        announcement = Announcement(manifest.version, manifest.weights.sha256, self._tenure.epoch)
        self._tenure.append([msgspec.json.encode(announcement)])
        self.announced = manifest.version

    def close(self) -> None:
        """Let go of the log."""
        self._log.close()

    def _scan(self, at: int, claim: Claim | None) -> tuple[int, Claim | None]:
        """Read to the end; return where that is, and the last claim of the highest epoch."""
        while entries := self._log.read(at):
            for entry in entries:
                found = claim_of(entry)
                if found is not None and (claim is None or found.epoch >= claim.epoch):
                    claim = found
                said = announcement_of(entry)
                self.announced = self.announced if said is None else said.version
            at = entries[-1].offset + 1
        return at, claim


def owner_of(folder: Path) -> str:
    """Return the name of whoever works in this folder; it is made once."""
    path = folder / "owner"
    if not path.is_file():
        folder.mkdir(parents=True, exist_ok=True)
        replace_file(path, uuid.uuid4().hex.encode())
    return path.read_text()

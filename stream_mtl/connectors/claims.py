"""Who may write to a partition: claims in the log itself, which readers and the fenced alike can see.

A new owner appends a claim with an epoch above all before it; the first claim of an epoch wins. From there on, what
is written under a lower epoch is void. An owner that was frozen and wakes up writes into the void, and learns it at
once: where its records do not follow one another, somebody else has written, and it looks whether that was a claim.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

import msgspec

from stream_mtl.connectors.partition import Bytes, Entry, PartitionLog
from stream_mtl.errors import DataError, Fenced
from stream_mtl.failpoints import reach

_MAGIC: Final = b"SMTLEPO1"


class Claim(msgspec.Struct, frozen=True):
    """The beginning of an epoch. `says` is what the owner declares of what it will write."""

    epoch: int
    owner: str  # a name that no other claim has
    says: dict[str, Any] = {}


def claim_of(entry: Entry) -> Claim | None:
    """Return the claim that a record is; None for any other record. Raises DataError for one that is damaged."""
    if not entry.value.startswith(_MAGIC):
        return None
    try:
        return msgspec.json.decode(entry.value[len(_MAGIC) :], type=Claim)
    except msgspec.DecodeError as error:
        raise DataError(f"offset {entry.offset}: a damaged claim: {error}") from None


class Tenure:
    """The right to write to a partition, from a claim until a higher one."""

    def __init__(self, log: PartitionLog, claim: Claim, offset: int) -> None:
        """`offset` is that of the claim. Use `take_over`."""
        self.epoch = claim.epoch
        self._log, self._claim = log, claim
        self._last = offset  # of our newest record

    def append(self, values: Sequence[Bytes], key: bytes | None = None) -> list[int]:
        """Append records and return their offsets: durable, and none of them void. Raises Fenced, Unavailable."""
        offsets = self._log.append(values, key)
        for offset in offsets:
            self._look(offset)
        return offsets

    def renew(self) -> None:
        """Append the claim again: we are alive. Raises Fenced, Unavailable."""
        self.append([_MAGIC + msgspec.json.encode(self._claim)])

    def check(self) -> None:
        """Raise Fenced if a higher claim has been written."""
        end = self._log.end()
        if end > self._last + 1:
            self._look(end)
            self._last = end - 1

    def _look(self, upto: int) -> None:
        """Look at what stands between our newest record and that offset."""
        for entry in between(self._log, self._last + 1, upto):
            other = claim_of(entry)
            if other is not None and other.epoch > self.epoch:
                raise Fenced(
                    f"{self._log.name}: {other.owner} has taken over (epoch {other.epoch}, offset {entry.offset}; "
                    f"this one has {self.epoch}); what this process wrote since is void"
                )
        self._last = upto


def take_over(
    log: PartitionLog, owner: str, says: Mapping[str, Any], seen: int = 0, since: int | None = None
) -> Tenure:
    """Claim a partition. `seen` is the highest epoch before offset `since` (None: the beginning). Raises Unavailable."""
    start, epoch = log.begin() if since is None else since, seen
    while True:
        claim = Claim(epoch + 1, owner, dict(says))
        (offset,) = log.append([_MAGIC + msgspec.json.encode(claim)])
        reach("claims.after_claim")
        epoch = max([epoch, *(c.epoch for c in claims(log, start, offset))])
        if epoch < claim.epoch:
            return Tenure(log, claim, offset)
        start = offset + 1


def claims(log: PartitionLog, start: int, stop: int) -> Iterator[Claim]:
    """Yield the claims at offsets [start, stop)."""
    for entry in between(log, start, stop):
        found = claim_of(entry)
        if found is not None:
            yield found


def between(log: PartitionLog, start: int, stop: int) -> Iterator[Entry]:
    """Yield the records at offsets [start, stop). Raises PositionOutOfRange, Unavailable."""
    while start < stop:
        entries = log.read(start)
        if not entries:
            return
        yield from (entry for entry in entries if entry.offset < stop)
        start = entries[-1].offset + 1

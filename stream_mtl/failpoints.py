"""Failpoints: places that a process can be told to die at, so that tests see what holds when it does.

    STREAM_MTL_FAILPOINT=NAME:NTH:ACTION[,...]   what happens at the NTH time that NAME is reached (`2+`: from the 2nd on)
    STREAM_MTL_ENABLE_FAILPOINTS=1               or --enable-failpoints: without it the former is refused
    STREAM_MTL_FAILPOINT_HITS=FILE               takes a line for each that acted, written before it does

Actions: kill (SIGKILL to itself), exit(CODE), raise, sleep(MS), enospc (what a full disk says). They are always
compiled in, and cost a look at an empty dict.
"""

import errno
import os
import re
import signal
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Final, NoReturn

from stream_mtl.errors import ConfigError

POINTS: Final[Mapping[str, str]] = {
    # The joiner, in the order of its work
    "join.after_poll": "records were read of a source, and nothing was done with them",
    "join.after_admit": "records are in the joiner's state, and nothing was written",
    "join.before_append": "all is told and dead letters are flushed, the block is not written",
    "join.after_append": "the block is durable, the joiner has not noted it",
    "join.before_checkpoint": "the state was taken, nothing of it is written",
    "log.beside": "a block file is written beside and synced, not renamed",
    "log.renamed": "a block file has its name, its folder is not synced",
    "log.before_send": "the parts of a block are made, none is sent to the topic",
    "log.between_parts": "a part of a block was given to the producer, others may not have been",
    "log.after_send": "all parts of a block are durable, the log has not noted it",
    "claims.after_claim": "a claim is in the log, it was not read back whether it won",
    "state.after_table": "a table of a checkpoint is written, the manifest is not",
    "state.before_manifest": "all tables of a checkpoint are written, the manifest is not",
    "state.after_manifest": "the manifest of a checkpoint is there, older files were not swept",
    "files.unsynced": "a file is written, but for what is still in the process's own buffer",
    # A joiner that comes back, and partitions that move
    "recover.begin": "a joiner is about to recover",
    "recover.restored": "a checkpoint was taken back, the input was not read again",
    "recover.reading": "some input was read again with the output off",
    "recover.end": "a joiner has recovered, and has not said so",
    "crew.gain": "a partition came, its joiner is open and has not recovered",
    "crew.lose": "a partition goes, its joiner has not committed",
    "crew.lost": "a partition goes, its joiner has committed and kept its state",
    "crew.between": "partitions went, those that come were not taken over",
    "crew.rest": "the process was told to end, a joiner has not committed",
    "crew.rested": "the process was told to end, a joiner has committed and not kept its state",
    "join.mirror": "positions are about to be told to the group",
    # The trainer
    "learn.after_backward": "gradients are there, nothing has moved",
    "learn.after_step": "a step is taken, it is not counted",
    "learn.noted": "that a minibatch ends early, or that a snapshot is cut, is noted, and not done",
    "notes.unsynced": "a note is written, but for what is still in the process's own buffer",
    "train.recover": "a learner's checkpoint was read, and not taken over",
    "train.recovered": "a learner has recovered, and has done nothing since",
    "train.rest": "the trainer was told to end, and has not kept its state",
    "checkpoint.tensors": "the tensors of a checkpoint are written, its manifest is not",
    "checkpoint.manifest": "a checkpoint is whole beside its place",
    "checkpoint.renamed": "a checkpoint is in its place, older ones are there too",
    "publish.before_put": "a snapshot was cut, and nothing is in the store",
    "publish.after_put": "a snapshot is in the store, the learner has not noted it",
    "snapshot.weights": "the weights of a snapshot are in the store, its manifest is not",
    "snapshot.manifest": "a snapshot is whole beside its place",
    "snapshot.renamed": "a snapshot is in its place, and is not the latest",
    "publish.before_announce": "a snapshot is the latest, and was not announced",
    "publish.after_announce": "a snapshot was announced, nobody has noted that",
    # The scorer and the watcher
    "serve.before_load": "a new snapshot was seen, and is not loaded",
    "serve.loaded": "a new snapshot was read and verified, and does not serve",
    "serve.swapped": "a new snapshot serves, nobody has noted that",
    "watch.before_note": "the watcher's sums are durable, the line of the history is not",
}
"""Every failpoint, and where it is."""

_ACTION: Final = re.compile(r"(kill|raise|enospc|exit|sleep)(?:\((\d+)\))?")


class FailpointReached(Exception):
    """What the action `raise` raises: an error that nobody expects."""


@dataclass(frozen=True, slots=True)
class _Order:
    """What is to happen at one place."""

    name: str
    first: int
    on: bool  # and every time after it
    action: str
    number: int  # the exit code, the milliseconds
    text: str  # of the action, as it was given

    def applies(self, time_: int) -> bool:
        return time_ == self.first or (self.on and time_ > self.first)


_orders: dict[str, list[_Order]] = {}
_reached: Counter[str] = Counter()
_counting = threading.Lock()
_hits: str | None = None


def reach(name: str) -> None:
    """Be at a failpoint. Nothing happens unless `arm` was told so."""
    if _orders and name in _orders:
        _act(name)


def arm(environ: Mapping[str, str], enabled: bool) -> None:
    """Take the orders of an environment. Raises ConfigError for those that cannot be, and for any that are not enabled."""
    global _hits
    text = environ.get("STREAM_MTL_FAILPOINT", "")
    _orders.clear()
    _reached.clear()
    if not text:
        return
    if not enabled and environ.get("STREAM_MTL_ENABLE_FAILPOINTS") != "1":
        raise ConfigError(
            "STREAM_MTL_FAILPOINT is set, which makes processes die on purpose; unset it, or, in a test, allow it with "
            "--enable-failpoints or STREAM_MTL_ENABLE_FAILPOINTS=1"
        )
    _hits = environ.get("STREAM_MTL_FAILPOINT_HITS")
    for order in map(_parsed, text.split(",")):
        _orders.setdefault(order.name, []).append(order)


def _parsed(text: str) -> _Order:
    name, _, rest = text.strip().partition(":")
    nth, _, action = rest.partition(":")
    known = _ACTION.fullmatch(action)
    if name not in POINTS:
        near = get_close_matches(name, POINTS, 1, 0.0)
        raise ConfigError(f'STREAM_MTL_FAILPOINT: there is no failpoint "{name}"; the nearest is "{near[0]}"')
    if known is None or not re.fullmatch(r"[1-9]\d*\+?", nth):
        raise ConfigError(
            f'STREAM_MTL_FAILPOINT: "{text}" is no order; write NAME:NTH:ACTION, like "{name}:1:kill"; actions: kill, '
            "exit(CODE), raise, sleep(MS), enospc; NTH is 1 or more, with a + for every time from then on"
        )
    return _Order(name, int(nth.rstrip("+")), nth.endswith("+"), known[1], int(known[2] or 1), action)


def _act(name: str) -> None:
    with _counting:
        _reached[name] += 1
        time_ = _reached[name]
    for order in _orders[name]:
        if order.applies(time_):
            _report(f"{name}:{time_}:{order.text}")
            _ACTS[order.action](order)


def _report(line: str) -> None:
    if _hits is not None:
        file = os.open(_hits, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
        os.write(file, line.encode() + b"\n")
        os.fsync(file)
        os.close(file)


def _kill(order: _Order) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def _raise(order: _Order) -> NoReturn:
    raise FailpointReached(f"failpoint {order.name}: {POINTS[order.name]}")


def _full(order: _Order) -> NoReturn:
    raise OSError(errno.ENOSPC, f"{os.strerror(errno.ENOSPC)} (failpoint {order.name})")


_ACTS: Mapping[str, Callable[[_Order], None]] = {
    "kill": _kill,
    "exit": lambda order: os._exit(order.number),
    "raise": _raise,
    "enospc": _full,
    "sleep": lambda order: time.sleep(order.number / 1_000),
}

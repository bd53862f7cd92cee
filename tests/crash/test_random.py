"""Joiner and trainer over one log, killed at random after some progress each time, leave what undisturbed ones leave."""

import random
import signal
import time
from collections.abc import Callable
from typing import Any

import pytest

from stream_mtl.processes.status import read_status
from tests.crash.bus import BusSite
from tests.crash.child import Child, until
from tests.crash.site import Site

STILL = ("learn.flush_after=10h", "learn.snapshot_after=10h", "join.poll_rows=25", "join.block_every=30ms")
SLOWLY = {"join": "join.after_poll:1+:sleep(50)", "train": "learn.after_step:1+:sleep(60)"}
ROLES = ("join", "train")


def progress(site: Site, role: str) -> object:
    """Return what changes whenever a process has made something durable."""
    if role == "train":
        return max((path.name for path in (site.folder / "learner").glob("ckpt-*[0-9]")), default="")
    if isinstance(site, BusSite):
        return site.records()
    return len(list((site.folder / "log").rglob("*.block")))


class Disturbed:
    """Both processes; whoever has made progress since its start may be killed, and is started again."""

    def __init__(self, site: Site, rng: random.Random) -> None:
        self._site, self._rng = site, rng
        self.died = dict.fromkeys(ROLES, 0)
        self._running: dict[str, Child] = {}
        self._seen: dict[str, object] = {}
        for role in ROLES:
            self._begin(role)

    def _begin(self, role: str) -> None:
        self._seen[role] = progress(self._site, role)
        self._running[role] = self._site.start(role, "--follow", failing=SLOWLY[role], overrides=STILL)

    def able(self) -> list[str]:
        """Return who has made progress."""
        for role, child in self._running.items():
            assert not child.ended(), f"{role}: {child.said}"
        return [role for role in ROLES if progress(self._site, role) != self._seen[role]]

    def kill(self, must: bool) -> bool:
        """Kill one at random, a little after it has made progress; return False where all is done.

        That is taken to be so when there was none for a while; but not when there `must` be some.
        """
        patience = 90 if isinstance(self._site, BusSite) else 20  # a group waits for a member that was killed
        limit = time.monotonic() + patience
        until(lambda: self.able() or (time.monotonic() > limit and not must), "progress")
        able = self.able()
        if not able:
            print([read_status(self._site.folder / "status", role) for role in ROLES])
            return False
        role = self._rng.choice(able)
        time.sleep(self._rng.random() * 0.1)
        self._running[role].kill()
        self.died[role] += 1
        self._begin(role)
        return True

    def end(self) -> None:
        for child in self._running.values():
            assert child.end() in (0, -signal.SIGTERM), child.said  # the latter: it had hardly begun


def disturbed(site: Site, least: int, most: int, rng: random.Random) -> None:
    """Let there be some kills: `most`, fewer where all is done before, but at `least` so many."""
    both = Disturbed(site, rng)
    for number in range(most):
        if not both.kill(must=number < least):
            break
    both.end()
    site.run("join")
    site.run("train")
    print(both.died)


def test_both_on_files_killed_a_few_times(
    site: Callable[..., Site], wholly_joined: Any, wholly_learned: Any, seed: int
) -> None:
    hurt = site()
    disturbed(hurt, 2, 6, random.Random(seed))
    assert (hurt.joined(), hurt.learned()) == (wholly_joined, wholly_learned)


@pytest.mark.whole_crash
@pytest.mark.parametrize("round", range(4))
def test_both_on_files_killed_many_times(
    site: Callable[..., Site], wholly_joined: Any, wholly_learned: Any, seed: int, round: int
) -> None:
    hurt = site()
    disturbed(hurt, 8, 40, random.Random(f"{seed} {round}"))
    assert (hurt.joined(), hurt.learned()) == (wholly_joined, wholly_learned)


@pytest.mark.whole_crash
@pytest.mark.parametrize("round", range(2))
def test_both_on_a_bus_killed_many_times(
    bus: Callable[..., BusSite], bus_joined: Any, bus_learned: Any, seed: int, round: int
) -> None:
    hurt = bus()
    disturbed(hurt, 5, 20, random.Random(f"{seed} {round}"))
    assert hurt.joined() == bus_joined
    assert hurt.learned() | {"announced": bus_learned["announced"]} == bus_learned

"""The real trainer, killed with SIGKILL again and again, leaves the model and the snapshots of an undisturbed one."""

import json
import random
import signal
import subprocess
import time
from pathlib import Path

import pytest

from stream_mtl.publish.store import SnapshotFolder
from tests.processes.small import SMALL, command, done, market


def weights(config: Path) -> dict[int, str]:
    """Return the hash of every snapshot's weights, which are verified on the way."""
    store = SnapshotFolder(config.parent / "snapshots")
    return {version: store.open(version).manifest.weights.sha256 for version in store.versions()}


def progress(config: Path) -> tuple[str, ...]:
    """Return names that change whenever the trainer has made something durable."""
    folders = (config.parent / "learner", config.parent / "snapshots")
    return tuple(sorted(path.name for folder in folders if folder.is_dir() for path in folder.iterdir()))


def killed(config: Path, changes: int, delay: float) -> bool:
    """Run the trainer until it has made so much progress, and a little more; return whether that was its death."""
    process = subprocess.Popen(
        command("run", "train", config, overrides=SMALL), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    seen, limit = progress(config), time.monotonic() + 120
    while process.poll() is None and changes > 0 and time.monotonic() < limit:
        now = progress(config)
        changes, seen = changes - (now != seen), now
        time.sleep(0.001)
    time.sleep(delay)
    process.send_signal(signal.SIGKILL)
    return process.wait() == -signal.SIGKILL


@pytest.mark.slow
def test_a_trainer_killed_again_and_again_leaves_the_same_model_and_snapshots(tmp_path: Path) -> None:
    whole, hurt = market(tmp_path / "whole"), market(tmp_path / "hurt")
    for config in (whole, hurt):
        done("run", "join", config, overrides=SMALL)
    done("run", "train", whole, overrides=SMALL)
    seed = random.randrange(1 << 32)
    print(f"seed {seed}")
    rng, kills = random.Random(seed), 0
    for _ in range(6):
        if not killed(hurt, rng.randrange(1, 10), rng.random() * 0.02):
            break
        kills += 1
    done("run", "train", hurt, overrides=SMALL)
    assert kills >= 2
    made = [json.loads(done("digest", config, "--json", overrides=SMALL)) for config in (whole, hurt)]
    assert {"transitions", "weights", "optimiser", "measures", "learned_rows"} <= made[0].keys()
    assert made[0] == made[1]
    assert len(weights(whole)) > 10
    assert weights(hurt) == weights(whole)
